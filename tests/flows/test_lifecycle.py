"""Whole life-cycles over simulated machines: the wire is real, time is fast."""

from __future__ import annotations

import asyncio

import pytest

from tests.flows.site import site

pytestmark = pytest.mark.anyio


async def test_from_enroll_to_active_and_back() -> None:
    async with site(2) as here:
        uuids = await here.enrol()

        async def life(uuid: str) -> None:
            await here.verb(uuid, "manage")
            await here.until(uuid, "manageable")
            await here.verb(uuid, "inspect")
            await here.until(uuid, "manageable")
            await here.verb(uuid, "provide")
            await here.until(uuid, "available")
            await here.prepare(uuid)
            await here.verb(uuid, "active")
            await here.until(uuid, "active")
            await here.verb(uuid, "rebuild")
            await here.until(uuid, "active")
            await here.verb(uuid, "deleted")
            await here.until(uuid, "available")

        await asyncio.gather(*(life(uuid) for uuid in uuids))
        for machine in here.fleet.machines.values():
            assert [act.act for act in machine.destructive_acts].count("write_image") == 2
