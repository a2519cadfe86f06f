"""Ports of nodes: creation, patches, deletion. Functions of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.baremetal import guards, machine, patching, schemas, store
from ingot.baremetal.context import Context
from ingot.baremetal.patching import Change
from ingot.baremetal.tables import ports
from ingot.baremetal.types import Node
from ingot.baremetal.verbs import free
from ingot.kit.db import IntegrityError, from_json, to_json
from ingot.kit.faults import Conflict, Invalid, Missing

_JSON = ("extra", "local_link_connection")
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


def create_port(ctx: Context, conn: sa.Connection, node: Node, values: Mapping[str, Any]) -> str:
    """A new port of a node; its uuid. values: as `schemas.port_values` gives them."""
    new = {k: v for k, v in values.items() if k not in ("node_uuid", "node_ident", "address")}
    _portgroup(new)
    _unique(conn, values, but=None)
    if new.get("uuid") is None:
        new.pop("uuid", None)
    try:
        return store.add_port(
            conn, node_uuid=node.uuid, address=values["address"], now=ctx.now(), **new
        )
    except IntegrityError as error:
        raise Conflict(
            "A port with this MAC address, name or UUID already exists.", internal=str(error.orig)
        ) from error


def patch_port(
    ctx: Context,
    conn: sa.Connection,
    uuid: str,
    changes: Sequence[Change],
    *,
    minor: int = 115,
) -> None:
    """Change a port, operation by operation; all or nothing."""
    for change in changes:
        if change.root not in schemas.PORT_PATCHABLE:
            allowed = ", ".join(schemas.PORT_PATCHABLE)
            raise Invalid(
                f"Cannot patch {change.path}. Only the following can be updated: {allowed}"
            )
    row = conn.execute(sa.select(ports).where(ports.c.uuid == uuid)).mappings().first()
    if row is None:
        raise Missing(f"Port {uuid} could not be found.")
    node = store.get_node(conn, row["node_uuid"])
    names = [name for name in schemas.PORT_PATCHABLE if name in row]
    before = {name: from_json(row[name]) if name in _JSON else row[name] for name in names}
    before["available_for_dynamic_portgroup"] = bool(before["available_for_dynamic_portgroup"])
    patched = patching.apply({**before}, changes)
    for name in ("address", "node_uuid"):
        if name not in patched:
            raise Invalid(f"'/{name}' is a mandatory attribute and can not be removed")
    patched.pop("node_ident", None)
    after = {name: _EMPTY.get(name) for name in names}
    after.update(schemas.port_values(schemas.PortChange, patched))
    delta = {name: value for name, value in after.items() if value != before[name]}
    _check(conn, node, uuid, delta, minor)
    if not delta:
        return
    stored = {name: to_json(v) if name in _JSON else v for name, v in delta.items()}
    try:
        conn.execute(
            sa.update(ports).where(ports.c.uuid == uuid).values(**stored, updated_at=ctx.now())
        )
    except IntegrityError as error:
        raise Conflict(
            "A port with this MAC address or name already exists.", internal=str(error.orig)
        ) from error


def _check(
    conn: sa.Connection, node: Node, uuid: str, delta: Mapping[str, Any], minor: int
) -> None:
    if node.provision_state == machine.INSPECTING and minor >= guards.INSPECT_WAIT_SINCE:
        raise Conflict(
            f'Cannot update port "{uuid}" on "{node.uuid}" while it is in state '
            f'"{machine.INSPECTING}".'
        )
    guards.port_change(node, uuid, set(delta))
    if "node_uuid" in delta:
        other = store.find_node(conn, delta["node_uuid"])
        if other is None or other.owner != node.owner:
            raise Invalid(
                f"Unable to apply the requested node_uuid '{delta['node_uuid']}'. Requested value "
                "was invalid."
            )
    _portgroup(delta)
    _unique(conn, delta, but=uuid)
    free(conn, node)


def delete_port(ctx: Context, conn: sa.Connection, uuid: str) -> None:
    row = conn.execute(sa.select(ports).where(ports.c.uuid == uuid)).first()
    if row is None:
        raise Missing(f"Port {uuid} could not be found.")
    node = store.get_node(conn, row.node_uuid)
    free(conn, node)
    info = from_json(row.internal_info)
    vif = next((info[key] for key in _VIF_KEYS if info.get(key)), None)
    if vif and not node.maintenance:
        raise Conflict(f"Cannot delete the port {uuid} as it is bound to VIF {vif} for use.")
    conn.execute(sa.delete(ports).where(ports.c.uuid == uuid))


def _portgroup(values: Mapping[str, Any]) -> None:
    if values.get("portgroup_uuid"):
        raise Invalid(f"Portgroup {values['portgroup_uuid']} could not be found.")


def _unique(conn: sa.Connection, new: Mapping[str, Any], but: str | None) -> None:
    told = {
        "address": "A port with MAC address {} already exists.",
        "name": "A port with name {} already exists.",
        "uuid": "A port with UUID {} already exists.",
    }
    for column, text in told.items():
        value = new.get(column)
        if value is None:
            continue
        query = sa.select(ports.c.uuid).where(ports.c[column] == value)
        if but is not None:
            query = query.where(ports.c.uuid != but)
        if conn.execute(query).first() is not None:
            raise Conflict(
                text.format(value),
                next_action="Correct the value, or delete the port that has it: "
                "openstack baremetal port list.",
            )
