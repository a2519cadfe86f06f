"""Chassis: create, list, show, patch, delete, and the nodes in one. They belong to the system alone."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.services.baremetal.api.common import PageQuery, by, spelt
from ingot.services.baremetal.api.nodes import Nodes
from ingot.services.baremetal.api.parts import Listed
from ingot.services.baremetal.nodes import chassis, patching, schemas
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import (
    resources as port_resources,
)
from ingot.services.baremetal.ports import (
    schemas as port_schemas,
)


class ChassisQuery(PageQuery, kw_only=True):
    pass


class ChassisListQuery(ChassisQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Chassis(Listed):
    """Handlers of /v1/chassis."""

    resource = port_resources.CHASSIS
    rule = "chassis"

    def _uuid(self, call: Call) -> str:
        return schemas.uuid("chassis_uuid", spelt(call.params["id"], call.version.minor)[0])

    async def show(self, call: Call) -> Reply:
        uuid = self._uuid(call)
        wanted = None if call.query.fields is None else self.fields(call, None)
        return await self.read(lambda conn: Reply(self.shown(conn, call, uuid, wanted)))

    async def create(self, call: Call) -> Reply:
        values = port_schemas.struct_values(call.body)

        def change(conn: sa.Connection) -> Reply:
            uuid = chassis.create_chassis(self.ctx, conn, values, by(call))
            return self.made(conn, call, uuid)

        return await self.write(change)

    async def patch(self, call: Call) -> Reply:
        uuid = self._uuid(call)
        changes: Sequence[PatchOperation] = call.body
        patching.checked(changes, call.version.minor)

        def change(conn: sa.Connection) -> Reply:
            chassis.patch_chassis(self.ctx, conn, uuid, changes)
            return Reply(self.shown(conn, call, uuid))

        return await self.write(change)

    async def delete(self, call: Call) -> Reply:
        uuid = self._uuid(call)

        def change(conn: sa.Connection) -> Reply:
            chassis.delete_chassis(conn, uuid, by(call))
            return Reply()

        return await self.write(change)

    # -- nodes in it -------------------------------------------------------------------------

    async def nodes(self, call: Call) -> Reply:
        call.query.chassis_uuid = self._uuid(call)
        return await Nodes(self.bm).list(call)

    async def nodes_whole(self, call: Call) -> Reply:
        call.query.chassis_uuid = self._uuid(call)
        return await Nodes(self.bm).list_whole(call)
