"""Ports of nodes: creation, patches, deletion. Functions of a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Conflict, Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import guards, patching, states
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import unheld
from ingot.services.baremetal.ports import schemas as port_schemas
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.resources import PORT
from ingot.services.baremetal.ports.schemas import PortChange
from ingot.services.baremetal.types import Node, Portgroup

PATCHABLE = tuple(PortChange.__struct_fields__)
GROUPED_NETWORK_SINCE = 102
_EMPTY: dict[str, Any] = {
    "extra": {},
    "local_link_connection": {},
    "pxe_enabled": True,
    "is_smartnic": False,
    "available_for_dynamic_portgroup": False,
}
#: Internal facts that name a network port bound to this NIC.
_VIF_KEYS = tuple(
    f"{use}_vif_port_id"
    for use in ("tenant", "provisioning", "cleaning", "rescuing", "inspection", "servicing")
)

#: Whether the caller may know of a node.
Reachable = Callable[[Node], bool]


def everywhere(node: Node) -> bool:
    return True


def create_port(
    ctx: Context, conn: sa.Connection, node: Node, values: Mapping[str, Any], by: By = NOBODY
) -> str:
    """A new port of a node; its uuid. values: as `part_schemas.values` gives them."""
    new = {k: v for k, v in values.items() if k != "node_ident"}
    new["node_uuid"] = node.uuid
    port_schemas.smart_nic(new)
    group = _group(conn, node, new.get("portgroup_uuid"))
    if group is not None:
        if new.get("pxe_enabled") and not group.standalone_ports_supported:
            raise Conflict(
                f"Port group {group.uuid} doesn't support standalone ports. This port cannot be "
                "created as a member of that portgroup as the port's 'pxe_enabled' field was set "
                "to True."
            )
        _same_network(conn, group, new.get("physical_network"), but=None)
    uuid = port_store.insert(conn, PORT, new, ctx.now())
    record_event(conn, node, "port created", f"Port {values['address']} was added", by)
    return uuid


def patch_port(
    ctx: Context,
    conn: sa.Connection,
    uuid: str,
    changes: Sequence[PatchOperation],
    *,
    minor: int = 115,
    reachable: Reachable = everywhere,
) -> None:
    """Change a port, operation by operation; all or nothing."""
    row = port_store.get(conn, PORT, uuid)
    node = store.get_node(conn, row["node_uuid"])
    before = {name: row[name] for name in PATCHABLE if name in row}
    before["available_for_dynamic_portgroup"] = bool(before["available_for_dynamic_portgroup"])
    patched = port_schemas.patched(before, changes, PATCHABLE)
    if "node_ident" in patched:
        raise Invalid("Adding a new attribute (/node_ident) to the root is not allowed")
    if "address" not in patched:
        raise Invalid("'/address' is a mandatory attribute and can not be removed")
    owner = relinked(conn, node, changes, reachable)
    patched["node_uuid"] = owner.uuid
    after: dict[str, Any] = {name: _EMPTY.get(name) for name in before}
    after.update(port_schemas.values(PortChange, "port", patched))
    delta = {name: value for name, value in after.items() if value != before[name]}
    group = _group(conn, owner, after["portgroup_uuid"])
    if node.provision_state == states.INSPECTING and minor >= guards.INSPECT_WAIT_SINCE:
        raise Conflict(
            f'Cannot update port "{uuid}" on "{node.uuid}" while it is in state '
            f'"{states.INSPECTING}".'
        )
    if minor >= GROUPED_NETWORK_SINCE and group and _names(changes, "physical_network"):
        raise Invalid("physical_network cannot be changed while the port belongs to a portgroup.")
    guards.port_change(node, uuid, set(delta))
    unheld(conn, node)
    if group is not None:
        _member(ctx, conn, owner, group, uuid, row, after, delta)
    if delta:
        port_store.update(conn, PORT, uuid, delta, ctx.now())


def _member(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    group: Portgroup,
    uuid: str,
    row: Mapping[str, Any],
    after: Mapping[str, Any],
    delta: Mapping[str, Any],
) -> None:
    """Rules for a port that is, or is to be, in a port group."""
    if {"portgroup_uuid", "physical_network"} & set(delta):
        _same_network(conn, group, after["physical_network"], but=uuid)
    vif = attached_vif(row["internal_info"])
    if group.standalone_ports_supported or not binds_ports(ctx, node):
        return
    if not (vif or {"pxe_enabled", "portgroup_uuid"} & set(delta)):
        return
    reasons = ["'pxe_enabled' was set to True"] if after["pxe_enabled"] else []
    if vif:
        reasons.append(f"VIF {vif} is attached to the port")
    if reasons:
        raise Conflict(
            f"Port group {group.uuid} doesn't support standalone ports. This port {uuid} cannot "
            f"be a member of that port group because of: {', '.join(reasons)}"
        )


def delete_port(ctx: Context, conn: sa.Connection, uuid: str, by: By = NOBODY) -> None:
    row = port_store.get(conn, PORT, uuid)
    node = store.get_node(conn, row["node_uuid"])
    unheld(conn, node)
    vif = attached_vif(row["internal_info"])
    if vif and not node.maintenance:
        raise Conflict(f"Cannot delete the port {uuid} as it is bound to VIF {vif} for use.")
    port_store.delete(conn, PORT, uuid)
    record_event(conn, node, "port deleted", f"Port {row['address']} was removed", by)


# -- shared with port groups and volumes ---------------------------------------------------------


def relinked(
    conn: sa.Connection, node: Node, changes: Sequence[PatchOperation], reachable: Reachable
) -> Node:
    """The node that a patch moves something to, or the one that has it.

    Only to a node of the same owner that the caller may know of; whether another one exists is not told.
    """
    wanted = next(patching.values(changes, "node_uuid"), None)
    if wanted is None:
        return node
    other = store.find_node(conn, wanted) if isinstance(wanted, str) else None
    if other is None or other.owner != node.owner or not reachable(other):
        raise Invalid(
            f"Unable to apply the requested node_uuid '{wanted}'. Requested value was invalid."
        )
    return other


def record_event(conn: sa.Connection, node: Node, kind: str, title: str, by: By) -> None:
    """One entry of the node's timeline."""
    events.record(conn, node.subject, kind, title, project_id=by.project_id)


def attached_vif(internal_info: Mapping[str, Any]) -> str | None:
    """The network port that is bound here, for whatever use."""
    return next((internal_info[key] for key in _VIF_KEYS if internal_info.get(key)), None)


def binds_ports(ctx: Context, node: Node) -> bool:
    """Whether the node's network interface does more with ports than to note them."""
    network = ctx.registry.network(node.driver, node.interfaces.get("network"))
    return network.binds_ports


def _names(changes: Sequence[PatchOperation], name: str) -> bool:
    return any(change.root == name for change in changes)


def _group(conn: sa.Connection, node: Node, uuid: str | None) -> Portgroup | None:
    if not uuid:
        return None
    group = port_store.portgroup(conn, uuid)
    if group is None:
        raise Invalid(f"Portgroup {uuid} could not be found.")
    if group.node_uuid != node.uuid:
        raise Invalid("Port can not be added to a portgroup belonging to a different node.")
    return group


def _same_network(
    conn: sa.Connection, group: Portgroup, physical_network: str | None, but: str | None
) -> None:
    """All members are on one physical network; the first one's becomes the group's."""
    others = {p.physical_network for p in port_store.members(conn, group.uuid) if p.uuid != but}
    if not others:
        if group.physical_network is None:
            if physical_network is not None:
                port_store.set_network_of_group(conn, group.uuid, physical_network)
            return
        others = {group.physical_network}
    if physical_network not in others:
        networks = ", ".join(sorted(str(name) for name in others))
        raise Conflict(
            f"Port with physical network {physical_network} cannot become a member of port group "
            f"{group.uuid} which has ports in physical network {networks}."
        )
