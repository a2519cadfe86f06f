"""Port groups (bonds) of nodes: creation, patches, deletion. Functions of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Conflict, Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import guards, states
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import unheld
from ingot.services.baremetal.ports import schemas as port_schemas
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.editing import (
    Reachable,
    binds_ports,
    everywhere,
    record_event,
    relinked,
)
from ingot.services.baremetal.ports.resources import PORTGROUP
from ingot.services.baremetal.ports.schemas import PortgroupChange
from ingot.services.baremetal.types import Node

#: In the words of Linux's bonding driver.
DEFAULT_MODE = "active-backup"
PATCHABLE = tuple(PortgroupChange.__struct_fields__)
_EMPTY: dict[str, Any] = {"extra": {}, "properties": {}, "standalone_ports_supported": True}


def create_portgroup(
    ctx: Context, conn: sa.Connection, node: Node, values: Mapping[str, Any], by: By = NOBODY
) -> str:
    """A new port group; its uuid. values: as `part_schemas.values` gives them."""
    new = {**values, "node_uuid": node.uuid, "mode": values.get("mode") or DEFAULT_MODE}
    new["name"] = _name(values.get("name"), "Cannot create portgroup with")
    uuid = port_store.insert(conn, PORTGROUP, new, ctx.now())
    label = new["name"] or uuid
    record_event(conn, node, "port group created", f"Port group {label} was added", by)
    return uuid


def patch_portgroup(
    ctx: Context,
    conn: sa.Connection,
    uuid: str,
    changes: Sequence[PatchOperation],
    *,
    minor: int = 115,
    reachable: Reachable = everywhere,
) -> None:
    """Change a port group, operation by operation; all or nothing."""
    row = port_store.get(conn, PORTGROUP, uuid)
    node = store.get_node(conn, row["node_uuid"])
    before = {name: row[name] for name in PATCHABLE}
    patched = port_schemas.patched(before, changes, PATCHABLE)
    if "mode" not in patched:
        raise Invalid("'mode' is a mandatory attribute and can not be removed")
    owner = relinked(conn, node, changes, reachable)
    patched["node_uuid"] = owner.uuid
    after: dict[str, Any] = {name: _EMPTY.get(name) for name in before}
    after.update(port_schemas.values(PortgroupChange, "portgroup", patched))
    after["name"] = _name(after["name"], f"Portgroup {uuid}: Cannot change name to")
    delta = {name: value for name, value in after.items() if value != before[name]}
    if owner.provision_state == states.INSPECTING and minor >= guards.INSPECT_WAIT_SINCE:
        raise Conflict(
            f'Cannot update portgroup "{uuid}" on node "{owner.uuid}" while it is in state '
            f'"{states.INSPECTING}".'
        )
    for held in {node.uuid: node, owner.uuid: owner}.values():
        unheld(conn, held)
    if "node_uuid" in delta:
        _movable(conn, owner, uuid)
    if delta.get("standalone_ports_supported") is False and binds_ports(ctx, owner):
        _no_member_stands_alone(conn, uuid)
    if not delta:
        return
    port_store.update(conn, PORTGROUP, uuid, delta, ctx.now())
    if "physical_network" in delta:
        # The members are cabled where the group is.
        network = delta["physical_network"]
        port_store.set_network_of_members(conn, uuid, network, ctx.now())


def _movable(conn: sa.Connection, node: Node, uuid: str) -> None:
    if not node.maintenance and node.provision_state not in guards.REWIRABLE:
        raise Conflict(
            f"Portgroup {uuid} can not be associated to node {node.uuid} unless the node is in a "
            f"{', '.join(sorted(guards.REWIRABLE))} state or in maintenance mode. Current state "
            f"is '{node.provision_state}'."
        )
    if port_store.members(conn, uuid):
        raise Invalid(
            f"Portgroup {uuid} can not be associated with node {node.uuid} because there are "
            "ports associated with this portgroup."
        )


def _no_member_stands_alone(conn: sa.Connection, uuid: str) -> None:
    for port in port_store.members(conn, uuid):
        reasons = ["'pxe_enabled' is set to True"] if port.pxe_enabled else []
        if port.vif:
            reasons.append(f"VIF {port.vif} is attached to this port")
        if reasons:
            raise Conflict(
                "standalone_ports_supported can not be set to False, because the port group "
                f"{uuid} contains port with {', '.join(reasons)}"
            )


def delete_portgroup(ctx: Context, conn: sa.Connection, uuid: str, by: By = NOBODY) -> None:
    row = port_store.get(conn, PORTGROUP, uuid)
    node = store.get_node(conn, row["node_uuid"])
    unheld(conn, node)
    if port_store.members(conn, uuid):
        raise Invalid(
            f"Cannot complete the requested action because portgroup {uuid} contains ports.",
            next_action="Delete its ports, or take them out of it, first.",
        )
    port_store.delete(conn, PORTGROUP, uuid)
    record_event(
        conn, node, "port group deleted", f"Port group {row['name'] or uuid} was removed", by
    )


def _name(name: str | None, told_as: str) -> str | None:
    if name and not guards.logical_name(name):
        raise Invalid(f"{told_as} invalid name '{name}'")
    return name or None
