"""Ports: create, list, show, patch, delete; also below a node and below a port group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.baremetal import store, tables
from ingot.services.baremetal.api.common import PageQuery, by, needs
from ingot.services.baremetal.api.parts import Parts
from ingot.services.baremetal.api.portgroups import Portgroups
from ingot.services.baremetal.context import By
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import (
    editing as port_editing,
)
from ingot.services.baremetal.ports import list_store as port_list_store
from ingot.services.baremetal.ports import (
    resources as port_resources,
)
from ingot.services.baremetal.ports import (
    schemas as port_schemas,
)

IDENT_SINCE = 94
NETWORK_TYPE_SINCE = 64
SHARD_SINCE, GROUP_SINCE = 82, 24
#: Attributes of a patch that are refused (406) where they are too new; others pass, as upstream.
_PATCH_GATED = ("pxe_enabled", "local_link_connection", "portgroup_uuid", "physical_network")


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


class Ports(Parts):
    """Handlers of /v1/ports, /v1/nodes/{id}/ports and /v1/portgroups/{id}/ports."""

    resource = port_resources.PORT
    rule = "port"

    # -- lists -------------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        query: PortQuery = call.query
        in_node, in_group = _parents(call)
        for given, since, what in (
            (query.shard, SHARD_SINCE, "the filter shard"),
            (query.portgroup or in_group, GROUP_SINCE, "the filter portgroup"),
        ):
            if given:
                needs(call, since, what)
        node = in_node or query.node_uuid or query.node
        if query.node and not ids.is_uuid(query.node):
            needs(call, 5, "a node's name")
        if query.node_uuid and not ids.is_uuid(query.node_uuid):
            raise Invalid(f"Expected UUID for node_uuid: {query.node_uuid}")
        group = in_group or query.portgroup
        if sum(1 for given in (node, group, query.shard) if given) > 1:
            raise Fault("Operation not permitted.", kind=Kind.FORBIDDEN)
        if query.conductor_groups and (node or group or query.address):
            raise Invalid(
                "Filtering by conductor_groups cannot be combined with node_ident, "
                "portgroup_ident, or node address filters."
            )
        if query.address is not None:
            port_schemas.mac(query.address)

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        query: PortQuery = call.query
        ports, resource = tables.ports, self.resource
        _, in_group = _parents(call)
        if group := in_group or query.portgroup:
            seen = Portgroups(self.bm).find_by(conn, call, group, None)
            found = [ports.c.portgroup_uuid == seen.uuid]
        else:
            found = self.of_node(conn, call, query.node_uuid or query.node)
        if query.address is not None:
            found.append(ports.c.address == port_schemas.mac(query.address))
        if query.description_contains:
            text = query.description_contains
            found.append(ports.c.description.contains(text, autoescape=True))
        if query.shard:
            found.append(port_list_store.of_nodes(resource, tables.nodes.c.shard.in_(query.shard)))
        if query.conductor_groups:
            groups = tables.nodes.c.conductor_group.in_(query.conductor_groups)
            found.append(port_list_store.of_nodes(resource, groups))
        return found

    # -- writing -----------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        body: port_schemas.PortCreate = call.body
        values = port_schemas.struct_values(body)
        ident = values.get("node_ident")
        if (ident is None) == (values.get("node_uuid") is None):
            raise Invalid("A port needs one of node_uuid and node_ident.")
        if ident is not None:
            needs(call, IDENT_SINCE, "node_ident")

        named = ident or values["node_uuid"]

        def change(conn: sa.Connection) -> Reply:
            store.hold(conn, named)
            node = self.node_for_new(conn, call, named)
            _refuse_newer(call, values)
            uuid = port_editing.create_port(self.ctx, conn, node, values, by(call))
            return self.made(conn, call, uuid)

        # Its node stays, and addresses are unique by constraint; a port group is looked at with all its members.
        return await self.write(change, serializable=bool(values.get("portgroup_uuid")))

    def check_patch(self, call: Call, changes: Sequence[PatchOperation]) -> None:
        for name in (*_PATCH_GATED, "is_smartnic"):
            if _touched(changes, f"/{name}"):
                needs(call, self.resource.fields.by_name[name].since, name)
        if _touched(changes, "/local_link_connection/network_type"):
            needs(call, NETWORK_TYPE_SINCE, "network_type")

    def change(
        self, conn: sa.Connection, call: Call, uuid: str, changes: Sequence[PatchOperation]
    ) -> None:
        port_editing.patch_port(
            self.ctx,
            conn,
            uuid,
            changes,
            minor=call.version.minor,
            reachable=self.reachable(call),
        )

    def remove(self, conn: sa.Connection, uuid: str, by: By) -> None:
        port_editing.delete_port(self.ctx, conn, uuid, by)


def _parents(call: Call) -> tuple[str | None, str | None]:
    """The node and the port group of the path, at most one of them."""
    ident = call.params.get("id")
    below_group = "/portgroups/" in call.operation.path
    return (None, ident) if below_group else (ident, None)


def _touched(changes: Sequence[PatchOperation], path: str) -> bool:
    """Whether a patch sets exactly this, or removes it or something in it."""
    return any(
        change.path == path or (change.op == "remove" and change.path.startswith(path + "/"))
        for change in changes
    )


def _refuse_newer(call: Call, values: Mapping[str, Any]) -> None:
    """406 for attributes that this microversion does not know."""
    minor = call.version.minor
    for name in values:
        field = port_resources.PORT.fields.by_name.get(name)
        if field is not None and not field.visible(minor):
            needs(call, field.since, name)
    link: dict[str, Any] = values.get("local_link_connection") or {}
    if "network_type" in link:
        needs(call, NETWORK_TYPE_SINCE, "network_type")
    if "vtep-logical-switch" in link and not 90 <= minor <= 104:
        raise Fault("Request not acceptable: VTEP links.", kind=Kind.VERSION)
