"""Vendor methods whose reply no client waits for."""

from __future__ import annotations

from typing import Any

from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    VendorOrder,
)
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


async def vendor_call(task: NodeTask, order: VendorOrder) -> None:
    """…/vendor_passthru, of methods that the client does not wait for."""

    async def call(_ctx: StepContext) -> None:
        node, access = await task.reach("vendor")
        hand = task.deps.registry.vendor(node.driver, node.interfaces.get("vendor"))
        args: Any = await task.deps.db.read(
            lambda conn: store.read_secret(conn, task.deps.vault, task.uuid, store.VENDOR_ARGS)
        )
        await hand.call(access, order.method, order.http_method, args or {})

    await task.controller_step(f"vendor method {order.method}", call, more=120)
