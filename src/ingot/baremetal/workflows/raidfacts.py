"""RAID by the agent: what its steps are asked to make, and what they have made, written into the node."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ingot.baremetal import hardware, store
from ingot.baremetal.workflows.room import Case
from ingot.drivers import raid
from ingot.kit.faults import Invalid


async def asked(case: Case, step: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
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
    target = await case.room.db.read(lambda conn: store.target_raid_config(conn, case.uuid))
    made = {**target, "logical_disks": raid.wanted(target, args)}
    return {**step, "args": {}}, {"target_raid_config": made}


def keep(case: Case, conn: sa.Connection, step: str, result: Any) -> None:
    """result: what the step gave; the logical disks ({"logical_disks": […]}) of those that create some."""
    if step == "delete_configuration":
        hardware.save_raid(conn, case.uuid, {}, case.room.now())
    elif step in ("create_configuration", "apply_configuration") and isinstance(result, dict):
        hardware.save_raid(conn, case.uuid, cast("dict[str, Any]", result), case.room.now())
