"""An outside Nova hears of power and ports that changed without it: a small one here, with our own Identity API before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ingot.lab.sim import Fleet, FleetOptions
from tests.site.server import Site, free_port, run

pytestmark = pytest.mark.anyio
SERVER = "8a3bd0a1-5cf3-4d33-9e56-3f3a4d1f6f10"


class Nova:
    """What it was told. refusals: statuses of the next answers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.refusals: list[int] = []
        self.tokens: list[str] = []
        self.port = free_port()

    async def take(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers["X-Auth-Token"])
        assert request.headers["OpenStack-API-Version"] == "compute 2.76"
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        events = (await request.json())["events"]
        self.events += events
        return web.json_response({"events": [{**one, "code": 200} for one in events]})

    async def heard(self, count: int) -> list[tuple[str, str, str]]:
        async with asyncio.timeout(30):
            while len(self.events) < count:
                await asyncio.sleep(0.05)
        return [(one["name"], one["server_uuid"], one["tag"]) for one in self.events]


@pytest.fixture
async def nova() -> AsyncIterator[Nova]:
    made = Nova()
    app = web.Application()
    app.router.add_post("/v2.1/os-server-external-events", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def here(tmp_path: Path, nova: Nova) -> AsyncIterator[Site]:
    async with aiohttp.ClientSession() as http:
        made = Site(tmp_path, free_port(), free_port(), http)
        section = {
            "url": f"http://127.0.0.1:{nova.port}/v2.1",
            "auth_url": f"{made.url}/identity",
            "username": "admin",
            "password": "site-secret",
            "project_name": "admin",
        }
        await made.start(made.settings(nova=section, baremetal={"power_sync_seconds": 1}))
        yield made
        await made.stop()


async def power(here: Site, node: str, target: str, state: str) -> None:
    path = f"/v1/nodes/{node}"
    await here.ask("baremetal", "PUT", f"{path}/states/power", {"target": target}, status=202)
    async with asyncio.timeout(30):
        while True:
            shown = await here.node(node)
            if shown["power_state"] == state and not shown["target_power_state"]:
                return
            await asyncio.sleep(0.05)


async def test_power_that_an_operator_switches(here: Site, nova: Nova) -> None:
    body = {"driver": "fake-hardware", "name": "n"}
    node = (await here.ask("baremetal", "POST", "/v1/nodes", body, status=201)).body["uuid"]
    await here.verb(node, "manage")
    await here.node_in(node, "manageable")
    await power(here, node, "power on", "power on")  # of nobody's machine
    patch = [{"op": "add", "path": "/instance_uuid", "value": SERVER}]
    await here.ask("baremetal", "PATCH", f"/v1/nodes/{node}", patch, status=200)
    await power(here, node, "power off", "power off")
    assert await nova.heard(1) == [("power-update", SERVER, "POWER_OFF")]
    # A token that has ended is got anew, and a Nova that is away for a moment is asked again.
    nova.refusals += [401, 503]
    await power(here, node, "rebooting", "power on")
    assert (await nova.heard(2))[1:] == [("power-update", SERVER, "POWER_ON")]
    assert len(set(nova.tokens)) == 2


async def test_power_that_changes_by_itself(here: Site, nova: Nova) -> None:
    async with Fleet(
        FleetOptions(count=1, speed=1000, boot_url=f"http://127.0.0.1:{here.boot}")
    ) as fleet:
        here.fleet = fleet
        node = await here.enrol("sim-0000")
        await here.verb(node, "manage")
        await here.node_in(node, "manageable")
        patch = [{"op": "add", "path": "/instance_uuid", "value": SERVER}]
        await here.ask("baremetal", "PATCH", f"/v1/nodes/{node}", patch, status=200)
        await fleet.machine("sim-0000").power_on()
        assert await nova.heard(1) == [("power-update", SERVER, "POWER_ON")]


async def test_a_port_that_moves(here: Site, nova: Nova) -> None:
    network = await here.make_network("n", "192.0.2.0/24", "192.0.2.9", "192.0.2.99")
    port: Any = {"network_id": network, "device_id": SERVER, "device_owner": "compute:nova"}
    made = await here.ask("network", "POST", "/v2.0/ports", {"port": port}, status=201)
    ident = made.body["port"]["id"]
    path = f"/v2.0/ports/{ident}"
    for change in (
        {"name": "x"},
        {"mac_address": "52:54:00:00:00:07"},
        {"fixed_ips": [{"ip_address": "192.0.2.33"}]},
    ):
        await here.ask("network", "PUT", path, {"port": change}, status=200)
    told = await nova.heard(2)
    assert told == [("network-changed", SERVER, ident)] * 2
    other = {"network_id": network, "device_id": SERVER, "device_owner": "baremetal:none"}
    made = await here.ask("network", "POST", "/v2.0/ports", {"port": other}, status=201)
    body = {"port": {"mac_address": "52:54:00:00:00:08"}}
    await here.ask("network", "PUT", f"/v2.0/ports/{made.body['port']['id']}", body, status=200)
    await here.ask("network", "PUT", path, {"port": {"mac_address": "52:54:00:00:00:09"}})
    assert await nova.heard(3) == [*told, ("network-changed", SERVER, ident)]


async def test_a_nova_that_refuses_hinders_nothing(here: Site, nova: Nova) -> None:
    nova.refusals += [403]
    await move_a_port(here)
    async with asyncio.timeout(30):
        while "nova does not take events" not in here.log():
            await asyncio.sleep(0.05)
    assert "nova answered 403" in here.log() and "site-secret" not in here.log()
    assert nova.events == []


async def move_a_port(here: Site) -> None:
    network = await here.make_network("once", "198.51.100.0/24", "198.51.100.9", "198.51.100.99")
    port: Any = {"network_id": network, "device_id": SERVER, "device_owner": "compute:nova"}
    made = await here.ask("network", "POST", "/v2.0/ports", {"port": port}, status=201)
    body = {"port": {"mac_address": "52:54:00:00:00:07"}}
    await here.ask("network", "PUT", f"/v2.0/ports/{made.body['port']['id']}", body, status=200)


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ('url = "http://x/v2.1"\npassword = "p"\n', "auth_url"),
        ('url = "http://x/v2.1"\nauth_url = "http://x"\n', "password"),
        ('url = "x"\nauth_url = "http://x"\npassword = "p"\n', "nova.url"),
    ],
)
async def test_settings_that_cannot_work(tmp_path: Path, lines: str, word: str) -> None:
    (tmp_path / "ingot.toml").write_text(f"[nova]\n{lines}")
    code, _, err = await run("serve", "--config", "ingot.toml", "--state", "s", cwd=tmp_path)
    assert code == 2 and word in err.replace("\n", " "), err
