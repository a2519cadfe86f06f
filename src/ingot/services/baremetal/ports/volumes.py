"""Volume connectors (what a machine is known by to a storage) and targets (what it is to reach there).

Functions of a connection. They change only while the machine is off, since a running system would lose its
disks. Secrets of a target's properties are sealed beside the row; what is shown has `******` for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.db.database import from_json, to_json
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Conflict, Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import masking, states
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import unheld
from ingot.services.baremetal.ports import schemas as port_schemas
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.editing import Reachable, everywhere, record_event, relinked
from ingot.services.baremetal.ports.resources import CONNECTOR, TARGET, PartKind
from ingot.services.baremetal.ports.schemas import ConnectorChange, TargetChange
from ingot.services.baremetal.types import Node

_SHAPES: dict[PartKind, type[msgspec.Struct]] = {CONNECTOR: ConnectorChange, TARGET: TargetChange}
_OFF = "power off"
#: Nothing that belongs to anybody runs on a machine in these states.
_AT_REST = states.DELETABLE - {states.AVAILABLE}


def create(
    ctx: Context,
    conn: sa.Connection,
    resource: PartKind,
    node: Node,
    values: Mapping[str, Any],
    by: By = NOBODY,
) -> str:
    """A new connector or target of a node; its uuid. values: as `part_schemas.values` gives them."""
    new: dict[str, Any] = {**values, "node_uuid": node.uuid}
    _unique(conn, resource, new, None)
    if "properties" in new:
        new["properties"], new["sealed"] = _sealed(ctx.vault, new["properties"], None)
    uuid = port_store.insert(conn, resource, new, ctx.now())
    noun = resource.noun
    record_event(conn, node, f"{noun.lower()} created", f"{noun} {_label(new)} was added", by)
    return uuid


def patch(
    ctx: Context,
    conn: sa.Connection,
    resource: PartKind,
    uuid: str,
    changes: Sequence[PatchOperation],
    *,
    reachable: Reachable = everywhere,
) -> None:
    """Change a connector or target, operation by operation; all or nothing."""
    row = port_store.get(conn, resource, uuid)
    shape = _SHAPES[resource]
    before = {name: row[name] for name in shape.__struct_fields__}
    patched = port_schemas.patched(before, changes, tuple(before))
    node = store.get_node(conn, row["node_uuid"])
    for change in changes:
        if change.path == "/node_uuid" and change.op != "remove":
            # Unlike for ports, a node's name will not do.
            port_schemas.values(_NodeLink, resource.noun.lower(), {"node_uuid": change.value})
    owner = relinked(conn, node, changes, reachable)
    patched["node_uuid"] = owner.uuid
    after: dict[str, Any] = {"extra": {}, "properties": dict[str, Any]()}
    after.update(port_schemas.values(shape, resource.noun.lower(), patched))
    delta = {name: after[name] for name in before if after[name] != before[name]}
    for held in {node.uuid: node, owner.uuid: owner}.values():
        unheld(conn, held)
    if owner.power_state != _OFF:
        raise _running(owner, f"{resource.noun.lower()} update")
    _unique(conn, resource, after, uuid)
    if "properties" in delta:
        delta["properties"], delta["sealed"] = _sealed(
            ctx.vault, delta["properties"], row["sealed"]
        )
    if delta:
        port_store.update(conn, resource, uuid, delta, ctx.now())


def delete(
    ctx: Context, conn: sa.Connection, resource: PartKind, uuid: str, by: By = NOBODY
) -> None:
    row = port_store.get(conn, resource, uuid)
    node = store.get_node(conn, row["node_uuid"])
    unheld(conn, node)
    if node.provision_state not in _AT_REST and node.power_state != _OFF:
        raise _running(node, f"{resource.noun.lower()} deletion")
    port_store.delete(conn, resource, uuid)
    noun = resource.noun
    record_event(conn, node, f"{noun.lower()} deleted", f"{noun} {_label(row)} was removed", by)


def properties(conn: sa.Connection, vault: Vault, uuid: str) -> dict[str, Any]:
    """How the machine reaches a target, secrets in plain text, for work only."""
    row = port_store.get(conn, TARGET, uuid, hold=False)
    sealed: dict[str, Any] = from_json(vault.open(row["sealed"])) if row["sealed"] else {}
    return {**row["properties"], **sealed}


class _NodeLink(msgspec.Struct):
    node_uuid: str


def _label(row: Mapping[str, Any]) -> str:
    return row["connector_id"] if "connector_id" in row else row["volume_id"]


def _sealed(
    vault: Vault, document: dict[str, Any], old: str | None
) -> tuple[dict[str, Any], str | None]:
    """Properties as they are shown, and their secrets, encrypted."""
    known = from_json(vault.open(old)) if old else None
    shown, hidden = masking.part(document, (), known)
    return shown, vault.seal(to_json(hidden)) if hidden else None


def _running(node: Node, action: str) -> Invalid:
    return Invalid(
        f'The requested action "{action}" can not be performed on node "{node.uuid}" while it is '
        f'in state "{node.power_state}".',
        next_action=f"Power it off first: openstack baremetal node power off {node.label}.",
    )


def _unique(
    conn: sa.Connection, resource: PartKind, new: Mapping[str, Any], but: str | None
) -> None:
    table = resource.table
    if resource is CONNECTOR:
        kind, ident = new["type"], new["connector_id"]
        if port_store.taken(conn, table, {"type": kind, "connector_id": ident}, but):
            raise Conflict(
                f"A volume connector with type {kind} and connector ID {ident} already exists."
            )
    else:
        index = new["boot_index"]
        same = {"node_uuid": new["node_uuid"], "boot_index": index}
        if port_store.taken(conn, table, same, but):
            raise Conflict(
                f"A volume target with boot index '{index}' for the same node already exists."
            )
