"""Races of every kind of resource at real processes: three on PostgreSQL, one on SQLite.

NIGHTLY=1 python -m pytest tests/races/test_kinds.py -s     prints the table
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import postgres
from tests.races import kinds_compute, kinds_identity, kinds_image, kinds_metal, kinds_network
from tests.races.crowd import CLIENTS
from tests.races.processes import Cloud, cloud, restart_and_kill
from tests.races.table import Kind, Place, race, races, show

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]
SERVICES: dict[str, dict[str, Kind]] = {
    "network": kinds_network.KINDS,
    "compute": kinds_compute.KINDS,
    "image": kinds_image.KINDS,
    "identity": kinds_identity.KINDS,
    "bare metal": kinds_metal.KINDS,
}
KINDS = {name: kind for kinds in SERVICES.values() for name, kind in kinds.items()}
#: What `make test` has of them: each shape, each service.
SHARE = (
    "ports by address",
    "network revisions",
    "networks and their ports",
    "network quotas",
    "compute quotas",
    "flavor access",
    "image content and ends",
    "image members",
    "users and their roles",
    "project tags",
    "node claims",
    "node traits",
)


async def all_of(here: Cloud, kinds: dict[str, Kind], size: int = CLIENTS) -> None:
    place = await Place.of(here, size)
    show([await race(place, name, kind) for name, kind in kinds.items()])


async def test_some_kinds_at_one_process_on_sqlite(tmp_path: Path) -> None:
    async with cloud(tmp_path, None, 1) as here:
        await all_of(here, {name: KINDS[name] for name in SHARE}, 15)


@pytest.mark.postgres
async def test_some_kinds_at_three_processes(tmp_path: Path, server: postgres.Server) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        await all_of(here, {name: KINDS[name] for name in SHARE}, 15)


@pytest.mark.nightly
@pytest.mark.parametrize("service", SERVICES)
async def test_every_kind_at_one_process_on_sqlite(tmp_path: Path, service: str) -> None:
    async with cloud(tmp_path, None, 1) as here:
        await all_of(here, SERVICES[service])


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.parametrize("service", SERVICES)
async def test_every_kind_at_three_processes(
    tmp_path: Path, server: postgres.Server, service: str
) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        await all_of(here, SERVICES[service])


@pytest.mark.nightly
@pytest.mark.postgres
@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_every_kind_while_the_database_restarts_and_a_process_is_killed(
    tmp_path: Path, server: postgres.Server, how: str
) -> None:
    async with cloud(tmp_path, server.create(), 3) as here:
        struck = restart_and_kill(here, server, how)

        async def disturb() -> None:
            await asyncio.sleep(0.5)
            await struck()

        place = await Place.of(here)
        show(await races(place, KINDS, disturb))


@pytest.mark.nightly
async def test_every_kind_on_sqlite_while_the_process_is_killed(tmp_path: Path) -> None:
    async with cloud(tmp_path, None, 1) as here:

        async def disturb() -> None:
            await asyncio.sleep(0.5)
            await here.kill(0)

        place = await Place.of(here)
        show(await races(place, KINDS, disturb))
