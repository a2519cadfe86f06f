"""RAID by the agent: what its steps are asked to make, and what they have made, written into the node."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.machine import raid
from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import hardware
from ingot.services.baremetal.workflows.node_task import NodeTask


async def asked(
    task: NodeTask, step: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A step and the facts that it needs of the node. The agent's own `create_configuration` knows no
    arguments: which volumes it is to make is told by the target that it is shown."""
    args: dict[str, Any] = step.get("args") or {}
    if (step["interface"], step["step"]) != ("raid", "create_configuration") or not args:
        return step, None
    if args.get("delete_existing"):
        raise Invalid(
            "The agent does not delete RAID volumes while it creates some (delete_existing).",
            next_action="Run the step raid.delete_configuration before.",
        )
    target = await task.deps.db.read(lambda conn: store.target_raid_config(conn, task.uuid))
    made = {**target, "logical_disks": raid.wanted(target, args)}
    return {**step, "args": {}}, {"target_raid_config": made}


def keep(task: NodeTask, conn: sa.Connection, step: str, result: Any) -> None:
    """result: what the step gave; the logical disks ({"logical_disks": […]}) of those that create some."""
    if step == "delete_configuration":
        hardware.save_raid(conn, task.uuid, {}, task.deps.now())
    elif step in ("create_configuration", "apply_configuration") and isinstance(result, dict):
        hardware.save_raid(conn, task.uuid, cast("dict[str, Any]", result), task.deps.now())
