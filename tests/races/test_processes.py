"""Mixed traffic at real processes: without a fault, with PostgreSQL restarted, with a process killed in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import postgres
from tests.races.crowd import CLIENTS
from tests.races.processes import Cloud, again, cloud
from tests.races.traffic import Traffic, judge, run, settle

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


async def whole(here: Cloud, disturb: object = None) -> Traffic:
    traffic = await Traffic.prepare(here, 12)
    await run(traffic, CLIENTS, disturb)
    await settle(traffic)
    await judge(traffic)
    told = traffic.ledger
    assert told.common.accepted and told.made.accepted and told.gone.accepted
    return traffic


async def test_one_process_on_sqlite(tmp_path: Path) -> None:
    async with cloud(tmp_path, None, 1) as here:
        traffic = await whole(here)
        assert not traffic.ledger.made.unknown


@pytest.mark.postgres
async def test_three_processes(tmp_path: Path, server: postgres.Server) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        traffic = await whole(here)
        assert not traffic.ledger.made.unknown, here.statuses
        assert len([c for c in traffic.ledger.claims.values() if c.accepted]) == 12


@pytest.mark.postgres
async def test_the_database_restarts_and_a_process_is_killed(
    tmp_path: Path, server: postgres.Server
) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:

        async def disturb() -> None:
            await again(server, "fast")
            await asyncio.sleep(2)
            await here.kill(1)

        await whole(here, disturb)


@pytest.mark.nightly
@pytest.mark.postgres
async def test_the_database_loses_its_power_twice(tmp_path: Path, server: postgres.Server) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:

        async def disturb() -> None:
            for _ in range(2):
                await again(server, "immediate")
                await asyncio.sleep(3)
            await here.kill(2)

        await whole(here, disturb)
