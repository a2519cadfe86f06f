"""Servers ordered and deleted at real processes: no deletion is forgotten, also when the database or a process goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import postgres
from tests.races.crowd import CLIENTS, Disturb, work
from tests.races.orders import Orders
from tests.races.processes import Cloud, cloud, lose_power_twice, restart_and_kill

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
MACHINES = 12


async def whole(here: Cloud, disturb: Disturb | None = None) -> Orders:
    tenant = await here.enter("admin")
    orders = Orders(here, tenant, tenant.project)
    await orders.furnish(MACHINES)
    await work(orders, CLIENTS, disturb, seconds=2)
    await orders.judge()
    await orders.clear()
    await orders.one_more()
    assert orders.made and orders.gone.accepted
    return orders


async def test_on_sqlite(tmp_path: Path) -> None:
    async with cloud(tmp_path, None, 1) as here:
        orders = await whole(here)
        assert not orders.names and not orders.gone.unknown


@pytest.mark.postgres
async def test_at_three_processes(tmp_path: Path, server: postgres.Server) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        orders = await whole(here)
        assert not orders.names and not orders.gone.unknown


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
