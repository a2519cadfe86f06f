"""The power loop over controllers that speak Redfish and IPMI on the wire, some of them dead or slow."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from api_support import World, world

from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.services.baremetal import BaremetalSettings
from ingot.services.baremetal.monitoring.power_sync import PowerSync
from ingot.services.baremetal.monitoring.readings import POWER_FAILURE

pytestmark = pytest.mark.anyio

DEAD: dict[str, object] = {"bmc_silent": -1}
#: Five seconds a reading: one answer over Redfish, six packets over IPMI.
SLOW: dict[str, dict[str, object]] = {
    "redfish": {"reply_delay": (5.0, 5.0)},
    "ipmi": {"reply_delay": (0.8, 0.8)},
}


@contextlib.asynccontextmanager
async def site(
    folder: Path, count: int, speed: float = 1.0, **settings: Any
) -> AsyncIterator[tuple[World, Fleet]]:
    """So many simulated machines, enrolled and available."""
    async with (
        world(folder, clock=SystemClock(), settings=BaremetalSettings(**settings)) as api,
        Fleet(FleetOptions(count=count, seed=11, speed=speed)) as fleet,
    ):
        for entry in fleet.enrolment()["nodes"]:
            kept = {name: entry[name] for name in ("name", "driver", "driver_info")}
            # Nodes made with an old version are available at once.
            assert (await api.ask("POST", "/v1/nodes", kept, version="1.10")).status == 201
        yield api, fleet


@contextlib.asynccontextmanager
async def watched(api: World) -> AsyncIterator[PowerSync]:
    """The loop as the app runs it."""
    sync = PowerSync(api.baremetal.ctx)

    async def run() -> None:
        while True:
            await sync.look()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(run())
    try:
        yield sync
    finally:
        task.cancel()
        await sync.stop()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await true():
            await asyncio.sleep(0.05)


async def shown(api: World, name: str) -> dict[str, Any]:
    return (await api.ask("GET", f"/v1/nodes/{name}")).json


async def test_dead_and_slow_controllers_delay_no_healthy_one(tmp_path: Path) -> None:
    """Fewer places than dead controllers: whoever lets them wait in the same queue stands still for a minute."""
    period, reads = 3.0, 4
    async with site(tmp_path, 200, power_sync_interval=period, power_sync_workers=6) as (
        api,
        fleet,
    ):
        names = list(fleet.machines)
        dead, slow, healthy = names[:10], names[10:20], names[20:]
        for name in (*dead, *slow):
            fleet.inject(name, DEAD if name in dead else SLOW[fleet.unit(name).protocol])

        async def all_were_read() -> bool:
            return all(len(fleet.bmc(name).told_power_at) >= reads for name in healthy)

        async def the_slow_too() -> bool:
            return all(fleet.bmc(name).told_power_at for name in slow)

        async with watched(api) as sync:
            await until(all_were_read, 90)
            await until(the_slow_too)
            assert sync.report.read >= reads * len(healthy)
        for name in healthy:
            gaps = [b - a for a, b in itertools.pairwise(fleet.bmc(name).told_power_at)]
            # Twice the period is the aim (bench/bmc.py); a machine that is busy with tests gets more. Who waits
            # for the dead waits for a minute.
            assert max(gaps) < 30, (name, gaps)
        assert not any(fleet.bmc(name).told_power_at for name in dead)
        for name in slow:
            assert (await shown(api, name))["power_state"] == "power off"


@pytest.mark.parametrize("number", [0, 1], ids=["redfish", "ipmi"])
async def test_what_happens_outside_is_seen(tmp_path: Path, number: int) -> None:
    """Power that somebody switched, mains that are gone, and mains that come back."""
    settings = {"power_sync_interval": 1.0, "power_sync_retries": 2}
    async with site(tmp_path, 2, speed=50, **settings) as (api, fleet), watched(api):
        name = list(fleet.machines)[number]

        def node_has(**wanted: Any) -> Callable[[], Awaitable[bool]]:
            async def found() -> bool:
                node = await shown(api, name)
                return {key: node[key] for key in wanted} == wanted

            return found

        await until(node_has(power_state="power off", health="OK"))
        await fleet.machine(name).power_on()
        await until(node_has(power_state="power on"))
        history = (await api.ask("GET", f"/v1/nodes/{name}/history?detail=true")).json["history"]
        assert "without a request" in history[-1]["event"]
        await fleet.pull_plug(name)
        await until(node_has(maintenance=True, fault=POWER_FAILURE))
        assert "2 times in a row" in (await shown(api, name))["maintenance_reason"]
        await fleet.plug_in(name)
        back = node_has(maintenance=False, fault=None, power_state="power off")
        await until(back)


async def test_a_corrected_password_is_used_at_once(tmp_path: Path) -> None:
    """How a controller is reached is kept between readings, but not beyond a change of the node."""
    settings = {"power_sync_interval": 1.0, "power_sync_retries": 1}
    async with site(tmp_path, 1, **settings) as (api, _), watched(api):
        (name,) = [n["name"] for n in (await api.ask("GET", "/v1/nodes")).json["nodes"]]

        async def in_maintenance() -> bool:
            return (await shown(api, name))["maintenance"]

        async def well() -> bool:
            return (
                not await in_maintenance() and (await shown(api, name))["power_state"] is not None
            )

        async def password(text: str) -> None:
            change = {"op": "add", "path": "/driver_info/redfish_password", "value": text}
            assert (await api.ask("PATCH", f"/v1/nodes/{name}", [change])).status == 200

        await until(well)
        await password("wrong")
        await until(in_maintenance)
        await password("simulated")
        await until(well)


async def test_sensors_are_read_in_the_machines_own_turn(tmp_path: Path) -> None:
    settings = {"power_sync_interval": 1.0, "sensor_interval": 2.0, "sensors_of_undeployed": True}
    async with site(tmp_path, 2, **settings) as (api, fleet), watched(api) as sync:
        redfish, ipmi = fleet.machines

        async def both_told() -> bool:
            text = sync.text().decode()
            return (
                f'baremetal_temp_cpu_celsius{{node_name="{redfish}"' in text
                and f'baremetal_power_status{{node_name="{redfish}"' in text
                and f'baremetal_drive_status{{node_name="{redfish}"' in text
                and f'baremetal_fan_rpm{{node_name="{ipmi}"' in text
                and f'baremetal_inlet_temp_celsius{{node_name="{ipmi}"' in text
            )

        await until(both_told)
        assert "ingot_bmc_polls_total" in sync.text().decode()
        assert sync.report.failed == 0


async def test_only_active_machines_sensors_are_read_unless_told(tmp_path: Path) -> None:
    settings = {"power_sync_interval": 0.5, "sensor_interval": 0.5}
    async with site(tmp_path, 1, **settings) as (api, fleet), watched(api) as sync:
        (name,) = fleet.machines

        async def read(times: int) -> bool:
            return sync.report.read >= times

        await until(lambda: read(4))
        assert b"baremetal_" not in sync.text()
        await api.force(name, provision_state="active")

        async def told() -> bool:
            return b"baremetal_temp_cpu_celsius" in sync.text()

        await until(told)


async def test_health_is_what_the_controller_says(tmp_path: Path) -> None:
    async with site(tmp_path, 2, power_sync_interval=0.5) as (api, fleet), watched(api):
        for name in fleet.machines:
            fleet.inject(name, {"health": "Critical"})

            async def critical(name: str = name) -> bool:
                return (await shown(api, name))["health"] == "Critical"

            await until(critical)
        listed = (await api.ask("GET", "/v1/nodes?fields=health")).json["nodes"]
        assert [node["health"] for node in listed] == ["Critical"] * 2
        assert "health" not in (await api.ask("GET", f"/v1/nodes/{name}", version="1.108")).json
        fleet.heal(name)

        async def noted() -> bool:
            path = f"/v1/nodes/{name}/history?detail=true"
            return any(
                entry["event"] == "Health changed from Critical to OK."
                for entry in (await api.ask("GET", path)).json["history"]
            )

        await until(noted)
