"""A Bare Metal API over the real web framework, a real database and imaginary machines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import falcon.testing

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.hardware import build_registry
from ingot.kit.auth.policy import ANONYMOUS, Caller
from ingot.kit.db.database import Database
from ingot.kit.db.vault import Vault
from ingot.kit.faults import Unauthenticated
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import Clock, VirtualClock
from ingot.services.baremetal import Baremetal, BaremetalSettings
from ingot.services.baremetal.api import make_service
from ingot.services.baremetal.context import Images, Networks

LATEST = "1.115"
ROLES = {
    "admin": ["admin", "manager", "member", "reader"],
    "manager": ["manager", "member", "reader"],
    "member": ["member", "reader"],
    "reader": ["reader"],
    "service": ["service"],
}


def system(role: str = "admin") -> Caller:
    return Caller(user_id="u-system", system=True, roles=frozenset(ROLES[role]))


def project(role: str, name: str = "p1") -> Caller:
    return Caller(user_id=f"u-{name}", project_id=name, roles=frozenset(ROLES[role]))


@dataclass
class Reply:
    status: int
    json: Any
    headers: Any

    @property
    def error(self) -> str:
        """The text of an error, decoded twice."""
        return json.loads(self.json["error_message"])["faultstring"]


@dataclass
class World:
    """A client of the API with a caller that the test chooses."""

    db: Database
    baremetal: Baremetal
    app: WebApp
    client: falcon.testing.TestClient
    callers: list[Caller] = field(default_factory=lambda: [system()])
    #: Who there is by now, by id.
    people: dict[str | None, Caller] = field(default_factory=dict[str | None, Caller])

    def __post_init__(self) -> None:
        self.become(self.callers[0])

    def become(self, caller: Caller) -> None:
        self.callers[0] = self.people[caller.user_id] = caller

    async def still(self, caller: Caller) -> Caller:
        """Who somebody is by now, as an identity service tells it."""
        if caller.user_id not in self.people:
            raise Unauthenticated("This user is gone.")
        return self.people[caller.user_id]

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        version: str | None = LATEST,
        raw: bytes | None = None,
    ) -> Reply:
        headers = {"X-OpenStack-Ironic-API-Version": version} if version else {}
        content = raw if raw is not None else (json.dumps(body) if body is not None else None)
        result = await self.client.simulate_request(
            method, "/baremetal" + path, body=content, headers=headers
        )
        return Reply(result.status_code, result.json if result.text else None, result.headers)

    async def node(self, **values: Any) -> dict[str, Any]:
        reply = await self.ask("POST", "/v1/nodes", {"driver": "fake-hardware", **values})
        assert reply.status == 201, reply.json
        return reply.json

    async def force(self, ident: str, **columns: Any) -> None:
        """Put a node into a state that would take work to reach."""
        from ingot.services.baremetal import store

        def change(conn: Any) -> None:
            store.update_node(conn, store.get_node(conn, ident).uuid, **columns)

        await self.db.write(change)

    async def end_operations(self) -> None:
        """Let all live operations be over, as if their workflows had ended."""
        import sqlalchemy as sa

        from ingot.workflow.tables import operations

        await self.db.write(
            lambda conn: (
                conn.execute(sa.update(operations).values(ended_at="now", state="done")).rowcount
            )
        )


@asynccontextmanager
async def world(
    folder: Path,
    clock: Clock | None = None,
    settings: BaremetalSettings | None = None,
    caller: Caller | None = None,
    url: str | None = None,
    networks: Callable[[Database, Clock], Networks] | None = None,
    images: Callable[[Database, Clock], Images] | None = None,
) -> AsyncIterator[World]:
    time = clock or VirtualClock()
    db = Database(url) if url else Database.at(folder / "test.db")
    await db.create_all()
    registry = build_registry(DriverContext(time))
    baremetal = Baremetal(
        db,
        time,
        Vault.at(folder / "keys"),
        registry,
        networks(db, time) if networks else None,
        host="host-1",
        settings=settings,
        images=images(db, time) if images else None,
    )
    callers = [caller or system()]

    async def authenticate(header: Callable[[str], str | None]) -> Caller:
        return callers[0]

    app = WebApp([make_service(baremetal, authenticate)])
    made = World(db, baremetal, app, falcon.testing.TestClient(app.asgi), callers)
    try:
        async with falcon.testing.ASGIConductor(app.asgi) as conductor:
            made.client = conductor  # type: ignore[assignment]
            yield made
    finally:
        await registry.aclose()
        await db.close()


__all__ = ["ANONYMOUS", "LATEST", "World", "project", "system", "world"]
