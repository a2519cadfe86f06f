"""Ports: create, list, show, patch, delete; also below a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET

from ingot.baremetal import listing, nics, patching, schemas, store, tables
from ingot.baremetal.api.common import Handlers, PageQuery, location, needs
from ingot.baremetal.api.nodes import DETAIL_SINCE, FIELDS_SINCE, FieldsQuery
from ingot.baremetal.listing import PORT, PORT_BRIEF
from ingot.baremetal.patching import Change
from ingot.kit import ids
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.kit.paging import next_link
from ingot.kit.web import Call, Reply

IDENT_SINCE = 94
NETWORK_TYPE_SINCE = 64
_FILTER_SINCE = {"portgroup": 24, "shard": 82, "conductor_groups": 99, "description_contains": 97}
_SORTABLE = listing.sortable(tables.ports, {"extra", "internal_info", "local_link_connection"})


class PortQuery(PageQuery, kw_only=True):
    node: str | None = None
    node_uuid: str | None = None
    address: str | None = None
    portgroup: str | None = None
    shard: list[str] | None = None
    description_contains: str | None = None
    conductor_groups: list[str] | None = None


class PortListQuery(PortQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Ports(Handlers):
    """Handlers of /v1/ports and /v1/nodes/{id}/ports."""

    async def list(self, call: Call) -> Reply:
        query: PortListQuery = call.query
        detail = None if query.detail is None else schemas.flag("detail", query.detail)
        if detail is not None and call.version.minor < DETAIL_SINCE:
            raise Invalid(f"Invalid query parameter ?detail={query.detail} received.")
        if query.fields is not None:
            needs(call, FIELDS_SINCE, "fields")
        wanted = listing.fields_wanted(query.fields, detail, PORT, PORT_BRIEF, call.version)
        return await self._list(call, query, wanted)

    async def list_whole(self, call: Call) -> Reply:
        return await self._list(call, call.query, None)

    async def _list(self, call: Call, query: PortQuery, wanted: tuple[str, ...] | None) -> Reply:
        for name, since in _FILTER_SINCE.items():
            if getattr(query, name) is not None:
                needs(call, since, f"the filter {name}")
        parent = call.params.get("id")
        ident = parent or query.node_uuid or query.node
        if ident and not parent and not ids.is_uuid(ident):
            needs(call, 5, "a node's name")
        if sum(1 for given in (ident, query.portgroup, query.shard) if given) > 1:
            raise Fault("Operation not permitted.", kind=Kind.FORBIDDEN)
        if query.conductor_groups and (ident or query.portgroup or query.address):
            raise Invalid(
                "Filtering by conductor_groups cannot be combined with node_ident, "
                "portgroup_ident, or node address filters."
            )
        if query.portgroup:
            raise Missing(f"Portgroup {query.portgroup} could not be found.")
        if query.sort_key:
            listing.acceptable([query.sort_key], PORT, call.version)
        if query.marker is not None:
            schemas.uuid("marker", query.marker)
        page = self.page(query, _SORTABLE)
        where = _where(query)
        shape = listing.port_shape(wanted, call.version)

        def find(conn: sa.Connection) -> Sequence[dict[str, Any]]:
            more = list(where)
            if parent:
                more.append(tables.ports.c.node_uuid == self.find(conn, call, parent).uuid)
            elif ident:
                more.append(tables.ports.c.node_uuid == store.get_node(conn, ident).uuid)
            project = self.listing_project(call, "port")
            if project is not None:
                more.append(_of_nodes(_belongs_to(project)))
            return listing.read_ports(conn, shape, more, page, call.base_url)

        found = await self.scan(find)
        body: dict[str, Any] = {"ports": found}
        if len(found) == page.limit:
            last = found[-1]["links"][0]["href"].rpartition("/")[2]
            body["next"] = next_link(call, last, page.limit)
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        wanted = None
        if query.fields is not None:
            needs(call, FIELDS_SINCE, "fields")
            wanted = listing.fields_wanted(query.fields, None, PORT, PORT_BRIEF, call.version)

        def find(conn: sa.Connection) -> Reply:
            uuid = self._find_port(conn, call, "baremetal:port:get")
            return Reply(self._shown(conn, call, uuid, wanted))

        return await self.read(find)

    def _shown(
        self,
        conn: sa.Connection,
        call: Call,
        uuid: str,
        wanted: tuple[str, ...] | None = None,
    ) -> dict[str, Any]:
        shape = listing.port_shape(wanted, call.version)
        where = [tables.ports.c.uuid == uuid]
        return listing.read_ports(conn, shape, where, None, call.base_url)[0]

    def _find_port(self, conn: sa.Connection, call: Call, rule: str) -> str:
        """The port's uuid, if the caller may see its node (404) and do this (403)."""
        ident, ports, nodes = call.params["id"], tables.ports, tables.nodes
        column = ports.c.name if not ids.is_uuid(ident) else ports.c.uuid
        if not ids.is_uuid(ident) and call.version.minor < PORT.by_name["name"].since:
            raise Invalid(f"Expected a UUID but received {ident}.")
        row = conn.execute(
            sa.select(ports.c.uuid, nodes.c.owner, nodes.c.lessee)
            .join(nodes, nodes.c.uuid == ports.c.node_uuid)
            .where(column == ident)
        ).first()
        place = self.target(row.owner if row else None, row.lessee if row else None)
        if row is None or not call.allows("baremetal:node:get", place):
            raise Missing(f"Port {ident} could not be found.")
        call.require(rule, place)
        return row.uuid

    async def create(self, call: Call) -> Reply:
        body: schemas.PortCreate = call.body
        values = schemas.port_struct_values(body)
        ident = values.get("node_ident")
        if (ident is None) == (values.get("node_uuid") is None):
            raise Invalid("A port needs one of node_uuid and node_ident.")
        if ident is not None:
            needs(call, IDENT_SINCE, "node_ident")
        _refuse_newer(call, values)

        def change(conn: sa.Connection) -> Reply:
            node = store.find_node(conn, ident or values["node_uuid"])
            # A node that is not there is told as such to all who may add ports to nodes of their own.
            owner, lessee = (node.owner, node.lessee) if node else (call.caller.project_id, None)
            place = self.target(owner, lessee)
            if node and not call.allows("baremetal:node:get", place):
                raise Invalid(f"Node {ident or values['node_uuid']} could not be found.")
            call.require("baremetal:port:create", place)
            if node is None:
                raise Invalid(f"Node {ident or values['node_uuid']} could not be found.")
            uuid = nics.create_port(self.ctx, conn, node, values)
            return Reply(self._shown(conn, call, uuid), headers=location(call, f"ports/{uuid}"))

        return await self.write(change)

    async def patch(self, call: Call) -> Reply:
        changes: Sequence[Change] = call.body
        patching.checked(changes, call.version.minor)
        _refuse_newer(
            call,
            {c.root: True for c in changes if c.value is not UNSET or c.op == "remove"},
        )

        def change(conn: sa.Connection) -> Reply:
            uuid = self._find_port(conn, call, "baremetal:port:update")
            nics.patch_port(self.ctx, conn, uuid, changes, minor=call.version.minor)
            return Reply(self._shown(conn, call, uuid))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        def change(conn: sa.Connection) -> Reply:
            uuid = self._find_port(conn, call, "baremetal:port:delete")
            nics.delete_port(self.ctx, conn, uuid)
            return Reply()

        return await self.write(change)


def _where(query: PortQuery) -> list[sa.ColumnElement[bool]]:
    ports, where = tables.ports, list[sa.ColumnElement[bool]]()
    if query.address is not None:
        mac = ids.normal_mac(query.address)
        if mac is None:
            raise Invalid(f"Expected a MAC address but received {query.address}.")
        where.append(ports.c.address == mac)
    if query.description_contains:
        where.append(ports.c.description.contains(query.description_contains, autoescape=True))
    if query.shard:
        where.append(_of_nodes(tables.nodes.c.shard.in_(query.shard)))
    if query.conductor_groups:
        where.append(_of_nodes(tables.nodes.c.conductor_group.in_(query.conductor_groups)))
    return where


def _of_nodes(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return tables.ports.c.node_uuid.in_(sa.select(tables.nodes.c.uuid).where(condition))


def _belongs_to(project: str) -> sa.ColumnElement[bool]:
    return sa.or_(tables.nodes.c.owner == project, tables.nodes.c.lessee == project)


def _refuse_newer(call: Call, values: dict[str, Any]) -> None:
    """406 for attributes that this microversion does not know."""
    minor = call.version.minor
    for name in values:
        field = PORT.by_name.get(name)
        if field is not None and not field.visible(minor):
            needs(call, field.since, name)
    link = values.get("local_link_connection")
    if isinstance(link, dict):
        if "network_type" in link:
            needs(call, NETWORK_TYPE_SINCE, "network_type")
        if "vtep-logical-switch" in link and not 90 <= minor <= 104:
            raise Fault("Request not acceptable: VTEP links.", kind=Kind.VERSION)
