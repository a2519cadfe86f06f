"""Mixed traffic at real processes: without a fault, with PostgreSQL restarted, with a process killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.races.crowd import CLIENTS, Disturb, work
from tests.races.processes import Cloud, cloud, lose_power_twice, restart_and_kill
from tests.races.traffic import Traffic, judge, settle

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]


async def whole(here: Cloud, disturb: Disturb | None = None) -> Traffic:
    traffic = await Traffic.prepare(here, 12)
    await work(traffic, CLIENTS, disturb, seconds=4)
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
        await whole(here, restart_and_kill(here, server))


@pytest.mark.nightly
@pytest.mark.postgres
async def test_the_database_loses_its_power_twice(tmp_path: Path, server: postgres.Server) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        await whole(here, lose_power_twice(here, server))
