"""A full disk: refused with the cause in each service's form, told once, and over when there is room again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.site.server import Answer, Site, site

pytestmark = pytest.mark.anyio

LONG = "x" * 200
CHANGES: list[tuple[str, str, dict[str, Any], str]] = [
    ("identity", "/v3/projects", {"project": {"name": "{n}", "description": LONG}}, "keystone"),
    (
        "image",
        "/v2/images",
        {"name": "{n}", "disk_format": "raw", "container_format": "bare"},
        "keystone",
    ),
    ("network", "/v2.0/security-groups", {"security_group": {"name": "{n}"}}, "neutron"),
    (
        "baremetal",
        "/v1/nodes",
        {"driver": "ipmi", "name": "{n}", "description": LONG},
        "ironic, encoded twice",
    ),
    (
        "compute",
        "/flavors",
        {"flavor": {"name": "{n}", "ram": 1, "vcpus": 1, "disk": 1}},
        "nova computeFault",
    ),
]


async def changed(here: Site, change: tuple[str, str, dict[str, Any], str], name: str) -> Answer:
    service, path, body, _ = change
    filled: Any = {k: _named(v, name) for k, v in body.items()}
    return await here.ask(service, "POST", path, filled)


def _named(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _named(item, name) for key, item in value.items()}
    return name if value == "{n}" else value


async def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    async with site(tmp_path, small_state=True) as here:
        assert here.child is not None
        state = Path(f"/proc/{here.child.pid}/root{here.state}")
        for change in CHANGES:
            assert (await changed(here, change, "before")).status < 300
        with (state / "fill").open("wb", buffering=0) as fill:
            try:
                while True:
                    fill.write(b"\0" * 4096)
            except OSError:
                pass
        refused: list[Answer] = []
        for change in CHANGES:
            for number in range(2000):  # until the room that SQLite had taken before is used up
                answer = await changed(here, change, f"full-{number}")
                if answer.status >= 300:
                    break
            assert answer.status == 507, (change, answer)
            assert answer.envelope == change[3], answer
            assert "full" in answer.text and "make room" in answer.text, answer
            refused.append(answer)
        health = await here.ask("/healthz", "GET", "", who="")
        assert health.status == 503 and "full" in str(health.body), health
        listed = await here.ask("baremetal", "GET", "/v1/nodes")
        assert listed.status == 200
        (state / "fill").unlink()
        for change in CHANGES:
            assert (await changed(here, change, "after")).status < 300
        for number in range(300):
            if (await here.ask("/healthz", "GET", "", who="")).status == 200:
                break
            await changed(here, CHANGES[0], f"again-{number}")
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("healthz stays 503")
    told = here.log()
    assert "Traceback" not in told, told[-3000:]
    assert told.count("make room") == 1, told
    assert "writes again" in told


async def test_health_tells_of_it_before(tmp_path: Path) -> None:
    async with site(tmp_path, small_state=True) as here:
        assert here.child is not None
        state = Path(f"/proc/{here.child.pid}/root{here.state}")
        free = 1 << 62
        with (state / "fill").open("wb", buffering=0) as fill:
            while free > 4 << 20:
                fill.write(b"\0" * (1 << 20))
                facts = os.statvfs(state)
                free = facts.f_bavail * facts.f_frsize
        health = await here.ask("/healthz", "GET", "", who="")
        assert health.status == 503 and "KiB left" in str(health.body), health
        assert (await changed(here, CHANGES[0], "x")).status == 201
