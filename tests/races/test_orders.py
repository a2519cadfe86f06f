"""Servers ordered and deleted at real processes: no deletion is forgotten, also when the database or a process goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import postgres
from tests.races.crowd import CLIENTS
from tests.races.orders import Disturb, Orders
from tests.races.processes import Cloud, again, cloud

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
MACHINES = 12


async def whole(here: Cloud, disturb: Disturb | None = None) -> Orders:
    tenant = await here.enter("admin")
    orders = Orders(here, tenant, tenant.project)
    await orders.furnish(MACHINES)
    await orders.run(CLIENTS, disturb)
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
