"""How a short operation at a machine's controller starts when no client waits for its answer.

The operation holds the node, so that nothing else reaches the controller meanwhile; a failure is written to
`last_error`. What a client waits for (boot device, lights, NMI) is in `acts`.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.services.baremetal import orders, store
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes import conductors, verbs
from ingot.services.baremetal.types import Node


def start(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    kind: str,
    order: orders.Order,
    by: By,
    capability: str = "management",
) -> str:
    verbs.free(conn, node)
    conductors.need_conductor(ctx, conn, node.conductor_group)
    ctx.access(conn, node, capability)
    store.update_node(conn, node.uuid, reservation=ctx.host, last_error=None, updated_at=ctx.now())
    return verbs.start(conn, node, kind, order, by)
