"""A server's tags: /servers/{id}/tags."""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.compute.api.common import (
    Handlers,
    part,
)
from ingot.services.compute.api.ordering import tags
from ingot.services.compute.types import Server


class Tags(Handlers):
    """/servers/{id}/tags (2.26)."""

    async def index(self, call: Call) -> Reply:
        server = await self.server(call, "os-server-tags:index")
        return Reply({"tags": list(server.tags)})

    async def show(self, call: Call) -> Reply:
        server = await self.server(call, "os-server-tags:show")
        self._has(server, call.params["tag"])
        return Reply(status=204)

    @staticmethod
    def _has(server: Server, tag: str) -> None:
        if tag not in server.tags:
            raise Missing(f"Server {server.uuid} has no tag '{tag}'")

    async def replace(self, call: Call) -> Reply:
        given = part(call.body, "tags")
        if not isinstance(given, list) or not all(
            isinstance(tag, str) for tag in cast("list[Any]", given)
        ):
            raise Invalid("Invalid input for field/attribute tags. It is a list of texts.")
        wanted = tags(cast("list[str]", given))
        await self.change(
            call,
            "os-server-tags:update_all",
            lambda conn, server: self.compute.update(conn, server.uuid, tags=wanted),
            serializable=False,
        )
        return Reply({"tags": list(wanted)})

    async def add(self, call: Call) -> Reply:
        tag = call.params["tag"]

        def change(conn: sa.Connection, server: Server) -> bool:
            if tag in server.tags:
                return False
            self.compute.update(conn, server.uuid, tags=tags([*server.tags, tag]))
            return True

        new = await self.change(call, "os-server-tags:update", change, serializable=False)
        where = {"Location": call.url} if new else {}
        return Reply(status=201 if new else 204, headers=where)

    async def delete(self, call: Call) -> None:
        tag = call.params["tag"]

        def change(conn: sa.Connection, server: Server) -> None:
            self._has(server, tag)
            left = tuple(one for one in server.tags if one != tag)
            self.compute.update(conn, server.uuid, tags=left)

        await self.change(call, "os-server-tags:delete", change, serializable=False)

    async def delete_all(self, call: Call) -> None:
        await self.change(
            call,
            "os-server-tags:delete_all",
            lambda conn, server: self.compute.update(conn, server.uuid, tags=()),
            serializable=False,
        )
