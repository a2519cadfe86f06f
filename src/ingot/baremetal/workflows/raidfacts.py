"""RAID by the agent: what its steps are asked to make, and what they have made, written into the node."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.draft import merge_capabilities
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
        store.update_node(conn, case.uuid, raid_config={})
        return
    if step not in ("create_configuration", "apply_configuration") or not isinstance(result, dict):
        return
    made = cast("dict[str, Any]", result)
    disks: list[dict[str, Any]] = made.get("logical_disks") or []
    values: dict[str, Any] = {"raid_config": {**made, "last_updated": case.room.now()}}
    root = next((disk for disk in disks if disk.get("is_root_volume")), None)
    if root is not None:
        properties = dict(store.get_node(conn, case.uuid).properties)
        if str(root.get("size_gb")).isdecimal():
            properties["local_gb"] = int(root["size_gb"])
        if root.get("root_device_hint"):
            properties["root_device"] = root["root_device_hint"]
        properties["capabilities"] = merge_capabilities(
            properties.get("capabilities"), {"raid_level": str(root.get("raid_level"))}
        )
        values["properties"] = properties
    store.update_node(conn, case.uuid, **values)
