"""kill -9 of real server processes over simulated machines."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingot.lab.sim import Fleet, FleetOptions, Timings
from tests.flows.processes import Client, Process
from tests.flows.site import free_port, lay_out

pytestmark = pytest.mark.anyio

#: The write of the small test image takes some 6 s of simulated time.
SLOW = Timings(write_mb_per_s=(0.01, 0.015), power_on=(4, 8))
MIDDLE = ("power on [1]", "write the image", "stop the agent", "start the instance")


@dataclass(frozen=True)
class Record:
    """What a deploy under fire left behind.

    deaths: points at which the server died. commands: to the controller. acts: what destroyed data.
    finished: images that were written to the end.
    """

    deaths: list[str]
    commands: Counter[str]
    acts: Counter[str]
    finished: int


async def deploy_under_fire(
    folder: Path, database: str, at: Sequence[str], middle: Sequence[str]
) -> Record:
    """One deploy whose server dies again and again."""
    port, log = free_port(), folder / "deaths"
    url = f"http://127.0.0.1:{port}"
    plan = {"base": str(folder), "database": database, "port": port}
    server = Process(folder, plan)
    options = FleetOptions(
        count=1, speed=25, boot_url=url, protocols=("redfish",), timings=SLOW, seed=2
    )
    client = Client(url)
    async with Fleet(options) as fleet:
        try:
            await server.start()
            (node,) = fleet.enrolment()["nodes"]
            uuid = await client.enrol(node)
            await client.verb(uuid, "manage")
            await client.until(uuid, "manageable")
            await client.verb(uuid, "provide")
            await client.until(uuid, "available")
            digest = hashlib.sha256((folder / "image.raw").read_bytes()).hexdigest()
            await client.image(uuid, f"{url}/files/image.raw", digest)
            await server.close()
            (machine,) = fleet.machines.values()
            before, cleaned = len(fleet.commands()), len(machine.destructive_acts)
            assert not machine.written
            server.plan |= {"log": str(log), "at": list(at), "middle": list(middle)}
            await server.start()
            ordered = asyncio.create_task(_order(client, uuid))
            ended = asyncio.create_task(client.until(uuid, "active", 240))
            while not ended.done():
                dead = asyncio.create_task(server.wait())
                await asyncio.wait({ended, dead}, return_when=asyncio.FIRST_COMPLETED)
                if dead.done() and not ended.done():
                    assert dead.result() == -9, f"the server ended by itself: {dead.result()}"
                    await server.start()
            await ordered
            await ended
        except AssertionError as problem:
            (machine,) = fleet.machines.values()
            life = "\n".join(f"{one.at:.1f} {one.what} {one.detail}" for one in machine.timeline)
            raise AssertionError(f"{problem}\n{log.read_text()}\n{life}") from problem
        finally:
            await client.close()
            await server.close()
        assert all(act.node == uuid for act in machine.destructive_acts)
        commands = Counter(one.command for _, one in fleet.commands()[before:])
        acts = Counter(act.act for act in machine.destructive_acts[cleaned:])
        deaths = log.read_text().splitlines() if log.exists() else []
        return Record(deaths, commands, acts, len(machine.written))


async def _order(client: Client, uuid: str) -> None:
    """The order's own reply may get lost with the server; then it is seen in the state."""
    if (await client.node(uuid))["provision_state"] == "available":
        try:
            await client.verb(uuid, "active")
        except AssertionError:
            assert (await client.node(uuid))["provision_state"] != "available"


def _judge(record: Record) -> None:
    deaths, commands, acts = record.deaths, record.commands, record.acts
    powers = {name: count for name, count in commands.items() if name.startswith("power")}
    # Once for each boot of the agent (a busy machine may need a second: each shows in the record) and once
    # for the instance; the agent switches the machine off by itself, and the controller only when the
    # process died in between or the agent was given up.
    boots_of_agent = len({death for death in deaths if "done power on [" in death})
    assert boots_of_agent <= 2, deaths
    assert powers.get("power on") == boots_of_agent + 1, commands
    assert powers.get("power off", 0) <= boots_of_agent, commands
    assert set(powers) <= {"power on", "power off"}, commands
    # What was written to the end is not written again. Only another boot of the agent, because the one
    # before was lost in the middle of its write, begins a second one.
    assert record.finished == 1, acts
    assert 1 <= acts["write_image"] <= boots_of_agent, acts
    boots = sum(count for name, count in commands.items() if name.startswith("boot"))
    struck = sum("boot from" in death for death in deaths)
    assert boots <= 4 + 2 * struck + 2 * (boots_of_agent - 1), commands


@pytest.mark.timeout(300)
async def test_killed_between_work_and_record_and_in_the_middle(
    tmp_path: Path, database: str
) -> None:
    lay_out(tmp_path)
    found = await deploy_under_fire(tmp_path, database, ["done", "parked"], MIDDLE)
    print(found)
    assert len(found.deaths) >= 14, found.deaths
    _judge(found)


@pytest.mark.nightly
@pytest.mark.timeout(900)
async def test_killed_at_every_point(tmp_path: Path, database: str) -> None:
    lay_out(tmp_path)
    points = ["before", "done", "saved", "parked", "ending"]
    found = await deploy_under_fire(tmp_path, database, points, MIDDLE)
    assert len(found.deaths) >= 45, found.deaths
    _judge(found)
