"""Power: the power state that a client asked for."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import PowerTarget
from ingot.services import server_events
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    PowerOrder,
)
from ingot.services.baremetal.workflows import proofs, steps
from ingot.services.baremetal.workflows.node_task import NodeTask, release


async def power(task: NodeTask, order: PowerOrder) -> str:
    """PUT states/power, with the soft targets' own time limit."""
    target = PowerTarget(order.target)
    if target in (PowerTarget.OFF, PowerTarget.REBOOT):
        await proofs.prove_controller(task)
    return await steps.set_power(task, str(target), target, timeout=order.timeout, last=True)


def powered(task: NodeTask, conn: sa.Connection) -> None:
    release(conn, task.uuid, power_state=task.result, target_power_state=None, last_error=None)
    if task.deps.servers is not server_events.UNTOLD:
        instance = store.get_node(conn, task.uuid).instance_uuid
        server_events.power(task.deps.servers, conn, instance, str(task.result))
    task.tell(conn, {"ok": True})
