"""Three real `ingot serve` processes on one PostgreSQL behind a real HAProxy, and a client that retries 503.

HAProxy runs the configuration of the how-to, with the addresses of the test in it. The machines are simulated,
live in the test's process, and know only HAProxy's address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.lab.sim import Fleet
from ingot.workflow.tables import operations
from tests.flows.site import free_port
from tests.site.server import clean_environment

ROOT = Path(__file__).parents[2]
INGOT = Path(sys.executable).with_name("ingot")
EXAMPLE = ROOT / "docs" / "how-to" / "haproxy.cfg"
NAMES = ("c1", "c2", "c3")
#: What a client may see while a controller or the database goes: it asks again.
AGAIN = (502, 503, 504)


@dataclass
class Controller:
    """One process; `start` again after its end."""

    name: str
    folder: Path
    settings: dict[str, Any]
    api: int = field(default_factory=free_port)
    boot: int = field(default_factory=free_port)
    child: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        file = self.folder / f"{self.name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def write(self, state: Path) -> Path:
        """Its settings file. state: its folder."""
        tree = json.loads(json.dumps(self.settings))
        tree["provisioning"]["listen"] = f"127.0.0.1:{self.boot}"
        head = {"state": str(state), "host": self.name}
        head |= {"listen": f"127.0.0.1:{self.api}", **tree.pop("")}
        lines = [f"{key} = {json.dumps(value)}" for key, value in head.items()]
        for section, values in tree.items():
            lines += [f"[{section}]", *(f"{k} = {json.dumps(v)}" for k, v in values.items())]
        file = state.with_suffix(".toml")
        file.write_text("\n".join(lines) + "\n")
        return file

    async def start(self, deadline: float = 120) -> None:
        file = self.write(self.folder / self.name)
        self.child = await asyncio.create_subprocess_exec(
            str(INGOT),
            "serve",
            "--config",
            str(file),
            cwd=self.folder,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / f"{self.name}.log").open("ab"),
        )
        assert self.child.stdout is not None
        line = await asyncio.wait_for(self.child.stdout.readline(), deadline)
        assert line.startswith(b"ingot is ready"), (line, self.log[-2000:])

    def send(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    async def ended(self, deadline: float = 60) -> int:
        assert self.child is not None
        return await asyncio.wait_for(self.child.wait(), deadline)

    async def close(self) -> None:
        if self.child is not None and self.child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.child.kill()
            await self.child.wait()


@dataclass
class Client:
    """Asks at HAProxy as an administrator. `answers` counts every status that was seen, retried ones too."""

    base: str
    http: aiohttp.ClientSession
    patience: float = 90
    answers: Counter[int] = field(default_factory=Counter[int])
    said: list[str] = field(default_factory=list[str])
    _token: str = ""

    async def ask(self, method: str, path: str, body: Any = None, *, repeated: str = "") -> Any:
        """The answer's JSON. repeated: words of a refusal that tell that an earlier try was done already."""
        ends, tries = time.monotonic() + self.patience, 0
        while True:
            tries += 1
            try:
                status, text = await self._once(method, f"/baremetal{path}", body)
            except (aiohttp.ClientError, TimeoutError) as error:
                status, text = 503, repr(error)  # cut off: as good as not answered
            if status < 300:
                return json.loads(text) if text else None
            if tries > 1 and repeated and repeated in text:
                return None
            assert status in AGAIN, f"{method} {path}: {status} {text}"
            assert time.monotonic() < ends, (
                f"{method} {path}: {status} for {self.patience:g} s: {text}"
            )
            await asyncio.sleep(0.3)

    async def _once(self, method: str, path: str, body: Any) -> tuple[int, str]:
        if not self._token and (problem := await self._login()):
            return problem
        headers = {"X-Auth-Token": self._token, "X-OpenStack-Ironic-API-Version": "1.90"}
        url = self.base + path
        async with self.http.request(method, url, json=body, headers=headers) as reply:
            return self._seen(method, path, reply.status, await reply.text())

    async def _login(self) -> tuple[int, str] | None:
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": "site-secret"}
        identity = {"methods": ["password"], "password": {"user": user}}
        scope = {"system": {"all": True}}
        body = {"auth": {"identity": identity, "scope": scope}}
        async with self.http.post(f"{self.base}/identity/v3/auth/tokens", json=body) as reply:
            status, text = self._seen("POST", "/tokens", reply.status, await reply.text())
            self._token = reply.headers.get("X-Subject-Token", "")
            return None if status == 201 else (status, text)

    def _seen(self, method: str, path: str, status: int, text: str) -> tuple[int, str]:
        self.answers[status] += 1
        if status >= 500:
            self.said.append(f"{method} {path}: {status} {text[:300]}")
        return status, text

    async def nodes(self) -> list[dict[str, Any]]:
        fields = "uuid,name,provision_state,reservation,last_error,conductor"
        return (await self.ask("GET", f"/v1/nodes?fields={fields}&limit=1000"))["nodes"]

    async def all_in(self, state: str, deadline: float) -> None:
        """Wait until every node rests in a state."""
        ends = time.monotonic() + deadline
        while True:
            nodes = await self.nodes()
            left = [n for n in nodes if n["provision_state"] != state or n["reservation"]]
            if not left:
                return
            failed = [n for n in left if n["provision_state"].endswith(("failed", "error"))]
            assert not failed, failed[:2]
            assert time.monotonic() < ends, f"{len(left)} are not {state}: {left[:3]}"
            await asyncio.sleep(0.3)

    async def verb(self, node_uuid: str, target: str) -> None:
        path, body = f"/v1/nodes/{node_uuid}/states/provision", {"target": target}
        await self.ask("PUT", path, body, repeated="state")


@dataclass
class Site:
    """The whole site."""

    folder: Path
    controllers: dict[str, Controller]
    client: Client
    db: Database
    boots: str

    async def owned(self, name: str) -> int:
        """Live operations in the hands of a controller's process."""
        mine = sa.and_(operations.c.ended_at.is_(None), operations.c.owner.startswith(f"{name}:"))
        query = sa.select(sa.func.count()).where(mine)
        return await self.db.read(lambda conn: conn.execute(query).scalar_one())

    async def until_owned(self, name: str, wanted: bool, deadline: float = 120) -> float:
        """Wait until a controller has work, or none; seconds waited."""
        began = time.monotonic()
        while bool(await self.owned(name)) != wanted:
            assert time.monotonic() - began < deadline, f"{name}: {await self.owned(name)}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def enrol(self, fleet: Fleet, image: dict[str, str]) -> list[str]:
        """All machines as available nodes that know their image."""
        slots = asyncio.Semaphore(4)

        async def one(node: dict[str, Any]) -> str:
            ports = node.pop("ports")
            more = {"network_interface": "noop", "automated_clean": False, "instance_info": image}
            async with slots:
                # Known before it is asked for: an earlier try may have been done without our hearing of it.
                own, done = str(uuid.uuid4()), "already exists"
                body = {**node, **more, "uuid": own}
                await self.client.ask("POST", "/v1/nodes", body, repeated=done)
                for port in ports:
                    body = {**port, "node_uuid": own}
                    await self.client.ask("POST", "/v1/ports", body, repeated=done)
                await self.client.verb(own, "manage")
            return own

        uuids = await asyncio.gather(*(one(node) for node in fleet.enrolment()["nodes"]))
        await self.client.all_in("manageable", 300)
        for one_uuid in uuids:
            await self.client.verb(one_uuid, "provide")
        await self.client.all_in("available", 300)
        return uuids


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def haproxy(
    folder: Path, fronts: dict[str, int], backs: dict[str, int]
) -> AsyncIterator[None]:
    """The how-to's HAProxy. fronts: section -> port; backs: "c1 api" -> port."""
    lines: list[str] = []
    section, text = "", EXAMPLE.read_text()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["listen"]:
            section = words[1]
        if words[:1] == ["bind"]:
            line = f"    bind 127.0.0.1:{fronts[section]}"
        if words[:1] == ["server"]:
            line = f"    server {words[1]} 127.0.0.1:{backs[f'{words[1]} {section}']}"
        lines.append(line)
    file = folder / "haproxy.cfg"
    file.write_text("\n".join(lines) + "\n")
    command = ["haproxy", "-q", "-db", "-f", str(file)]
    child = await asyncio.create_subprocess_exec(*command, cwd=folder)
    try:
        async with asyncio.timeout(60):
            while not await _listens(fronts["api"]):
                assert child.returncode is None, f"HAProxy ended: {child.returncode}"
                await asyncio.sleep(0.05)
        yield
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@contextlib.asynccontextmanager
async def site(
    folder: Path, database: str, more: dict[str, dict[str, Any]] | None = None, **cluster: float
) -> AsyncIterator[Site]:
    """Three controllers behind HAProxy; all end with the context.

    more: values of other sections, "" for what is in none. cluster: values of that section.
    """
    fronts = {"api": free_port(), "provisioning": free_port()}
    boots = f"http://127.0.0.1:{fronts['provisioning']}"
    for name in ("kernel", "ramdisk"):
        (folder / name).write_bytes(name.encode())
    (folder / "keys").mkdir(mode=0o700)
    settings: dict[str, Any] = {
        "": {"database": database, "roles": ["api", "conductor"]},
        "provisioning": {"url": boots, "dhcp": False},
        "ramdisk": {"kernel": str(folder / "kernel"), "initramfs": str(folder / "ramdisk")},
        "baremetal": {"power_sync_seconds": 3600},
        "cluster": {"keys": str(folder / "keys"), "images": str(folder / "images"), **cluster},
        "deadlines": {
            "agent": 300,
            "inspection": 300,
            "write": 300,
            "power": 120,
            "agent_silence": 120,
            "poll": 0.1,
        },
        "identity": {"password_cost": 10, "admin_password": "site-secret"},
    }
    for section, values in (more or {}).items():
        settings[section] = {**settings.get(section, {}), **values}
    controllers = {name: Controller(name, folder, settings) for name in NAMES}
    backs = {f"{c.name} api": c.api for c in controllers.values()}
    backs |= {f"{c.name} provisioning": c.boot for c in controllers.values()}
    db = Database(database)
    timeout = aiohttp.ClientTimeout(total=30)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        for controller in controllers.values():
            stack.push_async_callback(controller.close)
        first, *others = controllers.values()
        await first.start()
        await asyncio.gather(*(other.start() for other in others))
        await stack.enter_async_context(haproxy(folder, fronts, backs))
        client = Client(f"http://127.0.0.1:{fronts['api']}", http)
        yield Site(folder, controllers, client, db, boots)
