"""Whole life-cycles of healthy and broken machines, driven over the wire."""

from __future__ import annotations

import asyncio
import hashlib
import ssl

import aiohttp
import pytest
from sim_conductor import DIGEST, IMAGE, FakeConductor, Node

from ingot.lab.sim import ALWAYS, AgentOptions, Fleet, Machine, PowerState

pytestmark = pytest.mark.anyio


def only(conductor: FakeConductor) -> Node:
    return next(iter(conductor.nodes.values()))


async def test_a_whole_deploy_reaches_the_instance(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.deploy(node)
        await machine.wait_for("instance")
        assert machine.image is not None and machine.image.complete
        assert machine.image.digest == DIGEST and machine.image.size == len(IMAGE)
        assert machine.image.configdrive_digest == hashlib.sha256(b"hello").hexdigest()
        assert [act.act for act in machine.destructive_acts] == ["write_image"]
        assert machine.destructive_acts[0].node == node.uuid
        assert machine.boots == 2
        assert "login:" in machine.serial.text()
        powers = [c.command for c in fleet.bmc("sim-0000").commands]
        assert powers == ["boot network once uefi", "power on", "power on"]


async def test_a_machine_boots_when_its_boot_server_is_back(rig) -> None:
    """Firmware asks for an address for a minute of our time, not of its own, which passes faster here."""
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        node.new_boot("agent")
        conductor.away = True
        await conductor.reset(node, "On")
        async with asyncio.timeout(50):
            while conductor.first_asks < 8:
                await asyncio.sleep(0.01)
        assert machine.timeline[-1].what != "no-os" and not conductor.boot_asks
        conductor.away = False
        await conductor.next_beat(node)
        assert machine.boots == 1


async def test_agents_certificate_is_checked_by_address(rig) -> None:
    async with rig() as (_, conductor):
        node = only(conductor)
        await conductor.boot_agent(node)
        assert node.callback.startswith("https://127.")
        status, body = await conductor.ask_agent(node, "GET", "/v1/status")
        assert status == 200 and body["version"] == "13.0.0"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            async with conductor.http.get(node.callback, ssl=ssl.create_default_context()):
                pass


async def test_inspection_posts_before_lookup(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.boot_agent(node, "inspect")
        assert node.inspection is not None
        inventory = node.inspection["inventory"]
        assert inventory["system_vendor"]["serial_number"] == machine.identity.serial
        assert inventory["bmc_address"] == machine.bmc_address
        assert node.inspection["root_disk"]["name"] == "/dev/sda"
        whats = [entry.what for entry in machine.timeline]
        assert whats.index("inspection posted") < whats.index("lookup")


async def step_to_agent(conductor: FakeConductor, node: Node, machine: Machine) -> None:
    node.new_boot("agent")
    await conductor.reset(node, "On")
    for label in ("power-on", "post", "pxe", "agent-start"):
        await machine.step(label)
    await conductor.next_beat(node)


async def test_clean_steps_erase_and_are_recorded(rig) -> None:
    async with rig(stepped=True) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await step_to_agent(conductor, node, machine)
        step = {"interface": "deploy", "step": "erase_devices_metadata"}
        versions = {"generic_hardware_manager": "1.2"}
        who = {"node": {"uuid": node.uuid}, "ports": []}
        command = await conductor.command(
            node, "clean.execute_clean_step", step=step, clean_version=versions, **who
        )
        assert command["command_status"] == "RUNNING"
        busy, body = await conductor.ask_agent(
            node, "POST", "/v1/commands/", {"name": "standby.sync", "params": {}}
        )
        assert busy == 409 and body["faultstring"].startswith("Agent is busy: executing command")
        await machine.step("command")
        await machine.step("heartbeat-forced")
        done = await conductor.finished(node, command)
        assert done["command_result"] == {"clean_result": None, "clean_step": step}
        assert {act.disk for act in machine.destructive_acts} == {"/dev/sda", "/dev/sdb"}
        other = await conductor.command(
            node,
            "clean.execute_clean_step",
            wait=True,
            step=step,
            clean_version={"generic_hardware_manager": "0.1"},
            **who,
        )
        assert other["command_status"] == "CLEAN_VERSION_MISMATCH"
        assert len(machine.destructive_acts) == 2


async def test_refusals_of_the_agents_api(rig) -> None:
    async with rig() as (_, conductor):
        node = only(conductor)
        await conductor.boot_agent(node)

        async def post(body: object, **query: str) -> tuple[int, str]:
            status, answer = await conductor.ask_agent(node, "POST", "/v1/commands/", body, **query)
            return status, answer["faultstring"]

        assert await post({"name": "standby.sync"}) == (
            400,
            "400 Bad Request: Missing or invalid name or params",
        )
        assert (await post({"name": "standby.nothing", "params": {}}))[0] == 400
        assert (await post({"name": "nothing.sync", "params": {}}))[0] == 404
        assert (await post({"name": "sync", "params": {}}))[0] == 400
        node.token, good = "wrong" * 8, node.token
        assert await post({"name": "standby.sync", "params": {}}) == (
            401,
            "401 Unauthorized: Token invalid.",
        )
        node.token = good
        status, _ = await conductor.ask_agent(node, "GET", "/v1/commands/none")
        assert status == 404


async def test_checksum_mismatch_fails_after_the_agents_retries(rig) -> None:
    async with rig(agent=AgentOptions(image_fetch="full")) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.boot_agent(node)
        done = await conductor.write(node, conductor.image_info(os_hash_value="0" * 128))
        assert done["command_status"] == "FAILED"
        assert done["command_error"]["type"] == "ImageChecksumError"
        assert conductor.image_gets == 10
        assert machine.image is not None and not machine.image.complete
        missing = await conductor.write(
            node, conductor.image_info(urls=[f"{conductor.url}/absent"])
        )
        assert missing["command_error"]["type"] == "ImageDownloadFatalError"
        unchecked = await conductor.write(
            node, {"id": "x", "urls": [f"{conductor.url}/files/image.raw"]}
        )
        assert unchecked["command_error"]["type"] == "InvalidCommandParamsError"


async def test_second_machine_only_probes_a_known_image(rig) -> None:
    async with rig(count=2) as (_, conductor):
        for node in conductor.nodes.values():
            await conductor.boot_agent(node)
            assert (await conductor.write(node))["command_status"] == "SUCCEEDED"
        assert (conductor.image_gets, conductor.image_ranges) == (1, 2)


async def test_reset_in_the_agent_means_a_new_token(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.boot_agent(node)
        await conductor.reset(node, "ForceRestart")
        # The controller has not made a new token, so the new agent must lock itself down.
        await machine.wait_for("post", timeout=5)
        await machine.wait_for("locked", timeout=10)
        with pytest.raises(aiohttp.ClientError):
            await conductor.ask_agent(node, "GET", "/v1/status")


async def test_locked_node_makes_the_agent_wait(rig) -> None:
    async with rig() as (_, conductor):
        node = only(conductor)
        node.locked_lookups = 2
        await conductor.boot_agent(node)
        assert node.lookups == 3


async def test_rescue_ends_the_agent(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.boot_agent(node)
        done = await conductor.command(
            node, "rescue.finalize_rescue", rescue_password="$6$x", hashed=True
        )
        assert done["command_status"] == "SUCCEEDED"
        await machine.wait_for("rescue")


async def test_vanishing_agent_leaves_half_a_disk_and_a_power_cycle_heals(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        fleet.inject("sim-0000", "agent-vanishes-in-write")
        await conductor.boot_agent(node)
        with pytest.raises((TimeoutError, aiohttp.ClientError)):
            await asyncio.wait_for(conductor.write(node), 2)
        assert machine.image is not None and not machine.image.complete
        await conductor.reset(node, "ForceOff")
        await conductor.power_is(node, "Off")
        await conductor.boot_agent(node)
        assert (await conductor.write(node))["command_status"] == "SUCCEEDED"
        assert len(machine.destructive_acts) == 2


async def test_restarted_agent_is_given_no_second_token(rig) -> None:
    async with rig() as (fleet, conductor):
        node = only(conductor)
        fleet.inject("sim-0000", "agent-loses-token")
        await conductor.boot_agent(node)
        with pytest.raises((TimeoutError, aiohttp.ClientError)):
            await asyncio.wait_for(conductor.write(node), 2)
        assert await fleet.machine("sim-0000").wait_for("locked")


async def test_disk_error_is_the_agents_own(rig) -> None:
    async with rig() as (fleet, conductor):
        node = only(conductor)
        fleet.inject("sim-0000", {"disk_write_errors": ALWAYS})
        await conductor.boot_agent(node)
        done = await conductor.write(node)
        assert done["command_error"]["type"] == "ImageWriteError"
        assert (
            "Input/output error"
            in done["command_error"]["message"] + (done["command_error"]["details"])
        )


async def test_clock_ahead_makes_the_certificate_of_the_future(rig) -> None:
    async with rig(personalities={"clock-ahead": 1.0}) as (_, conductor):
        node = only(conductor)
        await conductor.boot_agent(node)
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="not yet valid"):
            await conductor.ask_agent(node, "GET", "/v1/status")


async def test_wrong_mac_never_boots(rig) -> None:
    async with rig(personalities={"wrong-mac": 1.0}) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        node.new_boot("agent")
        await conductor.reset(node, "On")
        await machine.wait_for("no-os")
        assert len(conductor.boot_asks) == 6 and node.mac not in conductor.boot_asks


async def test_swapped_bmcs_command_the_other_machine(rig) -> None:
    async with rig(count=2) as (fleet, conductor):
        first = next(iter(conductor.nodes.values()))
        fleet.swap_bmcs("sim-0000", "sim-0001")
        system = await conductor.redfish(first, "GET", "/redfish/v1/Systems/1")
        assert system["UUID"] == fleet.machine("sim-0001").identity.uuid
        await conductor.reset(first, "On")
        await fleet.machine("sim-0001").wait_for("netboot", "agent")
        assert fleet.machine("sim-0000").power is PowerState.OFF


async def test_pulled_plug(rig) -> None:
    async with rig() as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        await conductor.boot_agent(node)
        await fleet.pull_plug("sim-0000")
        assert machine.power is PowerState.OFF and machine.running == "off"
        with pytest.raises(aiohttp.ClientConnectorError):
            await conductor.redfish(node, "GET", "/redfish/v1/Systems/1")
        await fleet.plug_in("sim-0000")
        await conductor.power_is(node, "Off")


async def run_trace(rig, seed: int) -> list[list[tuple[str, str]]]:
    async with rig(count=6, seed=seed, personalities={"reboots-twice": 0.5}) as (fleet, conductor):
        await asyncio.gather(*(conductor.deploy(node) for node in conductor.nodes.values()))
        machines: Fleet = fleet
        traces = []
        for machine in machines.machines.values():
            await machine.wait_for("instance")
            states = ("post", "netboot", "agent", "instance", "off")
            trace = [(e.what, "") for e in machine.timeline if e.what in states]
            traces.append([(machine.identity.uuid, machine.personality), *trace])
        return traces


async def test_a_seed_reproduces_the_run(rig) -> None:
    first = await run_trace(rig, 11)
    assert first == await run_trace(rig, 11)
    assert first != await run_trace(rig, 12)


async def test_stepped_time(rig) -> None:
    async with rig(stepped=True) as (fleet, conductor):
        node, machine = only(conductor), fleet.machine("sim-0000")
        node.new_boot("agent")
        await conductor.reset(node, "On")
        assert machine.power is PowerState.OFF
        for label in ("power-on", "post", "pxe"):
            assert await machine.step() == label
        assert await machine.step("agent-start") == "agent-start"
        await conductor.next_beat(node)
        assert node.beats == 1
        assert await machine.step("heartbeat") == "heartbeat"
        await conductor.next_beat(node)
        with pytest.raises(TimeoutError, match="pending"):
            await machine.step("no-such-step", timeout=0.05)
