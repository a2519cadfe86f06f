"""Allocations by the API: create, list, show, patch, delete; also below a node.

A request is decided when it is made; the reply to it still says `allocating`, as clients that poll expect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Meta, UnsetType

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.versions import Field, FieldTable
from ingot.kit.db.database import from_json
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.baremetal import store, tables
from ingot.services.baremetal.allocations import service as allocations
from ingot.services.baremetal.allocations.types import AllocationRequest
from ingot.services.baremetal.api.common import NodeOwner, PageQuery, by, location, needs
from ingot.services.baremetal.api.records import Records, given, patchable
from ingot.services.baremetal.nodes import guards, patching, schemas
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.resources import PartKind
from ingot.services.baremetal.types import Node

BACKFILL_SINCE = 58
OWNER_SINCE = 60

_FIELDS = FieldTable(
    [
        Field("uuid"),
        Field("name"),
        Field("created_at"),
        Field("updated_at"),
        Field("candidate_nodes"),
        Field("extra"),
        Field("last_error"),
        Field("node_uuid"),
        Field("owner", OWNER_SINCE),
        Field("resource_class"),
        Field("state"),
        Field("traits"),
    ]
)
ALLOCATION = PartKind(
    "Allocation",
    "allocations",
    "allocations",
    tables.allocations,
    _FIELDS,
    tuple(_FIELDS.by_name),
)
_PATCHABLE = ("name", "extra")
#: What the reply to a request does not tell yet.
_UNDECIDED = dict.fromkeys(("last_error", "node_uuid", "updated_at"))


class AllocationQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    node: str | None = None
    owner: str | None = None
    resource_class: str | None = None
    state: str | None = None


class AllocationCreate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/allocations."""

    candidate_nodes: list[str] | UnsetType | None = UNSET
    extra: dict[str, Any] | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    node: str | UnsetType | None = UNSET
    owner: str | UnsetType | None = UNSET
    resource_class: Annotated[str, Meta(max_length=80)] | UnsetType | None = UNSET
    traits: list[str] | UnsetType | None = UNSET
    uuid: str | UnsetType | None = UNSET


class AllocationEdit(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a patch leaves of the two fields that it may change."""

    name: str | None = None
    extra: dict[str, Any] | None = None


class Allocations(Records):
    """Handlers of /v1/allocations and /v1/nodes/{id}/allocation."""

    resource = ALLOCATION
    rule = "allocation"

    # -- reading -----------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        if call.query.owner is not None:
            needs(call, OWNER_SINCE, "the filter owner")
        self._lister(call)

    def _lister(self, call: Call) -> str | None:
        return self.listing_project(call, "allocation", call.query.owner)

    def wanted(self, call: Call) -> tuple[str, ...] | None:
        return self.fields(call, None)

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        query: AllocationQuery = call.query
        columns = self.resource.table.c
        where = [
            columns[name] == value
            for name, value in (
                ("owner", self._lister(call)),
                ("resource_class", query.resource_class),
                ("state", query.state),
            )
            if value is not None
        ]
        if query.node is not None:
            where.append(columns.node_uuid == self._seen_node(conn, call, query.node).uuid)
        return where

    def visible(self, call: Call) -> list[sa.ColumnElement[bool]]:
        own = self.resource.table.c.owner == call.caller.project_id
        return [own] if self.confined(call, "allocation") else []

    async def show(self, call: Call) -> Reply:
        wanted = self.wanted_of_one(call)

        def find(conn: sa.Connection) -> Reply:
            row = self._find(conn, call, "baremetal:allocation:get")
            return Reply(self.shown(conn, call, row["uuid"], wanted))

        return await self.read(find)

    async def show_of_node(self, call: Call) -> Reply:
        wanted = self.wanted_of_one(call)

        def find(conn: sa.Connection) -> Reply:
            node = self._node_of_path(conn, call)
            row = self._of_node(conn, call, node, "baremetal:allocation:get")
            return Reply(self.shown(conn, call, row["uuid"], wanted))

        return await self.read(find)

    def _find(self, conn: sa.Connection, call: Call, rule: str) -> sa.RowMapping:
        """The allocation of the path: 404 for those who may not see it, 403 who may not do this."""
        ident = call.params["id"]
        row = self.look_up(conn, call, ident)
        place = self.owned_by(row["owner"])
        if not call.allows("baremetal:allocation:get", place):
            raise self.resource.missing(ident)
        call.require(rule, place)
        return row

    def _node_of_path(self, conn: sa.Connection, call: Call) -> NodeOwner:
        """As upstream 400 for a node that is not there; but not told to those who see only their own."""
        ident = call.params["id"]
        try:
            self._look_up(conn, call, ident)
        except Missing as fault:
            raise Invalid(fault.text) if call.caller.system else fault from None
        return self.find(conn, call, ident)

    def _of_node(
        self, conn: sa.Connection, call: Call, node: Node | NodeOwner, rule: str
    ) -> sa.RowMapping:
        row = port_store.find_by(conn, self.resource, "node_uuid", node.uuid)
        if row is None:
            raise Missing(f"Allocation for node {call.params['id']} was not found.")
        call.require(rule, self.owned_by(row["owner"]))
        return row

    def _seen_node(self, conn: sa.Connection, call: Call, ident: str) -> Node:
        """A node named inside of a request: 400 when it is not there or hidden."""
        node = store.find_node(conn, ident)
        place = None if node is None else self.target(node.owner, node.lessee)
        if node is None or not call.allows("baremetal:node:get", place):
            raise Invalid(f"Node {ident} could not be found.")
        return node

    # -- writing -----------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        body: AllocationCreate = call.body
        values = {name: value for name, value in given(body).items() if value is not None}
        owner = self._owner(call, values.get("owner"))
        if "owner" in values:
            needs(call, OWNER_SINCE, "owner")
        if values.get("node") and call.version.minor < BACKFILL_SINCE:
            raise Invalid("Cannot set node when creating an allocation in this API version")
        _checked(values)

        def change(conn: sa.Connection) -> Reply:
            node = self._seen_node(conn, call, values["node"]) if values.get("node") else None
            request = self._request(conn, call, values, owner, node)
            if node is None:
                allocations.create(self.ctx, conn, request, by(call))
            else:
                allocations.backfill(self.ctx, conn, request, node.uuid, by(call))
            shown = self.shown(conn, call, request.uuid)
            if node is None:
                shown |= {"state": allocations.ALLOCATING, **_UNDECIDED}
            return Reply(shown, headers=location(call, f"allocations/{request.uuid}"))

        return await self.write(change)

    def _owner(self, call: Call, asked: str | None) -> str | None:
        """Whose the allocation is. Projects own what they ask for; only the system names others."""
        anywhere, own = self.target(), call.caller.project_id
        others = call.allows("baremetal:allocation:create_restricted", anywhere)
        if not others:
            call.require("baremetal:allocation:create", anywhere)
            if asked and asked != own:
                raise Forbidden(
                    f"Cannot create allocation with an owner Project ID value {asked} not matching "
                    f"the requester Project ID {own}. Policy "
                    "baremetal:allocation:create_restricted is required for this capability."
                )
        if asked:
            return asked
        return None if call.caller.system else own

    def _request(
        self,
        conn: sa.Connection,
        call: Call,
        values: Mapping[str, Any],
        owner: str | None,
        node: Node | None,
    ) -> AllocationRequest:
        resource_class = values.get("resource_class") or (node and node.resource_class)
        if not resource_class and node is None:
            raise Invalid("The resource_class field is mandatory when not backfilling")
        uuid = values.get("uuid") or (node and node.instance_uuid) or ids.new_uuid()
        return AllocationRequest(
            uuid=uuid,
            name=values.get("name") or None,
            resource_class=resource_class,
            traits=values.get("traits", ()),
            candidate_nodes=self._candidates(conn, call, values.get("candidate_nodes", ())),
            owner=owner,
            extra=values.get("extra", {}),
        )

    def _candidates(
        self, conn: sa.Connection, call: Call, idents: Sequence[str]
    ) -> tuple[str, ...]:
        """uuids of the nodes with these names or uuids, in their order; 400 names the unknown ones."""
        if not idents:
            return ()
        everybody = call.allows("baremetal:allocation:create_restricted", self.target())
        own = None if everybody else call.caller.project_id or ""
        known: dict[str, str] = {}
        for uuid, name in node_store.named(conn, idents, own):
            known[uuid] = uuid
            if name is not None:
                known.setdefault(name, uuid)
        if unknown := [ident for ident in idents if ident not in known]:
            raise Invalid(f"Nodes cannot be found: {', '.join(unknown)}")
        return tuple(known[ident] for ident in idents)

    async def patch(self, call: Call) -> Reply:
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, call.version.minor)

        def change(conn: sa.Connection) -> Reply:
            row = self._find(conn, call, "baremetal:allocation:update")
            patchable(changes, _PATCHABLE)
            document = {"name": row["name"], "extra": from_json(row["extra"])}
            patched = patching.apply(document, changes)
            try:
                edit = msgspec.convert(patched, AllocationEdit)
            except msgspec.ValidationError as wrong:
                raise Invalid(f"Invalid input for allocation: {wrong}.") from None
            _name(edit.name, "update")
            allocations.update(self.ctx, conn, row["uuid"], edit.name or None, edit.extra or {})
            return Reply(self.shown(conn, call, row["uuid"]))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            row = self._find(conn, call, "baremetal:allocation:delete")
            allocations.delete(self.ctx, conn, row["uuid"], by(call))
            return Reply()

        return await self.write(change)

    async def delete_of_node(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            node = self.find(conn, call, call.params["id"])
            row = self._of_node(conn, call, node, "baremetal:allocation:delete")
            allocations.delete(self.ctx, conn, row["uuid"], by(call))
            return Reply()

        return await self.write(change)


def _checked(values: dict[str, Any]) -> None:
    _name(values.get("name"), "create")
    if values.get("uuid"):
        values["uuid"] = schemas.uuid("uuid", values["uuid"])
    if values.get("traits"):
        guards.traits(values["traits"])


def _name(name: str | None, verb: str) -> None:
    if name and not guards.logical_name(name):
        raise Invalid(f"Cannot {verb} allocation with invalid name '{name}'")
