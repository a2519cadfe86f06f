"""Handlers that all plain resources have in common (their lists), and those of what hangs on nodes.

Who may see or change a part of a node is decided on the owner and lessee of its node, as for the node itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.faults import Invalid, Missing
from ingot.services.baremetal import store, tables
from ingot.services.baremetal.api.common import (
    Handlers,
    PageQuery,
    by,
    location,
    needs,
    spelt,
)
from ingot.services.baremetal.api.nodes import DETAIL_SINCE, FIELDS_SINCE
from ingot.services.baremetal.context import By
from ingot.services.baremetal.nodes import guards, node_fields, patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import list_store as port_list_store
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ports.editing import Reachable
from ingot.services.baremetal.ports.resources import PartKind
from ingot.services.baremetal.types import Node


@dataclass(frozen=True)
class Part:
    """What was found, and whose node it hangs on."""

    uuid: str
    owner: str | None
    lessee: str | None


class Listed(Handlers):
    """Lists and replies of one resource.

    resource: what it is. rule: the middle word of its policy rules.
    """

    resource: PartKind
    rule: str

    async def list(self, call: Call) -> Reply:
        self.check(call)
        return await self._list(call, self.wanted(call))

    async def list_whole(self, call: Call) -> Reply:
        self.check(call)
        return await self._list(call, None)

    def wanted(self, call: Call) -> tuple[str, ...] | None:
        """The fields of a list: those asked for, all with `detail`, else the few usual ones."""
        query = call.query
        detail = None if query.detail is None else schemas.flag("detail", query.detail)
        if detail is not None and call.version.minor < DETAIL_SINCE:
            raise Invalid(f"Invalid query parameter ?detail={query.detail} received.")
        return self.fields(call, detail)

    def fields(self, call: Call, detail: bool | None) -> tuple[str, ...] | None:
        if call.query.fields is not None:
            needs(call, FIELDS_SINCE, "fields")
        return self.resource.wanted(call.query.fields, detail, call.version)

    async def _list(self, call: Call, wanted: tuple[str, ...] | None) -> Reply:
        query: PageQuery = call.query
        table = self.resource.fields
        if query.sort_key and query.sort_key not in self.resource.quiet:
            node_fields.acceptable([query.sort_key], table, call.version)
        if query.marker is not None:
            schemas.uuid("marker", query.marker)
        page = self.page(query, self.resource.sortable)

        def find(conn: sa.Connection) -> Sequence[dict[str, Any]]:
            where, visible = self.where(conn, call), self.visible(call)
            return self.read_rows(conn, call, wanted, where, page, visible)

        found = await self.scan(find)
        body: dict[str, Any] = {self.resource.collection: found}
        if len(found) == page.limit:
            body["next"] = next_link(call, port_list_store.last_uuid(found), page.limit)
        return Reply(body)

    def check(self, call: Call) -> None:
        """Refuse callers who may not list, and filters that are wrong or too new."""

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        """The list's filters."""
        return []

    def visible(self, call: Call) -> list[sa.ColumnElement[bool]]:
        """What the caller may see of the list; a page begins after nothing else."""
        return []

    def read_rows(
        self,
        conn: sa.Connection,
        call: Call,
        wanted: tuple[str, ...] | None,
        where: Sequence[sa.ColumnElement[bool]],
        page: Any = None,
        visible: Sequence[sa.ColumnElement[bool]] = (),
    ) -> list[dict[str, Any]]:
        return port_list_store.read(
            conn, self.resource, wanted, call.version, where, page, call.base_url, visible
        )

    def shown(
        self, conn: sa.Connection, call: Call, uuid: str, wanted: tuple[str, ...] | None = None
    ) -> dict[str, Any]:
        """One row; Missing when there is none."""
        found = self.read_rows(conn, call, wanted, [self.resource.table.c.uuid == uuid])
        if not found:
            raise self.resource.missing(uuid)
        return found[0]

    def made(self, conn: sa.Connection, call: Call, uuid: str) -> Reply:
        """The reply to a creation."""
        where = location(call, f"{self.resource.path}/{uuid}")
        return Reply(self.shown(conn, call, uuid), headers=where)


class Parts(Listed):
    """Handlers of what hangs on nodes."""

    async def malformed(self, call: Call) -> Reply:
        """Below a node (or port group, or chassis) there are only lists."""
        raise Invalid("Malformed request URI.")

    async def show(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> Reply:
            part = self.find_part(conn, call, "get")
            wanted = None if call.query.fields is None else self.fields(call, None)
            return Reply(self.shown(conn, call, part.uuid, wanted))

        return await self.read(find)

    async def patch(self, call: Call) -> Reply:
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, call.version.minor)
        self.check_patch(call, changes)

        def change(conn: sa.Connection) -> Reply:
            part = self.find_part(conn, call, "update")
            self.change(conn, call, part.uuid, changes)
            return Reply(self.shown(conn, call, part.uuid))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            self.remove(conn, self.find_part(conn, call, "delete").uuid, by(call))
            return Reply()

        return await self.write(change)

    # -- what a resource adds ----------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        raise NotImplementedError

    def check_patch(self, call: Call, changes: Sequence[PatchOperation]) -> None:
        """Refuse changes that are too new."""

    def change(
        self, conn: sa.Connection, call: Call, uuid: str, changes: Sequence[PatchOperation]
    ) -> None:
        raise NotImplementedError

    def remove(self, conn: sa.Connection, uuid: str, by: By) -> None:
        raise NotImplementedError

    def column(self, ident: str) -> str:
        """The column that a uuid or name is looked up in; Invalid when it can be neither."""
        if ids.is_uuid(ident):
            return "uuid"
        if "name" in self.resource.table.c and guards.logical_name(ident):
            return "name"
        raise Invalid(f"Expected a UUID for {self.resource.noun.lower()} but received {ident}.")

    # -- whose it is -------------------------------------------------------------------------

    def find_part(self, conn: sa.Connection, call: Call, action: str) -> Part:
        """The thing of the path, if the caller may see its node (404) and do this with it (403)."""
        return self.find_by(conn, call, call.params["id"], action)

    def find_by(self, conn: sa.Connection, call: Call, ident: str, action: str | None) -> Part:
        """As `find_part`, by uuid or name; action None: only whether it may be seen."""
        row = None
        for text in spelt(ident, call.version.minor):
            row = row or port_store.owner_by(conn, self.resource, self.column(text), text)
        if row is None:
            raise self.resource.missing(ident)
        uuid, owner, lessee = row
        place = self.target(owner, lessee)
        if not call.allows("baremetal:node:get", place):
            raise self.resource.missing(ident)
        if action is not None:
            call.require(f"baremetal:{self.rule}:{action}", place)
        return Part(uuid, owner, lessee)

    def reachable(self, call: Call) -> Reachable:
        """Whether the caller may know of a node."""

        def seen(node: Node) -> bool:
            return call.allows("baremetal:node:get", self.target(node.owner, node.lessee))

        return seen

    def node_for_new(self, conn: sa.Connection, call: Call, ident: str) -> Node:
        """The node that something new is to hang on: 403 before 400, and hidden nodes are not there."""
        node = store.find_node(conn, ident)
        if node is not None and not self.reachable(call)(node):
            node = None
        place = self.target(node.owner, node.lessee) if node else self.target()
        call.require(f"baremetal:{self.rule}:create", place)
        if node is None:
            raise Invalid(f"Node {ident} could not be found.")
        return node

    # -- filters -----------------------------------------------------------------------------

    def of_node(self, conn: sa.Connection, call: Call, ident: str | None) -> list[Any]:
        """Rows of the node in the path, or of the one that a filter names."""
        column = self.resource.table.c.node_uuid
        if parent := call.params.get("id"):
            return [column == self.find(conn, call, parent).uuid]
        if not ident:
            return []
        node = store.find_node(conn, ident)
        if node is None or not self.reachable(call)(node):
            raise Missing(f"Node {ident} could not be found.")
        return [column == node.uuid]

    def visible(self, call: Call) -> list[Any]:
        """What hangs on the nodes of the caller's project, unless the caller may see all."""
        project = self.listing_project(call, self.rule)
        if project is None:
            return []
        nodes = tables.nodes
        return [
            port_list_store.of_nodes(
                self.resource, sa.or_(nodes.c.owner == project, nodes.c.lessee == project)
            )
        ]
