"""The Bare Metal API as a crowd meets it: one database, and the controllers at it in one process."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from ingot.services.baremetal import store
from tests.baremetal.api_support import Reply, World
from tests.races.crowd import Answers, Ask, crowd


@dataclass
class Site:
    """One database and the controllers at it, in one process; each has its own connections."""

    worlds: list[World]
    _turn: Any = field(default_factory=itertools.count)

    @property
    def one(self) -> World:
        return self.worlds[0]

    def ask(self, method: str, path: str, body: Any = None) -> Ask:
        """An ask at the next controller."""
        chosen = self.worlds[next(self._turn) % len(self.worlds)]

        async def send() -> Reply:
            return await chosen.ask(method, path, body)

        return send

    def patch(self, path: str, *changes: tuple[str, str, Any]) -> Ask:
        body = [
            {"op": op, "path": where, **({} if op == "remove" else {"value": value})}
            for op, where, value in changes
        ]
        return self.ask("PATCH", path, body)

    async def get(self, path: str) -> Any:
        reply = await self.one.ask("GET", path)
        assert reply.status == 200, reply.json
        return reply.json

    async def secrets(self, uuid: str) -> dict[str, Any]:
        """driver_info as drivers get it."""
        ctx = self.one.baremetal.ctx
        return await self.one.db.read(
            lambda conn: store.driver_info(conn, ctx.vault, store.get_node(conn, uuid))
        )

    async def rush(self, asks: list[tuple[Any, Ask]]) -> Answers:
        return await crowd(asks)
