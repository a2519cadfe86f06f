"""Steps that a machine's child nodes do: the cards in it that are machines of their own.

A child keeps its own lock and its own timeline: each is asked by an operation of its own, one after the other,
and the parent's step ends when all have. Only power steps can be asked of children; the API refuses others.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.types import PowerTarget
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.orders import PowerOrder
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import start

_TARGETS = {
    "power_on": PowerTarget.ON,
    "power_off": PowerTarget.OFF,
    "reboot": PowerTarget.REBOOT,
}
_ENDED = "power ended"


async def on_children(task: NodeTask, step: dict[str, Any], key: str) -> None:
    """Do a power step on all child nodes, or on those that the step names."""
    target = _TARGETS.get(str(step["step"]))
    if target is None:
        raise Fault(
            f"The step {step['step']} cannot be done on child nodes.", kind=Kind.UNSUPPORTED
        )
    named = step.get("limit_child_node_execution")

    def find(conn: sa.Connection) -> list[str]:
        return node_store.children(conn, task.uuid, named)

    children: list[str] = await task.op.commit("find the child nodes", find, key=key)
    for number, child in enumerate(children, 1):
        await _power(task, child, target, f"{key}, child {number}")


async def _power(task: NodeTask, child: str, target: PowerTarget, key: str) -> None:
    op = task.op

    def ask(conn: sa.Connection) -> str:
        node = store.get_node(conn, child)
        store.update_node(
            conn,
            child,
            target_power_state=str(target.final),
            reservation=task.deps.host,
            last_error=None,
        )
        return start(
            conn,
            "power",
            node.subject,
            PowerOrder(target=str(target), notify=op.subject),
            project_id=op.project_id,
            group=node.conductor_group,
            requested_by=op.requested_by,
        )

    await op.forget(_ENDED, name="forget earlier answers of child nodes", key=key)
    await op.commit("ask the child node", ask, key=key)
    told: dict[str, Any] = await op.wait(
        _ENDED,
        name="wait for the child node",
        key=key,
        deadline=task.deps.timing.power * 2,
        what=f"the end of the power change of the child node {child}",
    )
    if not told.get("ok"):
        raise Fault(
            f"The child node {child} did not reach its power state: {told.get('error')}",
            kind=Kind.REFUSED,
            next_action="Look at the child node's last_error.",
        )
