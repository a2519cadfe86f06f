"""Three controllers, many deploys: one is killed, one stands still, the database restarts, one is restarted."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from ingot.lab.sim import Fleet, FleetOptions, Timings
from tests import postgres
from tests.flows.controllers import Site, site
from tests.flows.site import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

#: One deploy takes some ten seconds of the test's time at a speed of 50.
SLOW = Timings(post=(60, 120), write_mb_per_s=(0.0005, 0.002))


@pytest.fixture
def database(postgres_server: postgres.Server) -> Iterator[str]:
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture
async def image() -> AsyncIterator[dict[str, str]]:
    """An image on a web server of its own."""
    content = b"\0" * 65536 + b"ingot" * 1000

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=content)

    app = web.Application()
    app.router.add_get("/image.raw", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield {
        "image_source": f"http://127.0.0.1:{port}/image.raw",
        "image_checksum": hashlib.sha256(content).hexdigest(),
        "image_disk_format": "raw",
    }
    await runner.cleanup()


async def _faults(
    here: Site, uuids: list[str], server: postgres.Server, *, still: float, away: float
) -> dict[str, float]:
    """Order the deploys in four parts, with a fault in the middle of each; seconds of each takeover."""
    took: dict[str, float] = {}
    parts = [uuids[number::4] for number in range(4)]

    async def order(part: list[str]) -> None:
        await asyncio.gather(*(here.client.verb(uuid, "active") for uuid in part))

    await order(parts[0])
    await here.until_owned("c1", True)
    here.controllers["c1"].send(signal.SIGKILL)
    killed = asyncio.create_task(here.until_owned("c1", False))
    await order(parts[1])
    took["killed"] = await killed
    await here.until_owned("c2", True)
    here.controllers["c2"].send(signal.SIGSTOP)
    stopped = time.monotonic()
    took["stopped"] = await here.until_owned("c2", False)
    await order(parts[2])
    await asyncio.sleep(max(0.0, stopped + still - time.monotonic()))
    here.controllers["c2"].send(signal.SIGCONT)
    await order(parts[3])
    await here.until_owned("c2", True)
    asking = asyncio.create_task(here.client.nodes())
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(away)
    await asyncio.to_thread(server.start)
    await asking
    # A restart on purpose: it hands over and ends well, and the others go on at once.
    here.controllers["c3"].send(signal.SIGTERM)
    began = time.monotonic()
    assert await here.controllers["c3"].ended(120) == 0, here.controllers["c3"].log[-2000:]
    took["drained"] = time.monotonic() - began
    # It has left, so nobody waits for a beat of it.
    listed = (await here.client.ask("GET", "/v1/conductors"))["conductors"]
    alive = {one["hostname"]: one["alive"] for one in listed}
    assert alive == {"c1": False, "c2": True, "c3": False}, listed
    # What the database's absence had interrupted in it, and it had not taken up again, is free like a dead one's.
    await here.until_owned("c3", False)
    await here.controllers["c3"].start()
    return took


async def _prove(
    folder: Path,
    server: postgres.Server,
    database: str,
    image: dict[str, str],
    *,
    count: int,
    still: float,
    away: float,
    takeover: float,
    **cluster: float,
) -> None:
    async with site(folder, database, **cluster) as here:
        options = FleetOptions(
            count=count,
            speed=50,
            boot_url=here.boots,
            timings=SLOW,
            seed=7,
            protocols=("redfish", "ipmi"),
        )
        async with Fleet(options) as fleet:
            uuids = await here.enrol(fleet, image)
            before = {name: len(fleet.bmc(name).commands) for name in fleet.machines}
            began = time.monotonic()
            took = await _faults(here, uuids, server, still=still, away=away)
            await here.client.all_in("active", 600)
            whole = time.monotonic() - began
            doubled = _doubled(fleet, before)
        print(f"\n{count} deploys in {whole:.1f} s; taken over after {took}; {here.client.answers}")
        assert "expelled" in here.controllers["c2"].log, "c2 was never given up: it stood too short"
        assert not doubled, doubled
        assert 500 not in here.client.answers, here.client.said
        assert max(took["killed"], took["stopped"]) < takeover, took


def _doubled(fleet: Fleet, before: dict[str, int]) -> list[str]:
    """What any machine was told more often than a deploy without faults tells it."""
    found: list[str] = []
    for name, machine in fleet.machines.items():
        commands = fleet.bmc(name).commands[before[name] :]
        powers = Counter(one.command for one in commands if "power" in one.command)
        acts = [act.act for act in machine.destructive_acts]
        # The agent is booted, then the instance; the agent switches off by itself, and the controller only when
        # its patience ended with its process.
        good = powers["power on"] == 2 and powers["power off"] <= 1 and acts == ["write_image"]
        if not good or set(powers) - {"power on", "power off"}:
            found.append(
                f"{name}: {acts} {[(round(c.wall, 2), c.command, c.outcome) for c in commands]}"
            )
    return found


@pytest.mark.timeout(600)
async def test_one_dies_one_stands_still_the_database_restarts(
    tmp_path: Path, postgres_server: postgres.Server, database: str, image: dict[str, str]
) -> None:
    times = {"beat_seconds": 0.5, "dead_seconds": 4, "drain_seconds": 10, "leave_seconds": 2}
    await _prove(
        tmp_path,
        postgres_server,
        database,
        image,
        count=24,
        still=8,
        away=2,
        takeover=60,  # of a busy machine; the nightly one measures
        **times,
    )


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_two_hundred(
    tmp_path: Path, postgres_server: postgres.Server, database: str, image: dict[str, str]
) -> None:
    """With the settings as they come."""
    await _prove(
        tmp_path,
        postgres_server,
        database,
        image,
        count=200,
        still=60,
        away=60,
        takeover=15,
        leave_seconds=5,
    )
