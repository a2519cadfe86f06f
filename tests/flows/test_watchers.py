"""Many watchers of the event stream over real sockets: all get all, in order and soon; who leaves is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import SystemClock
from ingot.kit.tasks.events import EventHub
from ingot.workflow.api import Timeline
from tests.flows.site import free_port, listening

pytestmark = pytest.mark.anyio

WATCHERS = 40
SUBJECTS = 25
EACH = 20


class Stage:
    """The timeline's service on a port."""

    def __init__(self, db: Database, hub: EventHub, port: int) -> None:
        self.db, self.hub, self.port = db, hub, port
        self._writers: list[asyncio.StreamWriter] = []

    async def happen(self, subject: str, number: int) -> None:
        def write(conn: Any) -> None:
            events.record(conn, subject, "note", f"{number}")

        await self.db.write(write)

    async def ask(self, query: str = "", who: str = "operator") -> asyncio.StreamReader:
        """A stream that was asked for."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        head = f"Host: x\r\nX-Auth-Token: {who}\r\n\r\n"
        writer.write(f"GET /timeline/v1/stream{query} HTTP/1.1\r\n{head}".encode())
        self._writers.append(writer)
        return reader

    async def watch(self, query: str = "", who: str = "operator") -> asyncio.StreamReader:
        """A stream that has begun."""
        reader = await self.ask(query, who)
        await reader.readuntil(b"ingot timeline\n\n")
        return reader

    async def leave(self) -> None:
        """The newest watcher goes away."""
        writer = self._writers.pop()
        writer.close()
        await writer.wait_closed()

    async def until_watched_by(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.hub.watchers != count:
                await asyncio.sleep(0.02)


async def people(header: Callable[[str], str | None]) -> Caller:
    who = header("X-Auth-Token")
    if who != "operator":
        return Caller(user_id="u", project_id=who, roles=frozenset({"member", "reader"}))
    return Caller(user_id="operator", system=True, roles=frozenset({"admin", "member", "reader"}))


@asynccontextmanager
async def stage(folder: Path, most: int = 200) -> AsyncIterator[Stage]:
    db = Database.at(folder / "ingot.db")
    await db.create_all()
    hub = EventHub(db, SystemClock())
    await hub.open()
    port = free_port()
    app = WebApp([Timeline(db, hub, most).service(people)])
    async with listening(app.asgi, port):
        try:
            yield Stage(db, hub, port)
        finally:
            await hub.close()
    await db.close()


async def take(reader: asyncio.StreamReader, count: int) -> list[tuple[dict[str, Any], float]]:
    """So many events with the seconds from each one's own time to its arrival."""
    found: list[tuple[dict[str, Any], float]] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            line = await reader.readline()
            assert line, f"the stream ended after {len(found)} of {count} events"
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                at = datetime.fromisoformat(event["at"])
                found.append((event, (SystemClock().now() - at).total_seconds()))
    return found


async def test_all_watchers_get_all_events_soon(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        readers = [await here.watch() for _ in range(WATCHERS)]
        one = await here.watch("?subject=node:7")
        taking = [asyncio.ensure_future(take(reader, SUBJECTS * EACH)) for reader in readers]
        mine = asyncio.ensure_future(take(one, EACH))
        for number in range(EACH):
            await asyncio.gather(*(here.happen(f"node:{n}", number) for n in range(SUBJECTS)))
        told = await asyncio.gather(*taking)
        ids = [event["id"] for event, _ in told[0]]
        assert ids == sorted(set(ids)) and len(ids) == SUBJECTS * EACH
        assert all([event["id"] for event, _ in each] == ids for each in told)
        assert [event["title"] for event, _ in await mine] == [str(n) for n in range(EACH)]
        delays = sorted(delay for each in told for _, delay in each)
        # Some 20,000 deliveries; a quiet machine needs 60 ms for the slowest twentieth.
        assert delays[int(len(delays) * 0.95)] < 5, f"p95 {delays[int(len(delays) * 0.95)]:.2f} s"


async def test_who_leaves_is_forgotten(tmp_path: Path) -> None:
    async with stage(tmp_path) as here:
        stays = await here.watch()
        await here.watch()
        await here.until_watched_by(2)
        await here.leave()
        # It is found out when something is to be sent to it.
        async with asyncio.timeout(60):
            while here.hub.watchers == 2:
                await here.happen("node:1", 1)
                await asyncio.sleep(0.05)
        assert here.hub.watchers == 1
        assert (await take(stays, 1))[0][0]["title"] == "1"


async def test_a_project_has_so_many_streams_and_hinders_no_other(tmp_path: Path) -> None:
    async with stage(tmp_path, most=3) as here:
        for _ in range(3):
            await here.watch(who="p1")
        refused = await here.ask(who="p1")
        head = await refused.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429") and b"retry-after:" in head.lower()
        await here.leave()
        for who in ("p2", "operator"):
            await here.watch(who=who)
            await here.leave()
        await here.leave()  # one of p1's
        async with asyncio.timeout(60):
            while here.hub.watchers != 2:
                await here.happen("node:1", 1)
                await asyncio.sleep(0.05)
        await here.watch(who="p1")
