"""Each personality that changes how a machine boots or works shows what it says."""

from __future__ import annotations

import asyncio

import pytest
from sim_conductor import FakeConductor, Node

from ingot.lab.sim import AgentOptions, BootDevice, PowerState

pytestmark = pytest.mark.anyio


def only(conductor: FakeConductor) -> Node:
    return next(iter(conductor.nodes.values()))


async def start(conductor: FakeConductor, node: Node) -> None:
    node.new_boot("agent")
    await conductor.set_boot(node, "Pxe")
    await conductor.reset(node, "On")


async def test_nic_order_asks_by_the_other_nic_first(rig) -> None:
    async with rig(personalities={"nic-order": 1.0}) as (fleet, conductor):
        await conductor.boot_agent(only(conductor))
        first, second = fleet.machine("sim-0000").hardware.nics
        assert conductor.boot_asks == [second.mac] * 3 + [first.mac]


async def test_late_link_fails_one_boot_only(rig) -> None:
    async with rig(personalities={"link-late": 1.0}) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await start(conductor, node)
        await machine.wait_for("no-os")
        assert conductor.boot_asks == []
        await conductor.reset(node, "ForceRestart")
        await conductor.next_beat(node)


async def test_mute_agent_calls_after_a_power_cycle(rig) -> None:
    async with rig(personalities={"agent-mute-once": 1.0}) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await start(conductor, node)
        async with asyncio.timeout(10):
            while all(entry.what != "agent mute" for entry in machine.timeline):
                await asyncio.sleep(0.005)
        await conductor.reset(node, "ForceRestart")
        await conductor.next_beat(node)
        assert machine.boots == 2 and node.lookups == 1


async def test_lost_override_tries_the_disk_alone(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        fleet.inject("sim-0000", {"boot_override_lost": 1})
        await start(conductor, node)
        await machine.wait_for("no-os")
        assert conductor.boot_asks == []
        await conductor.set_boot(node, "Pxe")
        await conductor.reset(node, "ForceRestart")
        await conductor.next_beat(node)


async def test_sticky_override_outlives_its_boot(rig) -> None:
    async with rig(personalities={"override-sticks": 1.0}) as (fleet, conductor):
        await conductor.boot_agent(only(conductor))
        setting = await fleet.machine("sim-0000").boot_setting()
        assert (setting.device, setting.once) == (BootDevice.NETWORK, False)
    async with rig() as (fleet, conductor):
        await conductor.boot_agent(only(conductor))
        assert (await fleet.machine("sim-0000").boot_setting()).device is BootDevice.NONE


async def test_flaky_download_is_healed_by_the_agent(rig) -> None:
    options = AgentOptions(image_fetch="full")
    async with rig(agent=options, personalities={"flaky-download": 1.0}) as (fleet, conductor):
        node = only(conductor)
        await conductor.boot_agent(node)
        assert (await conductor.write(node))["command_status"] == "SUCCEEDED"
        assert conductor.image_gets >= 2
        notes = [entry.what for entry in fleet.machine("sim-0000").timeline]
        assert notes.count("download failed") >= 2


async def test_erase_error_is_a_failed_step(rig) -> None:
    async with rig(personalities={"erase-error": 1.0}) as (_, conductor):
        node = only(conductor)
        await conductor.boot_agent(node)
        done = await conductor.command(
            node,
            "clean.execute_clean_step",
            wait=True,
            step={"interface": "deploy", "step": "erase_devices_metadata"},
            node={"uuid": node.uuid},
            ports=[],
        )
        assert done["command_status"] == "FAILED"
        assert done["command_error"]["type"] == "BlockDeviceEraseError"


async def test_duplicate_uuids_differ_in_serial(rig) -> None:
    async with rig(count=2, personalities={"duplicate-uuid": 1.0}) as (_, conductor):
        systems = [
            await conductor.redfish(node, "GET", "/redfish/v1/Systems/1")
            for node in conductor.nodes.values()
        ]
        assert systems[0]["UUID"] == systems[1]["UUID"]
        assert systems[0]["SerialNumber"] != systems[1]["SerialNumber"]


async def test_wrong_password_in_the_enrolment_is_refused(rig) -> None:
    async with rig(personalities={"wrong-password": 1.0}) as (fleet, conductor):
        with pytest.raises(RuntimeError, match="401"):
            await conductor.reset(only(conductor), "On")
        assert fleet.machine("sim-0000").power is PowerState.OFF
        assert fleet.bmc("sim-0000").commands == []
