"""Vendor methods whose reply no client waits for: operations of their own on the node."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.services.baremetal import orders, store
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes.controller_call import start
from ingot.services.baremetal.types import Node


def vendor_call(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    method: str,
    http_method: str,
    args: dict[str, Any],
    by: By,
) -> str:
    """Run a vendor method whose reply nobody waits for."""
    store.write_secret(conn, ctx.vault, node.uuid, store.VENDOR_ARGS, args)
    order = orders.VendorOrder(method=method, http_method=http_method)
    return start(ctx, conn, node, "vendor call", order, by, "vendor")
