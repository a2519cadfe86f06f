"""Two conductors on PostgreSQL, one of them killed in the middle of fifty deploys."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingot.lab.sim import Fleet, FleetOptions, Timings
from ingot.workflow.tables import conductors, operations
from tests import postgres
from tests.flows.processes import Process
from tests.flows.site import Site, cloud

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COUNT = 50
SLOW = Timings(write_mb_per_s=(0.01, 0.05))


@pytest.fixture
def database(postgres_server: postgres.Server) -> Iterator[str]:
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


async def _owned(here: Site, host: str) -> int:
    """Live operations in the hands of a host's process."""

    def query(conn: sa.Connection) -> int:
        mine = sa.select(conductors.c.incarnation).where(conductors.c.host == host)
        live = sa.select(sa.func.count()).where(
            operations.c.ended_at.is_(None), operations.c.owner.in_(mine)
        )
        return conn.execute(live).scalar_one()

    return await here.db.read(query)


@pytest.mark.timeout(300)
async def test_one_of_two_conductors_dies(tmp_path: Path, database: str) -> None:
    async with cloud(tmp_path, database=database, host="api", cluster=True, work=False) as here:
        options = FleetOptions(
            count=COUNT,
            speed=100,
            boot_url=here.url,
            protocols=("redfish",),
            timings=SLOW,
            seed=4,
        )
        plan = {
            "base": str(tmp_path),
            "database": database,
            "cluster": True,
            "provisioning": here.url,
        }
        pair = [Process(tmp_path, {**plan, "host": name}) for name in ("one", "two")]
        async with Fleet(options) as fleet:
            here._fleet = fleet
            try:
                for process in pair:
                    await process.start()
                await _deploy_all(here, fleet, pair)
            finally:
                for process in pair:
                    await process.close()


async def _deploy_all(here: Site, fleet: Fleet, pair: list[Process]) -> None:
    uuids = await here.enrol("available")
    for uuid in uuids:
        await here.prepare(uuid)
    began = time.monotonic()
    for uuid in uuids:
        await here.verb(uuid, "active")
    # In the thick of it: some images are being written, and both have work in hand.
    async with asyncio.timeout(90):
        while not (
            any(machine.destructive_acts for machine in fleet.machines.values())
            and await _owned(here, "one")
            and await _owned(here, "two")
        ):
            await asyncio.sleep(0.02)
    held = await _owned(here, "one")
    pair[0].kill()
    killed = time.monotonic()
    async with asyncio.timeout(60):
        while await _owned(here, "one"):
            await asyncio.sleep(0.02)
    takeover = time.monotonic() - killed
    for uuid in uuids:
        await here.until(uuid, "active", deadline=150)
    whole = time.monotonic() - began
    print(f"\n{COUNT} deploys in {whole:.1f} s; {held} operations in hand at the kill, ")
    print(f"all taken over {takeover:.2f} s after it")
    for name, machine in fleet.machines.items():
        powers = Counter(one.command for one in fleet.bmc(name).commands if "power" in one.command)
        # The agent switches off by itself; the controller only when its patience ended with its process.
        assert powers["power on"] == 2, (name, fleet.bmc(name).commands)
        assert powers["power off"] <= 1, (name, fleet.bmc(name).commands)
        assert [act.act for act in machine.destructive_acts] == ["write_image"], name
