"""Real `ingot serve` processes on one database, with imaginary machines, and clients that talk to all of them.

Answers that never came count as unknown (status 0): what they asked for may have been done or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests import postgres
from tests.flows.controllers import Controller
from tests.flows.site import free_port
from tests.races.crowd import Disturb

#: So long may a request take; those that a fault caught are given up sooner by the server.
PATIENCE = 30
PASSWORD = "site-secret"
VERSIONS = {"X-OpenStack-Ironic-API-Version": "1.115", "X-OpenStack-Nova-API-Version": "2.90"}
#: Who did not answer, or said that he could not know.
UNKNOWN = (0, 502, 503, 504)


@dataclass
class Said:
    """An answer."""

    status: int
    json: Any

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        return self.status in UNKNOWN


@dataclass
class Cloud:
    """The processes, and a client that asks each in turn. `wrong` holds every answer of 500.

    project, user: of the token; the project is empty for one of the system.
    """

    controllers: list[Controller]
    http: aiohttp.ClientSession
    project: str = ""
    user: str = ""
    statuses: Counter[int] = field(default_factory=Counter[int])
    wrong: list[str] = field(default_factory=list[str])
    token: str = ""
    _turn: Iterator[int] = field(default_factory=itertools.count)

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """Ask the next process. path: from the service's prefix on, such as /baremetal/v1/nodes.

        body: bytes go as they are, all else as JSON.
        """
        chosen = self.controllers[next(self._turn) % len(self.controllers)]
        headers = {"X-Auth-Token": self.token, **VERSIONS, **(headers or {})}
        sent: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            sent = {"data": body}
            headers["Content-Type"] = "application/octet-stream"
        url = f"http://127.0.0.1:{chosen.api}{path}"
        try:
            async with self.http.request(method, url, headers=headers, **sent) as reply:
                text = await reply.text()
                said = Said(reply.status, _read(text))
        except (aiohttp.ClientError, TimeoutError):
            said, text = Said(0, None), ""
        self.statuses[said.status] += 1
        if said.status == 500:
            self.wrong.append(f"{chosen.name} {method} {path}: {text[:300]}")
        return said

    async def sure(self, method: str, path: str, body: Any = None, within: float = 60) -> Said:
        """Ask until somebody answers; for questions, and for what may be asked twice."""
        async with asyncio.timeout(within):
            while (said := await self.ask(method, path, body)).unknown:
                await asyncio.sleep(0.2)
        return said

    async def log_in(self, project: str = "", name: str = "admin") -> None:
        """As the administrator, or another with the same password: of the system, or of a project by its name."""
        domain = {"id": "default"}
        user = {"name": name, "domain": domain, "password": PASSWORD}
        identity = {"methods": ["password"], "password": {"user": user}}
        place = {"project": {"name": project, "domain": domain}}
        scope = place if project else {"system": {"all": True}}
        body = {"auth": {"identity": identity, "scope": scope}}
        url = f"http://127.0.0.1:{self.controllers[0].api}/identity/v3/auth/tokens"
        async with self.http.post(url, json=body) as reply:
            assert reply.status == 201, await reply.text()
            self.token = reply.headers["X-Subject-Token"]
            token = (await reply.json())["token"]
            self.project = token.get("project", {}).get("id", "")
            self.user = token["user"]["id"]

    async def enter(self, project: str, name: str = "admin") -> Cloud:
        """The same processes, asked with a token of a project."""
        other = Cloud(self.controllers, self.http)
        await other.log_in(project, name)
        return other

    async def upload(self, image: str, data: bytes) -> None:
        headers = {"X-Auth-Token": self.token, "Content-Type": "application/octet-stream"}
        url = f"http://127.0.0.1:{self.controllers[0].api}/image/v2/images/{image}/file"
        async with self.http.put(url, data=data, headers=headers) as reply:
            assert reply.status == 204, await reply.text()

    async def kill(self, number: int) -> None:
        """As `kill -9`; started again at once."""
        victim = self.controllers[number]
        victim.send(signal.SIGKILL)
        await victim.ended()
        await victim.start()


def _read(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


@contextlib.asynccontextmanager
async def cloud(folder: Path, database: str | None, processes: int) -> AsyncIterator[Cloud]:
    """So many processes on a database of PostgreSQL, or one on a SQLite file (database: None)."""
    (folder / "keys").mkdir(mode=0o700)
    head: dict[str, Any] = {"roles": ["api", "conductor"]}
    settings: dict[str, Any] = {
        "": head,
        "provisioning": {"url": f"http://127.0.0.1:{free_port()}", "dhcp": False},
        "baremetal": {"power_sync_seconds": 3600},
        "identity": {"password_cost": 10, "admin_password": PASSWORD},
        "log": {"level": "warning"},
    }
    if database is not None:
        head["database"] = database
        settings["cluster"] = {"keys": str(folder / "keys"), "images": str(folder / "images")}
    assert database is not None or processes == 1
    controllers = [Controller(f"c{n}", folder, settings) for n in range(processes)]
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with contextlib.AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        http = await stack.enter_async_context(session)
        for controller in controllers:
            stack.push_async_callback(controller.close)
        first, *others = controllers
        await first.start()
        await asyncio.gather(*(other.start() for other in others))
        made = Cloud(controllers, http)
        await made.log_in()
        yield made


async def again(server: postgres.Server, how: str) -> None:
    """Stop the database so, and start it."""
    await asyncio.to_thread(server.stop, how)
    await asyncio.sleep(1)
    await asyncio.to_thread(server.start)


def restart_and_kill(here: Cloud, server: postgres.Server, how: str = "fast") -> Disturb:
    """The database is started again, and one of the processes is killed."""

    async def disturb() -> None:
        await again(server, how)
        await asyncio.sleep(2)
        await here.kill(1)

    return disturb


def lose_power_twice(here: Cloud, server: postgres.Server) -> Disturb:
    """The database loses its power, twice, and then one of the processes is killed."""

    async def disturb() -> None:
        for _ in range(2):
            await again(server, "immediate")
            await asyncio.sleep(3)
        await here.kill(2)

    return disturb
