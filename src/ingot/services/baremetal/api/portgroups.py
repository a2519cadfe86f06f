"""Port groups: create, list, show, patch, delete; also below a node."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid
from ingot.services.baremetal import tables
from ingot.services.baremetal.api.common import PageQuery, by, needs
from ingot.services.baremetal.api.parts import Parts
from ingot.services.baremetal.context import By
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import list_store as port_list_store
from ingot.services.baremetal.ports import (
    portgroups,
)
from ingot.services.baremetal.ports import (
    resources as port_resources,
)
from ingot.services.baremetal.ports import (
    schemas as port_schemas,
)

MODE_SINCE, SHARD_SINCE = 26, 106


class PortgroupQuery(PageQuery, kw_only=True):
    node: str | None = None
    address: str | None = None
    shard: list[str] | None = None
    conductor_groups: list[str] | None = None


class PortgroupListQuery(PortgroupQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Portgroups(Parts):
    """Handlers of /v1/portgroups and /v1/nodes/{id}/portgroups."""

    resource = port_resources.PORTGROUP
    rule = "portgroup"

    def check(self, call: Call) -> None:
        query: PortgroupQuery = call.query
        if query.shard:
            needs(call, SHARD_SINCE, "the filter shard")
        node = call.params.get("id") or query.node
        exclusive = (node, query.address, query.shard, query.conductor_groups)
        if sum(1 for given in exclusive if given) > 1:
            raise Invalid("Filtering by node, address, or shard simultaneously is not supported.")
        if query.address is not None:
            port_schemas.mac(query.address)

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        query: PortgroupQuery = call.query
        found = self.of_node(conn, call, query.node)
        nodes, groups = tables.nodes, tables.portgroups
        if query.address is not None:
            found.append(groups.c.address == port_schemas.mac(query.address))
        if query.shard:
            found.append(port_list_store.of_nodes(self.resource, nodes.c.shard.in_(query.shard)))
        if query.conductor_groups:
            conductors = nodes.c.conductor_group.in_(query.conductor_groups)
            found.append(port_list_store.of_nodes(self.resource, conductors))
        return found

    async def create(self, call: Call) -> Reply:
        body: port_schemas.PortgroupCreate = call.body
        values = port_schemas.struct_values(body)

        def change(conn: sa.Connection) -> Reply:
            node = self.node_for_new(conn, call, values["node_uuid"])
            if values.get("mode") or values.get("properties"):
                needs(call, MODE_SINCE, "mode or properties")
            uuid = portgroups.create_portgroup(self.ctx, conn, node, values, by(call))
            return self.made(conn, call, uuid)

        return await self.write(change)

    def check_patch(self, call: Call, changes: Sequence[PatchOperation]) -> None:
        if any(change.root in ("mode", "properties") for change in changes):
            needs(call, MODE_SINCE, "mode or properties")

    def change(
        self, conn: sa.Connection, call: Call, uuid: str, changes: Sequence[PatchOperation]
    ) -> None:
        portgroups.patch_portgroup(
            self.ctx,
            conn,
            uuid,
            changes,
            minor=call.version.minor,
            reachable=self.reachable(call),
        )

    def remove(self, conn: sa.Connection, uuid: str, by: By) -> None:
        portgroups.delete_portgroup(self.ctx, conn, uuid, by)
