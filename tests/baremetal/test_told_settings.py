"""BIOS settings and firmware as a hostile controller tells them: kept as far as they can be, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_support import World, world

from ingot.drivers.machine.types import BiosSetting, FirmwareComponent
from ingot.services.baremetal.nodes import hardware

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
async def api(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    async with world(tmp_path, url=url) as made:
        yield made


async def test_what_no_column_holds_is_left_out(api: World) -> None:
    uuid = (await api.node(name="n1"))["uuid"]
    evil = "a\x00b\x1b[2J" + "x" * 5000
    settings = [
        BiosSetting("good", "on", "Enumeration", allowable_values=("on", evil)),
        BiosSetting("evil", evil, evil, lower_bound=-(10**30), upper_bound=2**63, min_length=5),
        BiosSetting(evil, "lost"),
        BiosSetting("", "lost"),
        *(BiosSetting(f"n{number}", "v") for number in range(5000)),
    ]
    firmware = [
        FirmwareComponent("bios", evil, evil, evil, evil),
        *(FirmwareComponent(f"nic:{number}", "1") for number in range(1000)),
    ]
    for _ in range(2):  # the second time they are there already
        await api.db.write(lambda conn: hardware.save_bios(conn, uuid, settings, "now"))
        await api.db.write(lambda conn: hardware.save_firmware(conn, uuid, firmware, "now"))
    told = (await api.ask("GET", "/v1/nodes/n1/bios?detail=true")).json["bios"]
    assert 4000 < len(told) <= 4096
    by_name = {one["name"]: one for one in told}
    assert by_name["good"]["value"] == "on" and by_name["good"]["allowable_values"][0] == "on"
    odd = by_name["evil"]
    assert odd["value"].startswith("a\\x00b\\x1b[2Jx") and len(odd["value"]) <= 1024
    assert (odd["lower_bound"], odd["upper_bound"], odd["min_length"]) == (None, None, 5)
    parts = (await api.ask("GET", "/v1/nodes/n1/firmware")).json["firmware"]
    assert len(parts) == 512 and len(parts[0]["current_version"]) <= 255
