"""A server's metadata: /servers/{id}/metadata."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.compute.api.common import (
    Body,
    Handlers,
    mapping,
    part,
)
from ingot.services.compute.api.ordering import metadata
from ingot.services.compute.types import Server


class Metadata(Handlers):
    """/servers/{id}/metadata."""

    async def index(self, call: Call) -> Reply:
        server = await self.server(call, "server-metadata:index")
        return Reply({"metadata": server.metadata})

    async def show(self, call: Call) -> Reply:
        server = await self.server(call, "server-metadata:show")
        key = call.params["key"]
        if key not in server.metadata:
            raise Missing("Metadata item was not found")
        return Reply({"meta": {key: server.metadata[key]}})

    async def merge(self, call: Call) -> Reply:
        """POST: what is given is added to what is there."""
        given = mapping(part(call.body, "metadata"), "metadata")
        return await self._write(call, "create", given, keep=True)

    async def replace(self, call: Call) -> Reply:
        """PUT: what is given is all there is."""
        given = mapping(part(call.body, "metadata"), "metadata")
        return await self._write(call, "update_all", given, keep=False)

    async def _write(self, call: Call, verb: str, given: Body, *, keep: bool) -> Reply:
        def change(conn: sa.Connection, server: Server) -> dict[str, str]:
            self.compute.unlocked(server, call.caller)
            most = self.compute.limits(conn, server.project_id)["metadata_items"]
            whole = metadata({**(server.metadata if keep else {}), **given}, most)
            self.compute.update(conn, server.uuid, metadata=whole)
            return whole

        whole = await self.change(call, f"server-metadata:{verb}", change, serializable=False)
        return Reply({"metadata": whole})

    async def set(self, call: Call) -> Reply:
        """PUT …/{key}."""
        given, key = mapping(part(call.body, "meta"), "meta"), call.params["key"]
        if set(given) != {key}:
            raise Invalid("Request body and URI mismatch")
        await self._write(call, "update", given, keep=True)
        return Reply({"meta": given})

    async def delete(self, call: Call) -> None:
        key = call.params["key"]

        def change(conn: sa.Connection, server: Server) -> None:
            self.compute.unlocked(server, call.caller)
            if key not in server.metadata:
                raise Missing("Metadata item was not found")
            left = {name: value for name, value in server.metadata.items() if name != key}
            self.compute.update(conn, server.uuid, metadata=left)

        await self.change(call, "server-metadata:delete", change, serializable=False)
