"""Chassis: what several nodes are built into. Functions of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import schemas as port_schemas
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.resources import CHASSIS
from ingot.services.baremetal.ports.schemas import ChassisBody

PATCHABLE = tuple(ChassisBody.__struct_fields__)


def create_chassis(
    ctx: Context, conn: sa.Connection, values: Mapping[str, Any], by: By = NOBODY
) -> str:
    """A new chassis; its uuid. values: as `part_schemas.values` gives them."""
    uuid = port_store.insert(conn, CHASSIS, values, ctx.now())
    _record_event(conn, uuid, "chassis created", "Made known", by)
    return uuid


def patch_chassis(
    ctx: Context, conn: sa.Connection, uuid: str, changes: Sequence[PatchOperation]
) -> None:
    row = port_store.get(conn, CHASSIS, uuid)
    before = {name: row[name] for name in PATCHABLE}
    patched = port_schemas.patched(before, changes, PATCHABLE)
    after: dict[str, Any] = {"uuid": None, "description": None, "extra": {}}
    after.update(port_schemas.values(ChassisBody, "chassis", patched))
    if after["uuid"] != uuid:
        raise Invalid("Cannot overwrite UUID for an existing Chassis.")
    delta = {name: value for name, value in after.items() if value != before[name]}
    if delta:
        port_store.update(conn, CHASSIS, uuid, delta, ctx.now())


def delete_chassis(conn: sa.Connection, uuid: str, by: By = NOBODY) -> None:
    port_store.get(conn, CHASSIS, uuid)
    if not port_store.chassis_is_empty(conn, uuid):
        raise Invalid(
            f"Cannot complete the requested action because chassis {uuid} contains nodes.",
            next_action="Take its nodes out of it first: openstack baremetal node unset --chassis.",
        )
    port_store.delete(conn, CHASSIS, uuid)
    _record_event(conn, uuid, "chassis deleted", "Removed", by)


def _record_event(conn: sa.Connection, uuid: str, kind: str, title: str, by: By) -> None:
    events.record(conn, f"chassis:{uuid}", kind, title, project_id=by.project_id)
