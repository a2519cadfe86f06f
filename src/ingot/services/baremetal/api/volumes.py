"""Volume connectors and targets: create, list, show, patch, delete; also below a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers, PageQuery, by
from ingot.services.baremetal.api.parts import Parts
from ingot.services.baremetal.context import By
from ingot.services.baremetal.nodes import schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import (
    resources as port_resources,
)
from ingot.services.baremetal.ports import (
    schemas as port_schemas,
)
from ingot.services.baremetal.ports import (
    volumes,
)

_REDACTED = {
    "redacted_contents": "** Value redacted: Requires permission "
    "baremetal:volume:view_target_properties access. Permission denied. **"
}


class VolumeListQuery(PageQuery, kw_only=True):
    node: str | None = None
    fields: list[str] | None = None
    detail: str | None = None


class Volume(Handlers):
    """GET /v1/volume and /v1/nodes/{id}/volume: where connectors and targets are."""

    async def show(self, call: Call) -> Reply:
        call.require("baremetal:volume:get", self.target())
        ident = call.params.get("id")
        root = f"nodes/{ident}/volume" if ident else "volume"
        return Reply(
            {
                "links": links.links(call.base_url, f"{root}/"),
                "connectors": links.links(call.base_url, f"{root}/connectors"),
                "targets": links.links(call.base_url, f"{root}/targets"),
            }
        )


class Volumes(Parts):
    """What connectors and targets have in common."""

    rule = "volume"

    def wanted(self, call: Call) -> tuple[str, ...] | None:
        query: VolumeListQuery = call.query
        detail = query.detail is not None and schemas.flag("detail", query.detail)
        if query.fields and detail:
            raise Invalid("Can't fetch a subset of fields with 'detail' set")
        return self.fields(call, detail)

    def where(self, conn: sa.Connection, call: Call) -> list[sa.ColumnElement[bool]]:
        return self.of_node(conn, call, call.query.node)

    async def create(self, call: Call) -> Reply:
        values = port_schemas.struct_values(call.body)

        def change(conn: sa.Connection) -> Reply:
            node = self.node_for_new(conn, call, values["node_uuid"])
            uuid = volumes.create(self.ctx, conn, self.resource, node, values, by(call))
            return self.made(conn, call, uuid)

        return await self.write(change)

    def change(
        self, conn: sa.Connection, call: Call, uuid: str, changes: Sequence[PatchOperation]
    ) -> None:
        reachable = self.reachable(call)
        volumes.patch(self.ctx, conn, self.resource, uuid, changes, reachable=reachable)

    def remove(self, conn: sa.Connection, uuid: str, by: By) -> None:
        volumes.delete(self.ctx, conn, self.resource, uuid, by)


class Connectors(Volumes):
    """Handlers of /v1/volume/connectors and /v1/nodes/{id}/volume/connectors."""

    resource = port_resources.CONNECTOR


class Targets(Volumes):
    """Handlers of /v1/volume/targets and /v1/nodes/{id}/volume/targets."""

    resource = port_resources.TARGET

    def read_rows(
        self,
        conn: sa.Connection,
        call: Call,
        wanted: tuple[str, ...] | None,
        where: Sequence[sa.ColumnElement[bool]],
        page: Any = None,
        visible: Sequence[sa.ColumnElement[bool]] = (),
    ) -> list[dict[str, Any]]:
        """How to reach a volume is nothing for every reader."""
        found = super().read_rows(conn, call, wanted, where, page, visible)
        if not call.allows("baremetal:volume:view_target_properties", self.target()):
            for one in found:
                if "properties" in one:
                    one["properties"] = _REDACTED
        return found
