"""Many clients at one moment: nothing that was accepted is lost, nothing is done twice, nobody sees a 500."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio

CLIENTS = 24


async def test_a_deletion_is_never_forgotten(tmp_path: Path, database: str) -> None:
    """POST a server and DELETE it after 0 to 70 ms: every one is gone, its machine free, its ports too."""
    async with cloud(tmp_path, 1, database=database) as here:
        await here.enrol_imaginary(CLIENTS)
        flavor = await here.flavor()

        async def one(number: int) -> str:
            uuid = await here.boot(flavor, f"s{number}")
            await asyncio.sleep(number * 0.07 / CLIENTS)
            await here.call("DELETE", f"/servers/{uuid}", status=204)
            return uuid

        for _ in range(2):
            uuids = await asyncio.gather(*(one(number) for number in range(CLIENTS)))
            await _all_gone(here, uuids)
        await _nothing_left(here)


async def test_a_deletion_wins_over_every_other_action(tmp_path: Path, database: str) -> None:
    """Reboot, stop and rebuild at the same moment as DELETE: what is accepted besides is given up."""
    async with cloud(tmp_path, 1, database=database) as here:
        await here.enrol_imaginary(6)
        flavor = await here.flavor()
        others: list[Any] = [
            {"reboot": {"type": "HARD"}},
            {"os-stop": None},
            {"rebuild": {"imageRef": here.image_id}},
        ]
        for _ in range(2):
            uuids = [await here.boot(flavor, f"s{number}") for number in range(6)]
            for uuid in uuids:
                await here.server_is(uuid, "ACTIVE")
            work = [
                call
                for uuid in uuids
                for call in (
                    *(here.call("POST", f"/servers/{uuid}/action", body) for body in others),
                    here.call("DELETE", f"/servers/{uuid}"),
                    *(here.call("POST", f"/servers/{uuid}/action", body) for body in others),
                )
            ]
            answers = await asyncio.gather(*work)
            told = sorted({status for status, _, _ in answers})
            assert set(told) <= {202, 204, 404, 409}, told
            assert [status for status, _, _ in answers[3::7]] == [204] * 6
            await _all_gone(here, uuids)
        await _nothing_left(here)


async def _all_gone(here: Cloud, uuids: list[str]) -> None:
    """Every one is 404 within a minute; none of them is in ERROR with its deletion forgotten."""
    left = set(uuids)
    try:
        async with asyncio.timeout(60):
            while left:
                for uuid in sorted(left):
                    status, body, _ = await here.call("GET", f"/servers/{uuid}")
                    if status == 404:
                        left.discard(uuid)
                    elif body["server"]["OS-EXT-STS:task_state"] is None:
                        told = (await here.story(f"server:{uuid}"), body["server"].get("fault"))
                        raise AssertionError(f"forgotten: {body['server']['status']} {told}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        stories = [await here.story(f"server:{uuid}") for uuid in sorted(left)]
        raise AssertionError(f"still there: {stories}") from None


async def _nothing_left(here: Cloud) -> None:
    assert await here.claimed() == []
    ports = await here.db.read(lambda conn: here.networks.ports_of_device(conn, ""))
    assert not [port for port in ports if port.device_owner.startswith("compute:")]
