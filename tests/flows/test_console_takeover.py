"""Consoles of three controllers: one that holds them is killed, another one is told to stop; both hand them on.

The controllers are real processes behind HAProxy; the machines' controllers are simulated, and speak real SOL.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from ingot.lab.sim import Fleet, FleetOptions
from tests import postgres
from tests.flows.controllers import AGAIN, Controller, Site, site
from tests.flows.site import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SECONDS = 90
PORTS = 24
SERIAL = {"protocol": "serial", "type": "serial"}


@pytest.fixture
def database(postgres_server: postgres.Server) -> Iterator[str]:
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@dataclass
class Tenant:
    """Asks at HAProxy for servers, as a member of a project."""

    here: Site
    _headers: dict[str, str] = field(default_factory=dict[str, str])

    async def log_in(self) -> None:
        domain = {"id": "default"}
        user = {"name": "admin", "domain": domain, "password": "site-secret"}
        scope = {"project": {"name": "admin", "domain": domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        body = {"auth": {"identity": identity, "scope": scope}}
        url = f"{self.here.client.base}/identity/v3/auth/tokens"
        async with self.here.client.http.post(url, json=body) as reply:
            assert reply.status == 201, await reply.text()
            self._headers = {"X-Auth-Token": reply.headers["X-Subject-Token"]}

    async def ask(self, method: str, path: str, body: Any = None, version: str = "2.90") -> Any:
        headers = {**self._headers, "OpenStack-API-Version": f"compute {version}"}
        ends = time.monotonic() + SECONDS
        while True:
            try:
                async with self.here.client.http.request(
                    method, self.here.client.base + path, json=body, headers=headers
                ) as reply:
                    if reply.status not in AGAIN:
                        assert reply.status < 300, f"{method} {path}: {await reply.text()}"
                        is_json = "json" in reply.headers.get("Content-Type", "")
                        return await reply.json() if is_json else None
            except aiohttp.ClientError:
                pass  # cut off by the controller's death
            assert time.monotonic() < ends, f"{method} {path}: nobody answers"
            await asyncio.sleep(0.3)

    async def image(self) -> str:
        body = {"name": "debian", "disk_format": "raw", "container_format": "bare"}
        made = await self.ask("POST", "/image/v2/images", body)
        url = f"{self.here.client.base}/image/v2/images/{made['id']}/file"
        headers = {**self._headers, "Content-Type": "application/octet-stream"}
        data = b"\0" * 65536 + b"ingot" * 1000
        async with self.here.client.http.put(url, data=data, headers=headers) as reply:
            assert reply.status == 204, await reply.text()
        return str(made["id"])

    async def server(self) -> str:
        """Order one, and wait until it is active."""
        flavor = {"name": "bm", "ram": 1024, "vcpus": 1, "disk": 10}
        made = (await self.ask("POST", "/compute/v2.1/flavors", {"flavor": flavor}))["flavor"]["id"]
        specs = {"extra_specs": {"resources:CUSTOM_BAREMETAL": "1"}}
        await self.ask("POST", f"/compute/v2.1/flavors/{made}/os-extra_specs", specs)
        order = {"name": "one", "flavorRef": made, "imageRef": await self.image()}
        body = {"server": {**order, "networks": "none"}}
        uuid = (await self.ask("POST", "/compute/v2.1/servers", body))["server"]["id"]
        ends = time.monotonic() + SECONDS
        while True:
            found = (await self.ask("GET", f"/compute/v2.1/servers/{uuid}"))["server"]
            if found["status"] == "ACTIVE":
                return str(uuid)
            assert found["status"] == "BUILD" and time.monotonic() < ends, found
            await asyncio.sleep(0.2)

    async def console(self, server: str) -> str:
        """The console's URL, of the API of today; that of before 2.6 names a working one, too."""
        path = f"/compute/v2.1/servers/{server}"
        body = {"os-getSerialConsole": {"type": "serial"}}
        old = (await self.ask("POST", f"{path}/action", body, version="2.1"))["console"]["url"]
        async with connect(old) as client:
            await echoed(client, b"old words")
        request = {"remote_console": SERIAL}
        made = await self.ask("POST", f"{path}/remote-consoles", request)
        return str(made["remote_console"]["url"])

    async def log(self, server: str) -> str:
        path, body = f"/compute/v2.1/servers/{server}/action", {"os-getConsoleOutput": {}}
        return str((await self.ask("POST", path, body))["output"])


async def echoed(client: ClientConnection, words: bytes) -> None:
    """Type until it comes back from the machine: while there is no session, the reason comes instead."""
    said = b""
    async with asyncio.timeout(SECONDS):
        while True:
            await client.send(words)
            try:
                async with asyncio.timeout(1):
                    while words not in said:
                        said += await client.recv()  # type: ignore[operator]
                    return
            except TimeoutError:
                continue


async def at_tcp(here: Site, node: str) -> int:
    """Use a node's TCP console at the address that the API tells; the port."""
    ends, trouble = time.monotonic() + SECONDS, ""
    while True:
        assert time.monotonic() < ends, trouble
        shown = await here.client.ask("GET", f"/v1/nodes/{node}/states/console")
        trouble = str(shown)
        # On at every moment, also while nobody holds it.
        assert shown["console_enabled"] is True and shown["console_info"]["type"] == "socat", shown
        host, _, port = shown["console_info"]["url"].removeprefix("tcp://").rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError as error:
            trouble = f"{shown}: {error}"
            await asyncio.sleep(0.2)
            continue
        try:
            said, words = b"", b"hello machine"
            for _ in range(20):
                writer.write(words)
                try:
                    async with asyncio.timeout(1):
                        while words not in said:
                            data = await reader.read(1000)
                            if not data:
                                raise ConnectionResetError("the door was closed")
                            said += data
                        return int(port)
                except TimeoutError:
                    trouble = f"{shown}: said {said!r}"
        except OSError as error:
            trouble = f"{shown}: {error}"
        finally:
            writer.close()


def sessions(port: str) -> list[str]:
    """Command lines of the SOL sessions with the machine's controller at a port, with their parents' ids."""
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = re.search(r"^PPid:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE)
        except OSError:
            continue
        if words[0].endswith(b"ipmitool") and b"activate" in words and port.encode() in words:
            found.append(parent.group(1) if parent else "")
    return found


async def one_session(port: str, holder: Controller) -> None:
    """There is one session with the machine's controller, and it is this process's."""
    assert holder.child is not None
    ends = time.monotonic() + SECONDS
    while sessions(port) != [str(holder.child.pid)]:
        assert time.monotonic() < ends, (sessions(port), holder.child.pid)
        await asyncio.sleep(0.1)


async def holder(here: Site, node: str) -> Controller:
    name = (await here.client.ask("GET", f"/v1/nodes/{node}"))["conductor"]
    return here.controllers[name]


async def enrol(here: Site, fleet: Fleet) -> dict[str, dict[str, Any]]:
    """The machines as available nodes; by uuid what is known of their controllers."""
    known: dict[str, dict[str, Any]] = {}
    uuids = await here.enrol(fleet, {})
    for uuid, entry in zip(uuids, fleet.enrolment()["nodes"], strict=True):
        known[uuid] = entry["driver_info"]
    return known


async def use_console(here: Site, node: str, interface: str) -> None:
    """Switch it on, and wait for the controller that opens its door."""
    patch = [{"op": "add", "path": "/console_interface", "value": interface}]
    await here.client.ask("PATCH", f"/v1/nodes/{node}", patch)
    await here.client.ask("PUT", f"/v1/nodes/{node}/states/console", {"enabled": True})
    async with asyncio.timeout(SECONDS):
        while not (await here.client.ask("GET", f"/v1/nodes/{node}"))["console_enabled"]:
            await asyncio.sleep(0.1)


@pytest.fixture
async def here(tmp_path: Path, database: str) -> AsyncIterator[Site]:
    first = free_port()
    more: dict[str, dict[str, Any]] = {
        "": {"roles": ["api", "conductor", "console"]},
        "console": {
            "ports": [f"{first}:{min(first + PORTS, 65536)}"],
            "folder": str(tmp_path / "consoles"),
        },
    }
    times = {"beat_seconds": 0.5, "dead_seconds": 4, "drain_seconds": 10, "leave_seconds": 8}
    async with site(tmp_path, database, more, **times) as made:
        yield made


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool")
async def test_consoles_go_on_elsewhere(here: Site) -> None:
    options = FleetOptions(count=2, speed=200, boot_url=here.boots, protocols=("ipmi",))
    async with Fleet(options) as fleet:
        known = await enrol(here, fleet)
        tenant = Tenant(here)
        await tenant.log_in()
        server = await tenant.server()
        nodes = await here.client.ask("GET", "/v1/nodes?fields=uuid,instance_uuid")
        (mine,) = (n["uuid"] for n in nodes["nodes"] if n["instance_uuid"] == server)
        (other,) = known.keys() - {mine}
        await use_console(here, other, "ipmitool-socat")
        first_port = await at_tcp(here, other)
        for number in (signal.SIGKILL, signal.SIGTERM):
            await _taken_over(here, tenant, server, mine, str(known[mine]["ipmi_port"]), number)
            await at_tcp(here, other)
        await _stood_still(here, tenant, server, mine, str(known[mine]["ipmi_port"]))
        old = await holder(here, other)
        old.send(signal.SIGTERM)
        port = await at_tcp(here, other)
        print(f"\nport {first_port}, then {port}")
        await one_after_another(here, other, str(known[other]["ipmi_port"]), old)


async def one_after_another(here: Site, node: str, bmc: str, old: Controller) -> None:
    """The one that was told to stop has ended, and its session with it."""
    assert await old.ended() == 0, old.log[-2000:]
    new = await holder(here, node)
    assert new is not old
    assert new.child is not None and set(sessions(bmc)) <= {str(new.child.pid)}
    await old.start()


async def _taken_over(
    here: Site, tenant: Tenant, server: str, node: str, bmc: str, number: signal.Signals
) -> None:
    """End the process that holds a server's console; what tenants have of it goes on."""
    old = await holder(here, node)
    await one_session(bmc, old)
    url = await tenant.console(server)
    beside = next(c for c in here.controllers.values() if c is not old)
    direct = re.sub(r"//[^/]+/", f"//127.0.0.1:{beside.api}/", url)
    async with connect(direct) as guest, connect(url, subprotocols=["binary"]) as balanced:  # type: ignore[list-item]
        for client in (guest, balanced):
            await echoed(client, b"hello before")
        began = time.monotonic()
        old.send(number)
        # Whoever came in by another controller stays where he is.
        await echoed(guest, f"after {number.name}".encode())
        took = time.monotonic() - began
    new = await _moved(here, node, old)
    print(f"\n{number.name}: served again after {took:.1f} s")
    assert (await old.ended() == 0) == (number is signal.SIGTERM), old.log[-2000:]
    await one_session(bmc, new)
    for again in (url, await tenant.console(server)):  # the URL of before, and a new one
        async with connect(again) as client:
            await echoed(client, f"hello again after {number.name}".encode())
    async with asyncio.timeout(SECONDS):
        while f"hello again after {number.name}" not in await tenant.log(server):
            await asyncio.sleep(0.1)
    await old.start()


async def _stood_still(here: Site, tenant: Tenant, server: str, node: str, bmc: str) -> None:
    """A process that goes on does not take its consoles back from who has taken them over."""
    old = await holder(here, node)
    await one_session(bmc, old)
    url = await tenant.console(server)
    beside = next(c for c in here.controllers.values() if c is not old)
    async with connect(re.sub(r"//[^/]+/", f"//127.0.0.1:{beside.api}/", url)) as guest:
        await echoed(guest, b"hello before")
        old.send(signal.SIGSTOP)
        try:
            await _moved(here, node, old)
            # Its ipmitool goes on beside, and does not notice that nobody listens to it.
            await echoed(guest, b"hello from elsewhere")
        finally:
            old.send(signal.SIGCONT)
        # It joins again, and has its machines from then on as from a new start.
        async with asyncio.timeout(SECONDS):
            while await holder(here, node) is not old:
                await asyncio.sleep(0.1)
        await one_session(bmc, old)
        await echoed(guest, b"hello again")


async def _moved(here: Site, node: str, old: Controller) -> Controller:
    async with asyncio.timeout(SECONDS):
        while (new := await holder(here, node)) is old:
            await asyncio.sleep(0.1)
    return new
