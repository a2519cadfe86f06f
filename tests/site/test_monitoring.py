"""A real process over simulated controllers: sensors and counts at /metrics, events over the provisioning listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.site.server import free_port, site

pytestmark = pytest.mark.anyio


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.1)


async def test_metrics_and_events(tmp_path: Path) -> None:
    boot = free_port()
    sections = {
        "provisioning": {"listen": f"127.0.0.1:{boot}"},
        "baremetal": {"power_sync_seconds": 1},
        "monitoring": {
            "sensor_seconds": 2,
            "sensors_of_undeployed": True,
            "event_url": f"http://127.0.0.1:{boot}",
            "event_poll_seconds": 3600,
        },
    }
    async with site(tmp_path, 1, **sections) as here:
        assert here.fleet is not None
        (name,) = here.fleet.machines
        uuid = await here.provide(name)

        async def metrics_have(text: str) -> bool:
            return text in str((await here.ask("", "GET", "/metrics", who="")).body)

        await until(lambda: metrics_have(f'baremetal_temp_cpu_celsius{{node_name="{name}"'))
        assert await metrics_have("ingot_bmc_polls_total")
        assert await metrics_have("ingot_database_statements_total ")

        async def heard(text: str) -> bool:
            path = f"/v1/events?subject=node:{uuid}"
            told = (await here.ask("/timeline", "GET", path, status=200)).body["events"]
            return any(e["kind"] == "controller event" and text in e["title"] for e in told)

        await until(lambda: heard("Test event"))
        assert (await here.node(uuid))["power_state"] == "power off"
        await here.fleet.machine(name).power_on()

        async def is_on() -> bool:
            return (await here.node(uuid))["power_state"] == "power on"

        await until(is_on)
        await until(lambda: heard("has powered on"))
