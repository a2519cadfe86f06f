"""The power loop: what changed outside is recorded, dead controllers lead to maintenance and back."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, world

from ingot.drivers.machine.types import PowerState
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import SystemClock
from ingot.services.baremetal.monitoring.power_sync import POWER_FAILURE, PowerSync

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, clock=SystemClock()) as made:
        yield made


async def node(api: World, name: str, **columns: Any) -> str:
    made = await api.node(name=name, driver_info={"fake_id": name})
    await api.force(name, **{"provision_state": "available", **columns})
    return made["uuid"]


def machine(api: World, name: str) -> Any:
    return api.baremetal.ctx.registry.context.world.machine(name)


async def shown(api: World, name: str) -> dict[str, Any]:
    return (await api.ask("GET", f"/v1/nodes/{name}")).json


async def test_only_idle_nodes_are_read(api: World) -> None:
    await node(api, "idle")
    await node(api, "busy", reservation="host-1")
    await node(api, "switching", target_power_state="power on")
    await node(api, "cleaning", provision_state="cleaning")
    await node(api, "waiting", provision_state="wait call-back")
    await node(api, "new", provision_state="enroll")
    await node(api, "serviced", maintenance=True)
    await node(api, "lost", maintenance=True, fault=POWER_FAILURE)
    report = await PowerSync(api.baremetal.ctx).run()
    assert report.read == 2
    assert (await shown(api, "idle"))["power_state"] == "power off"
    assert (await shown(api, "busy"))["power_state"] is None


async def test_a_change_from_outside_is_recorded(api: World) -> None:
    uuid = await node(api, "n1", power_state="power off")
    machine(api, "n1").switch(PowerState.ON)
    report = await PowerSync(api.baremetal.ctx).run()
    assert report.changed == 1
    assert (await shown(api, "n1"))["power_state"] == "power on"
    history = (await api.ask("GET", "/v1/nodes/n1/history?detail=true")).json["history"]
    assert "without a request" in history[-1]["event"] and history[-1]["event_type"] == "power"
    found = await api.db.read(lambda conn: events.query(conn, subject=f"node:{uuid}"))
    assert [e.kind for e in found][-1] == "power changed"
    assert (await PowerSync(api.baremetal.ctx).run()).changed == 0


async def test_three_failures_then_recovery(api: World) -> None:
    await node(api, "n1", power_state="power off")
    patch = [{"op": "add", "path": "/driver_info/fake_fail", "value": "power.get=1:unreachable"}]
    await api.ask("PATCH", "/v1/nodes/n1", patch)
    sync = PowerSync(api.baremetal.ctx)
    for _ in range(2):
        assert (await sync.run()).given_up == 0
        assert (await shown(api, "n1"))["maintenance"] is False
    assert (await sync.run()).given_up == 1
    lost = await shown(api, "n1")
    assert (lost["maintenance"], lost["fault"]) == (True, POWER_FAILURE)
    assert "3 times" in lost["maintenance_reason"] and lost["last_error"]
    assert (await sync.run()).given_up == 0
    remove = [{"op": "remove", "path": "/driver_info/fake_fail"}]
    await api.ask("PATCH", "/v1/nodes/n1", remove)
    assert (await sync.run()).recovered == 1
    back = await shown(api, "n1")
    assert (back["maintenance"], back["fault"], back["maintenance_reason"]) == (False, None, None)


async def test_a_good_reading_forgets_failures(api: World) -> None:
    await node(api, "n1", power_state="power off")
    sync = PowerSync(api.baremetal.ctx)
    fail = [{"op": "add", "path": "/driver_info/fake_fail", "value": "power.get=1:busy"}]
    heal = [{"op": "remove", "path": "/driver_info/fake_fail"}]
    for patch in (fail, fail, heal, fail, fail):
        await api.ask("PATCH", "/v1/nodes/n1", patch)
        await sync.run()
    assert (await shown(api, "n1"))["maintenance"] is False


async def test_an_operators_maintenance_is_left_alone(api: World) -> None:
    await node(api, "n1", power_state="power off")
    await api.ask("PUT", "/v1/nodes/n1/maintenance", {"reason": "mine"})
    await PowerSync(api.baremetal.ctx).run()
    assert (await shown(api, "n1"))["maintenance_reason"] == "mine"


async def test_machines_that_humans_switch_are_left_alone(api: World) -> None:
    await api.node(name="by-hand", driver="manual-management")
    await api.force("by-hand", provision_state="available")
    sync = PowerSync(api.baremetal.ctx)
    for _ in range(4):
        assert (await sync.run()).failed == 0
    assert (await shown(api, "by-hand"))["maintenance"] is False


async def test_many_nodes_are_read_side_by_side(api: World) -> None:
    for number in range(80):
        await api.node(
            name=f"n{number}",
            driver_info={"fake_id": f"n{number}", "fake_delay": "power.get=fixed:0.1"},
        )
        await api.force(f"n{number}", provision_state="available")
    async with asyncio.timeout(4):
        assert (await PowerSync(api.baremetal.ctx).run()).read == 80


async def test_dead_controllers_delay_no_other(api: World) -> None:
    """Many that do not answer, few places, and a healthy one that is read in time all the same."""
    settings = dataclasses.replace(
        api.baremetal.ctx.settings, power_sync_interval=1, power_sync_workers=2
    )
    ctx = dataclasses.replace(api.baremetal.ctx, settings=settings)
    for number in range(6):
        info = {"fake_id": f"dead{number}", "fake_delay": "power.get=fixed:600"}
        await api.node(name=f"dead{number}", driver_info=info)
        await api.force(f"dead{number}", provision_state="available", power_state="power off")
    await node(api, "well", power_state="power off")
    sync = PowerSync(ctx)
    async with asyncio.timeout(60):
        while not sync.report.changed:
            machine(api, "well").switch(PowerState.ON)
            await sync.look()
            await asyncio.sleep(0.02)
    await sync.stop()
    assert (await shown(api, "well"))["power_state"] == "power on"
