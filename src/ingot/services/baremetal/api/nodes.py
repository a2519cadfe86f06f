"""Nodes: create, list, show, patch, delete, validate, maintenance, traits, children."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.faults import Conflict, Fault, Forbidden, Invalid, Kind
from ingot.services.baremetal import paging_store, policies, tables
from ingot.services.baremetal.api.common import (
    Handlers,
    PageQuery,
    accepted,
    by,
    location,
    needs,
    optional_body,
)
from ingot.services.baremetal.nodes import (
    editing,
    guards,
    node_fields,
    patching,
    schemas,
    showing,
    states,
)
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.node_fields import NODE, NODE_BRIEF
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.verbs import unheld
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.resources import CHASSIS
from ingot.services.baremetal.types import Node

ENROLL_SINCE = 11
DETAIL_SINCE = 43
FIELDS_SINCE = 8
RESET_SINCE = 45
#: Filters of the list that are younger than the list.
_FILTER_SINCE = {
    "provision_state": 9,
    "driver": 16,
    "resource_class": 21,
    "fault": 42,
    "conductor_group": 46,
    "conductor": 49,
    "owner": 50,
    "description_contains": 51,
    "retired": 61,
    "lessee": 65,
    "shard": 82,
    "sharded": 82,
    "include_children": 83,
    "parent_node": 83,
    "instance_name": 104,
}
_FLAGS = ("associated", "maintenance", "retired", "sharded", "include_children")
FAULTS = ("power failure", "clean failure", "rescue abort failure", "service failure")


class NodeQuery(PageQuery, kw_only=True):
    chassis_uuid: str | None = None
    instance_uuid: str | None = None
    associated: str | None = None
    maintenance: str | None = None
    retired: str | None = None
    provision_state: str | None = None
    driver: str | None = None
    resource_class: str | None = None
    fault: str | None = None
    conductor_group: str | None = None
    conductor: str | None = None
    owner: str | None = None
    lessee: str | None = None
    project: str | None = None
    description_contains: str | None = None
    shard: list[str] | None = None
    sharded: str | None = None
    include_children: str | None = None
    parent_node: str | None = None
    instance_name: str | None = None


class NodeListQuery(NodeQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class FieldsQuery(msgspec.Struct, forbid_unknown_fields=True):
    fields: list[str] | None = None


class PatchQuery(msgspec.Struct, forbid_unknown_fields=True):
    reset_interfaces: str | None = None


class ValidateQuery(msgspec.Struct, forbid_unknown_fields=True):
    node: str | None = None
    node_uuid: str | None = None


class ReasonBody(msgspec.Struct, forbid_unknown_fields=True):
    reason: str | None = None


_HIDDEN = {column.name for column in tables.nodes.c} - {*node_fields.NODE.by_name, "id"}
_SORTABLE = paging_store.sortable(tables.nodes, node_fields.NODE_UNSORTABLE | _HIDDEN)


class Nodes(Handlers):
    """Handlers of /v1/nodes."""

    # -- reading -----------------------------------------------------------------------------

    async def list(self, call: Call) -> Reply:
        query: NodeListQuery = call.query
        detail = None if query.detail is None else schemas.flag("detail", query.detail)
        if detail is not None and call.version.minor < DETAIL_SINCE:
            raise Invalid(f"Invalid query parameter ?detail={query.detail} received.")
        if query.fields is not None:
            needs(call, FIELDS_SINCE, "fields")
        wanted = node_fields.fields_wanted(query.fields, detail, NODE, NODE_BRIEF, call.version)
        return await self._list(call, query, wanted)

    async def list_whole(self, call: Call) -> Reply:
        return await self._list(call, call.query, None)

    async def _list(self, call: Call, query: NodeQuery, wanted: tuple[str, ...] | None) -> Reply:
        project = self.listing_project(call, "node", query.project)
        own = project if self.confined(call, "node") else None
        filters = showing.node_filters({**_filters(call, query), "project": project}, own)
        if query.sort_key:
            node_fields.acceptable([query.sort_key], NODE, call.version)
        page = self.page(query, _SORTABLE)
        shape = showing.node_shape(wanted, call.version)
        redaction = self.redaction(call)

        def find(conn: sa.Connection) -> tuple[msgspec.Raw, int, str | None]:
            if query.chassis_uuid:
                _must_be_there(conn, query.chassis_uuid, own)
            return showing.read_nodes(
                self.ctx, conn, shape, filters, page, redaction, call.base_url, query.conductor
            )

        # An instance is on one node, which an index finds.
        found, count, last = await (self.read if query.instance_uuid else self.scan)(find)
        body: dict[str, Any] = {"nodes": found}
        if count == page.limit and last is not None and not query.instance_uuid:
            # The marker is the last uuid, shown or not.
            body["next"] = next_link(call, last, page.limit)
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        if query.fields is not None:
            needs(call, FIELDS_SINCE, "fields")
        wanted = None
        if query.fields is not None:
            wanted = node_fields.fields_wanted(query.fields, None, NODE, NODE_BRIEF, call.version)
        return await self.read(lambda conn: Reply(self._one(conn, call, wanted)))

    def _one(self, conn: sa.Connection, call: Call, wanted: tuple[str, ...] | None) -> Any:
        """The node of the path in one query, when the caller may see it."""
        ident, redaction = call.params["id"], self.redaction(call)
        shape = showing.node_shape(wanted, call.version)
        for column, text in self.spellings(call, ident):
            found = showing.read_node(self.ctx, conn, shape, column, text, redaction, call.base_url)
            if found is not None:
                self.may_see(call, ident, found[1], found[2])
                return found[3]()
        raise self.absent(call, ident)

    def _shown(self, conn: sa.Connection, call: Call, uuid: str) -> Any:
        """A node that was just written."""
        shape = showing.node_shape(None, call.version)
        found = showing.read_node(
            self.ctx, conn, shape, "uuid", uuid, self.redaction(call), call.base_url
        )
        assert found is not None
        return found[3]()

    async def children(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            parent = self.find(conn, call, call.params["id"])
            project = self.listing_project(call, "node")
            uuids = node_store.children(conn, parent.uuid, project=project)
            href = f"{call.base_url}/v1/nodes?parent_node={parent.uuid}"
            return Reply({"children": uuids, "links": {"href": href, "rel": "children"}})

        return await self.read(query)

    async def validate(self, call: Call) -> Reply:
        return await self._validate(call, call.params["id"])

    async def validate_by_query(self, call: Call) -> Reply:
        query: ValidateQuery = call.query
        ident = query.node_uuid or query.node
        if not ident:
            raise Invalid("Missing mandatory parameter: node")
        if not ids.is_uuid(ident):
            needs(call, 5, "a node's name")
        return await self._validate(call, ident)

    async def _validate(self, call: Call, ident: str) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, ident, "baremetal:node:validate")
            result = self.bm.validate(conn, found.uuid)
            return Reply(
                {
                    name: {"result": good} if reason is None else {"result": good, "reason": reason}
                    for name, (good, reason) in result.items()
                }
            )

        return await self.read(query)

    # -- writing -----------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        body: schemas.NodeCreate = call.body
        values = schemas.struct_values(body)
        minor = call.version.minor
        _refuse_newer(call, values)
        owned = self._may_own(call)
        if not owned:
            call.require("baremetal:node:create", self.target())
        if values.get("name") is not None:
            guards.node_name(values["name"], minor)
        if owned and not call.caller.system:
            own = call.caller.project_id
            if values.get("owner") and values["owner"] != own:
                raise Invalid(
                    "Cannot create a node as a project scoped admin with an owner other than "
                    "your own project."
                )
            values["owner"] = own
        state = states.ENROLL if minor >= ENROLL_SINCE else states.AVAILABLE

        def change(conn: sa.Connection) -> Reply:
            uuid = editing.create_node(
                self.ctx, conn, values, provision_state=state, by=self.writer(call)
            )
            shown = self._shown(conn, call, uuid)
            return Reply(shown, headers=location(call, f"nodes/{uuid}"))

        # Nothing is a new node's yet, whoever owns it.
        return await self.write(
            change, serializable=_by_others(values.keys() - {"owner", "lessee"})
        )

    def _may_own(self, call: Call) -> bool:
        if not self.ctx.settings.project_admin_can_manage_own_nodes:
            return False
        return call.allows("baremetal:node:create:self_owned_node", self.target())

    async def patch(self, call: Call) -> Reply:
        query: PatchQuery = call.query
        minor = call.version.minor
        reset = False
        if query.reset_interfaces is not None:
            needs(call, RESET_SINCE, "reset_interfaces")
            reset = schemas.flag("reset_interfaces", query.reset_interfaces)
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, minor)
        _refuse_newer(call, _patched_values(changes))
        if any(change.root == "traits" for change in changes):
            raise Invalid(
                "Cannot update node traits via node patch. Node traits should be updated via the "
                "node traits API."
            )
        if reset and not any(True for _ in patching.values(changes, "driver")):
            raise Invalid(
                "The reset_interfaces parameter can only be used when changing the node's driver."
            )
        for name in patching.values(changes, "name"):
            if name is not None:
                needs(call, 5, "name")
                guards.node_name(name, minor)

        def change(conn: sa.Connection) -> Reply:
            # As upstream, where a change takes the lock: what works on the machine has read the node.
            held = self.locked(conn, call, call.params["id"], *_patch_rules(changes))
            node = held.node
            unheld(conn, held)
            self._owner_rule(call, node, changes)
            editing.patch_node(
                self.ctx,
                conn,
                held,
                changes,
                minor=minor,
                reset_interfaces=reset,
                # Who may hand machines to others may see to it where their passwords go.
                may_move_secrets=call.allows(
                    "baremetal:node:update:owner", self.target(node.owner, node.lessee)
                ),
                by=self.writer(call),
            )
            return Reply(self._shown(conn, call, node.uuid))

        return await self.write(change, serializable=_by_others({c.root for c in changes}))

    def _owner_rule(self, call: Call, node: Node, changes: Sequence[PatchOperation]) -> None:
        """Whose a machine in use is changes only by the system's admin: who gets it gets the instance."""
        owners, lessees = (list(patching.values(changes, name)) for name in ("owner", "lessee"))
        if not owners and not any(lessees):
            return
        place = self.target(node.owner, node.lessee)
        if call.allows("baremetal:node:update_owner_provisioned", place):
            return
        state = node.provision_state
        if owners and state == states.ACTIVE:
            raise Conflict(
                f'Cannot update owner of node "{node.uuid}" while it is in state "{state}".'
            )
        if state in states.OCCUPIED and any(new and new != node.lessee for new in lessees):
            raise Conflict(
                f'Cannot update lessee of node "{node.uuid}" while it is in state "{state}".',
                next_action="Undeploy it first: whoever is given the machine now is given its instance.",
            )

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            held = self.locked(conn, call, call.params["id"])
            place = self.target(held.node.owner, held.node.lessee)
            own = self.ctx.settings.project_admin_can_manage_own_nodes
            if not call.allows("baremetal:node:delete", place) and not (
                own and call.allows("baremetal:node:delete:self_owned_node", place)
            ):
                raise Forbidden("Policy does not allow baremetal:node:delete to be performed.")
            editing.delete_node(self.ctx, conn, held, by(call))
            return Reply()

        # What hangs on the node goes with it, by foreign keys: nothing can be hung on it meanwhile.
        return await self.write(change, serializable=False)

    async def set_maintenance(self, call: Call) -> Reply:
        body = await optional_body(call, ReasonBody)
        reason = body.reason if body else dict(call.args).get("reason")
        return await self._maintenance(call, True, "baremetal:node:set_maintenance", reason)

    async def clear_maintenance(self, call: Call) -> Reply:
        return await self._maintenance(call, False, "baremetal:node:clear_maintenance")

    async def _maintenance(
        self, call: Call, on: bool, rule: str, reason: str | None = None
    ) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            held = self.locked(conn, call, call.params["id"], rule)
            editing.set_maintenance(self.ctx, conn, held, on, reason, by=by(call))
            return accepted(call)

        return await self.write(change, serializable=False)

    # -- traits ------------------------------------------------------------------------------

    async def traits(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], "baremetal:node:traits:list")
            return Reply({"traits": node.traits})

        return await self.read(query)

    async def set_traits(self, call: Call) -> Reply:
        body: schemas.TraitsBody = call.body

        def change(conn: sa.Connection) -> Reply:
            held = self.locked(conn, call, call.params["id"], "baremetal:node:traits:set")
            editing.set_traits(self.ctx, conn, held, body.traits)
            return Reply()

        return await self.write(change, serializable=False)

    async def add_trait(self, call: Call) -> Reply:
        trait = call.params["trait"]
        if await optional_body(call, dict[str, Any]):
            raise Invalid("No body should be provided when adding a trait")

        def change(conn: sa.Connection) -> Reply:
            held = self.locked(conn, call, call.params["id"], "baremetal:node:traits:set")
            editing.add_trait(self.ctx, conn, held, trait)
            return Reply(headers=location(call, f"nodes/{call.params['id']}/traits/{trait}"))

        return await self.write(change, serializable=False)

    async def remove_traits(self, call: Call) -> Reply:
        trait = call.params.get("trait")

        def change(conn: sa.Connection) -> Reply:
            held = self.locked(conn, call, call.params["id"], "baremetal:node:traits:delete")
            if trait is None:
                editing.set_traits(self.ctx, conn, held, ())
            else:
                editing.remove_trait(self.ctx, conn, held, trait)
            return Reply()

        return await self.write(change, serializable=False)


# -- readings of requests ------------------------------------------------------------------------


#: Attributes whose change is decided by other rows than the node's own: chassis and parents that must be there, claims
#: and allocations, and whose it is, by which its children are. Names and uuids are unique by constraints, and all else
#: is the node's own.
_OTHERS = frozenset({"chassis_uuid", "parent_node", "instance_uuid", "owner", "lessee"})


def _by_others(names: Collection[str]) -> bool:
    """Whether a change of these attributes must be serializable."""
    return not _OTHERS.isdisjoint(names)


def _must_be_there(conn: sa.Connection, chassis: str, project: str | None) -> None:
    """Missing where there is no such chassis; to a project also where none of its nodes is in it."""
    if project is None:
        there = port_store.taken(conn, CHASSIS.table, {"uuid": chassis})
    else:
        there = port_store.chassis_has_nodes_of(conn, chassis, project)
    if not there:
        raise CHASSIS.missing(chassis)


def _filters(call: Call, query: NodeQuery) -> dict[str, Any]:
    """The list's filters; 406 where they are too new, 400 where their value is wrong."""
    given: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(query).items()
        if value is not None and name not in _NOT_FILTERS
    }
    for name in given:
        needs(call, _FILTER_SINCE.get(name, 1), f"the filter {name}")
        if name in _FLAGS:
            given[name] = schemas.flag(name, given[name])
    for name in ("instance_uuid", "chassis_uuid"):
        if name in given:
            given[name] = schemas.uuid(name, given[name])
            setattr(query, name, given[name])
    if (state := given.get("provision_state")) is not None and state not in states.STATES:
        raise Invalid(f'Provision state "{state}" is not valid')
    if (fault := given.get("fault")) is not None and fault not in FAULTS:
        raise Invalid(
            f'Unrecognized fault "{fault}" is specified, allowed faults are {", ".join(FAULTS)}'
        )
    if query.marker is not None:
        schemas.uuid("marker", query.marker)
    return given


_NOT_FILTERS = frozenset({"limit", "marker", "sort_key", "sort_dir", "fields", "detail", "project"})


def _refuse_newer(call: Call, values: Mapping[str, Any]) -> None:
    """406 for attributes that this microversion does not know, when they say something."""
    for name, value in values.items():
        field = NODE.by_name.get(name)
        if field is None or field.visible(call.version.minor) or value is None:
            continue
        if name == "conductor_group" and value == "":
            continue
        raise Fault(
            f"Request not acceptable: {name} needs at least API version 1.{field.since}.",
            kind=Kind.VERSION,
        )


def _patched_values(changes: Sequence[PatchOperation]) -> dict[str, Any]:
    """Attributes that a patch names in whole, with a value that counts as said."""
    return {
        change.root: True
        for change in changes
        if change.whole and change.op != "remove" and change.value is not UNSET
    }


def _patch_rules(changes: Sequence[PatchOperation]) -> tuple[str, ...]:
    rules: dict[str, None] = {}
    for change in changes:
        rule = policies.patch_rule(change.root)
        if change.root == "automated_clean" and change.op != "remove":
            off = str(change.value).strip().lower() in ("false", "0", "f", "n", "no", "off")
            rule = "baremetal:node:disable_cleaning" if off else rule
        rules[rule] = None
    return tuple(rules) or ("baremetal:node:update",)
