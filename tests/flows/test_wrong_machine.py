"""Exchanged management cables: nothing is erased or written on the wrong machine, and the fault says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ingot.lab.sim import Fleet, Identity
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio


class Liar:
    """A machine that a controller commands while it tells another machine's identity."""

    def __init__(self, machine: Any, identity: Identity) -> None:
        self._machine = machine
        self.identity = identity

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)


def exchange(fleet: Fleet, one: str, other: str) -> None:
    """The cables are crossed, but each controller goes on telling what it told before."""
    a, b = fleet.machine(one), fleet.machine(other)
    fleet.swap_bmcs(one, other)
    fleet.bmc(one).backend = Liar(b, a.identity)
    fleet.bmc(other).backend = Liar(a, b.identity)


async def _stopped(here: Site, uuid: str, verb: str, state: str) -> str:
    """Order a verb that must fail into a state; gives last_error."""
    await here.verb(uuid, verb)
    assert await here.rest(uuid) == state, await here.story(uuid)
    return str(await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid)))


def _untouched(here: Site, owners: dict[str, str]) -> None:
    for name, uuid in owners.items():
        acts = here.fleet.machine(name).destructive_acts
        assert all(act.node == uuid for act in acts), f"{name} was touched: {acts}"


async def _owners(here: Site, uuids: list[str]) -> dict[str, str]:
    return {str((await here.node(uuid)).name): uuid for uuid in uuids}


@pytest.mark.parametrize("protocols", [("redfish",), ("ipmi",)])
async def test_swapped_before_each_verb(protocols: tuple[str, ...]) -> None:
    async with site(2, protocols=protocols) as here:
        one, other = await here.enrol()
        owners = await _owners(here, [one, other])
        for uuid in (one, other):
            await here.verb(uuid, "manage")
            await here.until(uuid, "manageable")
        here.fleet.swap_bmcs(*owners)
        error = await _stopped(here, one, "provide", "clean failed")
        assert "Wrong machine" in error
        assert "sim-0000" in error
        assert "sim-0001" in error
        here.fleet.swap_bmcs(*owners)
        await here.verb(one, "manage")
        await here.verb(one, "provide")
        await here.until(one, "available")
        erased = {n: len(here.fleet.machine(n).destructive_acts) for n in owners}
        here.fleet.swap_bmcs(*owners)
        await here.prepare(one)
        before = len(here.fleet.commands())
        error = await _stopped(here, one, "active", "deploy failed")
        assert "Wrong machine" in error
        assert len(here.fleet.commands()) == before, "the wrong machine was commanded"
        assert {n: len(here.fleet.machine(n).destructive_acts) for n in owners} == erased
        here.fleet.swap_bmcs(*owners)
        await here.verb(one, "active")
        await here.until(one, "active")
        _untouched(here, owners)


async def test_an_agent_that_tells_another_serial_is_not_waited_for() -> None:
    """The board was exchanged, and its controller goes on telling the old one's: nobody asks that agent for its logs."""
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol()
        machine = here.fleet.machine("sim-0000")
        old = replace(machine.identity, serial="ANOTHER")
        here.fleet.bmc("sim-0000").backend = Liar(machine, old)
        await here.verb(uuid, "manage")
        await here.until(uuid, "manageable")
        error = await _stopped(here, uuid, "inspect", "inspect failed")
        assert "Wrong machine" in error and "ANOTHER" in error
        story = str(await here.story(uuid))
        assert "wait for" in story and "keep the agent's logs" not in story


async def test_swapped_in_the_middle_of_a_deploy() -> None:
    async with site(2, protocols=("redfish",)) as here:
        one, other = await here.enrol("available")
        owners = await _owners(here, [one, other])
        await here.prepare(one)
        await here.verb(one, "active")
        await here.fleet.machine("sim-0000").wait_for("netboot", "agent", timeout=20)
        here.fleet.swap_bmcs(*owners)
        # Whatever comes of it, only the right disk was written, and the other machine is not touched.
        state = await here.rest(one)
        assert state in ("active", "deploy failed")
        _untouched(here, owners)
        assert here.fleet.machine("sim-0001").destructive_acts == []


async def test_a_controller_that_starts_an_active_machine_of_another_node() -> None:
    """A's controller says that it is A's, and commands B, which is in use."""
    async with site(2, protocols=("redfish",), hurry=4) as here:
        one, other = await here.enrol()
        owners = await _owners(here, [one, other])
        for uuid in (one, other):
            await here.verb(uuid, "manage")
            await here.until(uuid, "manageable")
        await here.verb(other, "provide")
        await here.until(other, "available")
        await here.prepare(other)
        await here.verb(other, "active")
        await here.until(other, "active")
        users = here.fleet.machine("sim-0001")
        await users.wait_for("instance", timeout=20)
        image, acts = users.image, len(users.destructive_acts)
        exchange(here.fleet, *owners)
        # Firmware whose first choice is the network, as after its settings were lost.
        await users.set_boot(type(await users.boot_setting())())
        error = await _stopped(here, one, "provide", "clean failed")
        assert "Wrong machine" in error
        assert "nodes sim-0000 and sim-0001 may be exchanged" in error
        assert users.hardware.nics[0].mac in error
        # It was started once by a controller that lied; it is neither started again nor switched off.
        await users.wait_for("instance", timeout=20)
        assert (users.image, len(users.destructive_acts)) == (image, acts)
        _untouched(here, owners)


async def test_both_deployed_over_exchanged_controllers_that_lie() -> None:
    """Both agents run, each for its own node, but on the other's controller: seen before anything is written."""
    async with site(2, protocols=("redfish",)) as here:
        uuids = await here.enrol("available")
        owners = await _owners(here, uuids)
        exchange(here.fleet, *owners)
        for uuid in uuids:
            await here.prepare(uuid)
        for uuid in uuids:
            await here.verb(uuid, "active")
        states = [await here.rest(uuid, deadline=100) for uuid in uuids]
        _untouched(here, owners)
        assert "deploy failed" in states
        errors = [
            str(await here.db.read(lambda conn, u=u: here.baremetal.last_error(conn, u)))
            for u in uuids
        ]
        assert any("may be exchanged" in error for error in errors), errors
