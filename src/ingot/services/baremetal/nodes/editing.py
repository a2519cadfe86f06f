"""Nodes come, change and go: creation, patches, deletion, maintenance, traits. Functions of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import IntegrityError, from_json, to_json
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Missing
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations import service as allocations
from ingot.services.baremetal.boot import imagerights
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import (
    guards,
    lock_store,
    masking,
    patching,
    schemas,
    states,
    unreported_store,
)
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.lock_store import Ident, LockedNode
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import free, unheld
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.tables import INTERFACES
from ingot.services.baremetal.types import Node

UNSET_CHASSIS_SINCE = 25
_EMPTY: dict[str, Any] = {
    "automated_clean": None,
    "conductor_group": "",
    **{name: {} for name in schemas.OBJECTS},
    **dict.fromkeys(schemas.PLAIN_FLAGS, False),
}


def create_node(
    ctx: Context,
    conn: sa.Connection,
    values: Mapping[str, Any],
    *,
    provision_state: str = states.ENROLL,
    by: By = NOBODY,
) -> str:
    """A new node; its uuid. values: as `schemas.node_values` gives them; interfaces default by hardware type."""
    new = dict(values)
    chosen = new.get("uuid")
    uuid = new["uuid"] = chosen or ids.new_uuid()
    guards.boot_words(new)
    _known_chassis(conn, new)
    new.update(_interfaces(ctx, new["driver"], new))
    if not new.get("resource_class"):
        new["resource_class"] = ctx.settings.default_resource_class
    if not new.get("conductor_group"):
        new["conductor_group"] = ctx.settings.default_conductor_group
    if new.get("parent_node"):
        new["parent_node"] = _parent(conn, new["parent_node"], new.get("owner"))
    _unique(conn, {**new, "uuid": chosen}, but=None)
    rights = imagerights.written(None, {}, new, by.right)
    secrets = _hide_secrets(ctx, new, {})
    row = {
        name: to_json(value) if name in schemas.OBJECTS else value for name, value in new.items()
    }
    row |= {"provision_state": provision_state, "created_at": ctx.now()}
    row["image_rights"] = to_json(rights)
    try:
        node_store.insert(conn, row)
    except IntegrityError as error:
        raise _duplicate(error) from error
    for name, sealed in secrets.items():
        store.write_secret(conn, ctx.vault, uuid, name, sealed)
    events.record(conn, f"node:{uuid}", "node created", "Enrolled", project_id=by.project_id)
    return uuid


def document(row: sa.RowMapping | Mapping[str, Any]) -> dict[str, Any]:
    """What a patch works on: all attributes that a client may change."""
    return {
        name: from_json(row[name]) if name in schemas.OBJECTS else row[name]
        for name in schemas.PATCHABLE
    }


def patch_node(
    ctx: Context,
    conn: sa.Connection,
    held: LockedNode,
    changes: Sequence[PatchOperation],
    *,
    minor: int = 115,
    reset_interfaces: bool = False,
    may_move_secrets: bool = True,
    by: By = NOBODY,
) -> None:
    """Change a node, operation by operation; all or nothing.

    may_move_secrets: whether the secrets of driver_info stay when it gets another address. Of others a new address ends
    them, unless it comes with its own: they were given for the old one.
    """
    for change in changes:
        if change.root not in schemas.PATCHABLE:
            allowed = ", ".join(schemas.PATCHABLE)
            raise Invalid(
                f"Cannot patch {change.path}. Only the following can be updated: {allowed}"
            )
    node, row = held.node, held.row
    guards.patch_in_state(node, changes, minor)
    before = document(row)
    patched = patching.apply(before, changes)
    if "driver" not in patched:
        raise Invalid("'/driver' is a mandatory attribute and can not be removed")
    leaves = before["chassis_uuid"] and not patched.get("chassis_uuid")
    if leaves and minor < UNSET_CHASSIS_SINCE:
        raise Fault(
            "Request not acceptable: taking a node out of its chassis needs at least API version "
            f"1.{UNSET_CHASSIS_SINCE}.",
            kind=Kind.VERSION,
        )
    if not may_move_secrets:
        _end_secrets(conn, node, before, patched, by)
    touched = {change.root for change in changes}
    _rewrite(ctx, conn, node, row, patched, touched, reset_interfaces, by)


def _end_secrets(
    conn: sa.Connection,
    node: Node,
    before: Mapping[str, Any],
    patched: dict[str, Any],
    by: By,
) -> None:
    """Take the old secrets out of a patched driver_info that leads elsewhere."""
    info: object = patched.get("driver_info")
    if not isinstance(info, dict):
        return
    said = cast("dict[str, Any]", info)
    if not masking.leads_elsewhere(before["driver_info"], said):
        return
    patched["driver_info"] = masking.without_masks(said)
    if ended := sorted(said.keys() - patched["driver_info"].keys()):
        title = f"A new address ended what was stored for the old one: {', '.join(ended)}"
        events.record(
            conn,
            node.subject,
            "secrets ended",
            title,
            severity="warning",
            project_id=by.project_id,
        )


def rewrite_node(ctx: Context, conn: sa.Connection, node: Node, fields: Mapping[str, Any]) -> None:
    """Write a node's document as an inspection has made it, checked as a patch would be."""
    row = node_store.row_of(conn, node.uuid)
    before = document(row)
    touched = {name for name, value in fields.items() if value != before[name]}
    _rewrite(ctx, conn, node, row, fields, touched, False, NOBODY)


def _rewrite(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    row: sa.RowMapping | Mapping[str, Any],
    fields: Mapping[str, Any],
    touched: set[str],
    reset_interfaces: bool,
    by: By,
) -> None:
    before = document(row)
    after: dict[str, Any] = {name: _EMPTY.get(name) for name in schemas.PATCHABLE}
    after.update(schemas.node_values(schemas.NodeEdit, fields))
    _derive(ctx, conn, node, before, after, touched, reset_interfaces)
    unseen = {name: row[name] for name in ("console_enabled", "allocation_uuid")}
    guards.changed_fields(node, {**before, **unseen}, after)
    _write(ctx, conn, node, before, after, by)


def _derive(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    before: Mapping[str, Any],
    after: dict[str, Any],
    touched: set[str],
    reset_interfaces: bool,
) -> None:
    """Values that follow from other values."""
    if reset_interfaces and after["driver"] != before["driver"]:
        for name in INTERFACES:
            if f"{name}_interface" not in touched:
                after[f"{name}_interface"] = None
    if touched & {"driver", *(f"{name}_interface" for name in INTERFACES)}:
        after.update(_interfaces(ctx, after["driver"], after))
    for flag in ("protected", "retired"):
        if before[flag] and not after[flag]:
            after[f"{flag}_reason"] = None
    if "instance_info" in touched and not after["instance_name"]:
        after["instance_name"] = after["instance_info"].get("display_name") or None
    if "chassis_uuid" in touched:
        _known_chassis(conn, after)
    if "parent_node" in touched and after["parent_node"]:
        parent = _parent(conn, after["parent_node"], after["owner"])
        after["parent_node"] = None if parent == node.uuid else parent


def _write(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    before: Mapping[str, Any],
    after: dict[str, Any],
    by: By,
) -> None:
    delta = {name: value for name, value in after.items() if value != before[name]}
    guards.boot_words(delta)
    _unique(conn, delta, but=node.uuid)
    secret = {name: after[name] for name in ("driver_info", "instance_info") if name in delta}
    if "driver" in delta:
        # A new driver may see secrets where the old one did not.
        secret["driver_info"] = after["driver_info"]
    if imagerights.NAMES.keys() & delta.keys():
        known, _ = store.image_rights(conn, node.uuid)
        delta["image_rights"] = imagerights.written(known, before, after, by.right)
    if secret:
        part = {"driver": after["driver"], **secret}
        old = {name: store.read_secret(conn, ctx.vault, node.uuid, name) for name in secret}
        for name, sealed in _hide_secrets(ctx, part, old).items():
            store.write_secret(conn, ctx.vault, node.uuid, name, sealed)
            delta[name] = part[name]
    if "maintenance" in delta and not delta["maintenance"]:
        delta.update(maintenance_reason=None, fault=None)
    if "instance_uuid" in delta and not delta["instance_uuid"]:
        allocations.end_with_instance(ctx.now(), conn, node.uuid)
    if not delta:
        return
    try:
        store.update_node(conn, node.uuid, **delta, updated_at=ctx.now())
    except IntegrityError as error:
        raise _duplicate(error) from error


def delete_node(ctx: Context, conn: sa.Connection, ident: Ident, by: By = NOBODY) -> None:
    held = lock_store.lock(conn, ident)
    free(conn, held)
    node = held.node
    guards.deletion(node, ctx.settings.allow_deleting_available_nodes)
    if node.boot_intent is not None:
        ctx.networks.unplug_provisioning(conn, node)  # an agent was kept there
    if ctx.images is not None:
        ctx.images.revoke(conn, node.uuid)
    if node.server_uuid is not None:
        unreported_store.leave(conn, node.uuid)
    store.delete_node(conn, node.uuid)
    events.record(
        conn,
        node.subject,
        "node deleted",
        f"{node.label} left the inventory",
        project_id=by.project_id,
    )


def set_maintenance(
    ctx: Context,
    conn: sa.Connection,
    ident: Ident,
    on: bool,
    reason: str | None = None,
    *,
    fault: str | None = None,
    by: By = NOBODY,
) -> None:
    """Take a node out of service, or back. fault: set by the cloud itself when it is the reason."""
    node = lock_store.lock(conn, ident).node
    store.update_node(
        conn,
        node.uuid,
        maintenance=on,
        maintenance_reason=reason if on else None,
        fault=fault if on else None,
        updated_at=ctx.now(),
    )
    if node.maintenance != on:
        title = f"In maintenance: {reason or 'no reason given'}" if on else "Out of maintenance"
        severity = "warning" if fault else "info"
        events.record(
            conn, node.subject, "maintenance", title, severity=severity, project_id=by.project_id
        )


# -- traits --------------------------------------------------------------------------------------


def set_traits(ctx: Context, conn: sa.Connection, ident: Ident, traits: Iterable[str]) -> None:
    """Replace all traits of a node."""
    held = lock_store.lock(conn, ident)
    node, wanted = held.node, set(traits)
    guards.traits(wanted)
    unheld(conn, held)
    store.change_traits(conn, node.uuid, node.traits, wanted)
    store.update_node(conn, node.uuid, updated_at=ctx.now())


def add_trait(ctx: Context, conn: sa.Connection, ident: Ident, trait: str) -> None:
    held = lock_store.lock(conn, ident)
    guards.traits({trait})
    set_traits(ctx, conn, held, {*held.node.traits, trait})


def remove_trait(ctx: Context, conn: sa.Connection, ident: Ident, trait: str) -> None:
    held = lock_store.lock(conn, ident)
    node = held.node
    unheld(conn, held)
    if trait not in node.traits:
        raise Missing(f"Node {node.uuid} doesn't have a trait '{trait}'")
    store.change_traits(conn, node.uuid, node.traits, {*node.traits} - {trait})
    store.update_node(conn, node.uuid, updated_at=ctx.now())


# -- inside --------------------------------------------------------------------------------------


def _interfaces(ctx: Context, driver: str, given: Mapping[str, Any]) -> dict[str, str | None]:
    """Interface columns: the client's choice where there is one, else the hardware type's default."""
    chosen: dict[str, str | None] = {}
    for name in INTERFACES:
        key = f"{name}_interface"
        try:
            chosen[key] = ctx.registry.spec(driver, name, given.get(key) or None).name
        except Fault as fault:
            raise Invalid(f"{fault.text}.", next_action=fault.next_action) from None
    return chosen


def _hide_secrets(
    ctx: Context, new: dict[str, Any], old: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Mask the secrets of a document in place; what to seal, by the name of the secret."""
    sealed: dict[str, dict[str, Any]] = {}
    names = {
        "driver_info": (ctx.registry.secret_names(new["driver"]), ()),
        "instance_info": (masking.INSTANCE_SECRETS, masking.INSTANCE_URLS),
    }
    for name, (known, urls) in names.items():
        if name in new:
            new[name], sealed[name] = masking.part(new[name], known, old.get(name), urls)
    return sealed


def _unique(conn: sa.Connection, new: Mapping[str, Any], but: str | None) -> None:
    """Names, uuids and instances belong to one node only."""
    told = {
        "uuid": "A node with UUID {} already exists.",
        "name": "A node with name {} already exists.",
        "instance_uuid": "Instance {} is already associated with a node, it cannot be associated "
        "with this other node.",
    }
    for column, text in told.items():
        value = new.get(column)
        if value is not None and node_store.is_taken(conn, column, value, but):
            raise Conflict(text.format(value), next_action="Choose another one.")


def _duplicate(error: IntegrityError) -> Conflict:
    """Two requests at the same moment wanted the same name, uuid or instance."""
    return Conflict(
        "A node with this name, UUID or instance already exists.", internal=str(error.orig)
    )


def _known_chassis(conn: sa.Connection, new: Mapping[str, Any]) -> None:
    uuid = new.get("chassis_uuid")
    if uuid and not port_store.chassis_exists(conn, uuid):
        raise Invalid(f"Chassis {uuid} could not be found.")


def _parent(conn: sa.Connection, ident: str, owner: str | None) -> str:
    found = store.find_node(conn, ident)
    if found is None or found.owner != owner:
        raise Invalid(
            f"Unable to apply the requested parent_node '{ident}'. Requested value was invalid."
        )
    return found.uuid
