"""Steps as clients ask for them, over simulated machines: by the agent, by the driver, by ourselves; held, waited
for, aborted; on machines that must not be switched off."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from ingot.lab.sim import ALWAYS
from ingot.services.baremetal import PatchOperation, store
from ingot.workflow import live_operation, steps
from ingot.workflow import operations as operations_of
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

ERASE = {"interface": "deploy", "step": "erase_devices_metadata"}
BURN = {"interface": "deploy", "step": "burnin_cpu"}
HOLD = {"interface": "power", "step": "hold"}
REBOOT = {"interface": "power", "step": "reboot"}
WAIT = {"interface": "power", "step": "wait", "args": {"seconds": 1}}


async def begin(here: Site, uuid: str, state: str, verb: str, **extras: Any) -> None:
    await here.db.write(lambda conn: store.update_node(conn, uuid, provision_state=state))
    await here.prepare(uuid)
    await here.verb(uuid, verb, **extras)


async def parked(here: Site, uuid: str, state: str) -> None:
    """Wait until the node is in a state in which its operation waits."""
    ends = time.monotonic() + 60
    while True:
        live = await here.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
        node = await here.node(uuid)
        if live is not None and live.waiting_for and node.provision_state == state:
            return
        assert time.monotonic() < ends, await here.story(uuid)
        await asyncio.sleep(0.02)


async def told(here: Site, uuid: str, kind: str) -> list[str]:
    """Labels of the steps of the node's last operation of a kind."""

    def query(conn: Any) -> list[str]:
        found = next(op for op in operations_of(conn, f"node:{uuid}", limit=5) if op.kind == kind)
        return [step.label for step in steps(conn, found.id)]

    return await here.db.read(query)


async def test_manual_cleaning_with_a_hold_and_a_restart(database: str) -> None:
    async with site(1, database=database, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        await begin(here, uuid, "manageable", "clean", steps=[BURN, HOLD, REBOOT, WAIT, ERASE])
        await parked(here, uuid, "clean hold")
        row = await here.node(uuid)
        assert row.target_provision_state == "manageable"
        await here.verb(uuid, "unhold")
        assert await here.rest(uuid) == "manageable", await here.story(uuid)
        machine = here.fleet.machine(row.name or "")
        assert {act.act for act in machine.destructive_acts} == {"erase_devices_metadata"}
        labels = await told(here, uuid, "clean")
        assert "clean step [1 deploy.burnin_cpu]" in labels
        assert "power on [3 power.reboot]" in labels, "the agent was not started anew"
        assert "clean step [5 deploy.erase_devices_metadata]" in labels


async def test_an_abort_of_what_may_be_aborted_is_immediate() -> None:
    async with site(2, protocols=("redfish",)) as here:
        one, two = await here.enrol("manageable")
        for uuid in (one, two):
            await begin(here, uuid, "manageable", "clean", steps=[HOLD])
        await parked(here, one, "clean hold")
        await here.verb(one, "abort")
        assert await here.rest(one) == "clean failed"
        assert (await here.node(one)).maintenance is False
        await parked(here, two, "clean hold")
        await here.verb(two, "unhold")
        assert await here.rest(two) == "manageable"


async def test_a_step_that_fails_puts_its_node_into_maintenance() -> None:
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        here.fleet.inject((await here.node(uuid)).name or "", {"erase_errors": ALWAYS})
        await begin(here, uuid, "manageable", "clean", steps=[ERASE])
        assert await here.rest(uuid) == "clean failed", await here.story(uuid)
        node = await here.node(uuid)
        assert (node.maintenance, node.fault) == (True, "clean failure")
        reason = await here.db.read(lambda conn: store.maintenance_reason(conn, uuid))
        assert "The agent says" in str(reason)
        await here.db.write(lambda conn: here.baremetal.set_maintenance(conn, uuid, False))
        assert (await here.node(uuid)).fault is None


async def test_a_service_that_is_given_up_starts_the_instance_again(database: str) -> None:
    async with site(1, database=database, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("active")
        await begin(here, uuid, "active", "service", steps=[BURN, HOLD])
        await parked(here, uuid, "service hold")
        machine = here.fleet.machine((await here.node(uuid)).name or "")
        assert machine.running == "agent"
        # Other steps instead: the held service makes way.
        await here.verb(uuid, "service", steps=[HOLD, BURN])
        assert (await here.node(uuid)).provision_state == "servicing"
        await parked(here, uuid, "service hold")
        await here.verb(uuid, "abort")
        assert await here.rest(uuid) == "active", await here.story(uuid)
        labels = await told(here, uuid, "restore")
        assert "start the instance" in labels
        node = await here.node(uuid)
        assert node.power_state == "power on" and not node.maintenance
        assert machine.running != "agent"
        assert (node.boot_intent or {}).get("boot") == "disk"


async def test_a_machine_that_must_not_be_off() -> None:
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        change = PatchOperation(op="add", path="/disable_power_off", value=True)
        await here.db.write(lambda conn: here.baremetal.patch(conn, uuid, [change]))
        machine = here.fleet.machine((await here.node(uuid)).name or "")
        await begin(here, uuid, "manageable", "provide")
        assert await here.rest(uuid) == "available", await here.story(uuid)
        await begin(here, uuid, "available", "active")
        assert await here.rest(uuid) == "active", await here.story(uuid)
        assert machine.power.value == "on"
        await machine.wait_for("instance", timeout=10)
        assert not [entry for entry in machine.timeline if entry.what.endswith("power-off")]
