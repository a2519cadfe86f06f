"""Fast track: the agent stays up from inspection through cleaning to the deploy; boots are saved, proofs are not."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.workflow import operations, steps
from tests.flows.breaking import STORIES, Break, Breaker
from tests.flows.site import Site, site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def enrolled(here: Site) -> str:
    """One machine whose node wants the fast track, manageable."""
    (uuid,) = await here.enrol()
    request = PatchOperation("add", "/driver_info/fast_track", True)
    await here.db.write(lambda conn: here.baremetal.patch(conn, uuid, [request]))
    await here.verb(uuid, "manage")
    await here.until(uuid, "manageable")
    return uuid


async def go(here: Site, uuid: str, *ways: tuple[str, str]) -> None:
    for verb, state in ways:
        if verb == "active":
            await here.prepare(uuid)
        await here.verb(uuid, verb)
        await here.until(uuid, state)


def power_ons(here: Site) -> int:
    return Counter(one.command for _, one in here.fleet.commands())["power on"]


async def told(here: Site, uuid: str) -> list[str]:
    """Names of the steps of the newest operation."""

    def query(conn: object) -> list[str]:
        (newest,) = operations(conn, f"node:{uuid}", limit=1)  # pyright: ignore[reportArgumentType]
        return [step.name for step in steps(conn, newest.id)]  # pyright: ignore[reportArgumentType]

    return await here.db.read(query)


@pytest.mark.parametrize("protocols", [("redfish",), ("ipmi",)])
async def test_two_boots_from_inspection_to_instance(protocols: tuple[str, ...]) -> None:
    async with site(1, protocols=protocols) as here:
        uuid = await enrolled(here)
        (machine,) = here.fleet.machines.values()
        await go(here, uuid, ("inspect", "manageable"))
        assert machine.running == "agent"
        assert (await here.node(uuid)).power_state == "power on"
        await go(here, uuid, ("provide", "available"))
        assert machine.running == "agent"
        await go(here, uuid, ("active", "active"))
        assert power_ons(here) == 2, "one for the agent, one for the instance"
        assert "prove the machine" in await told(here, uuid), "a saved boot saves no proof"
        acts = [act.act for act in machine.destructive_acts]
        assert acts.count("write_image") == 1
        assert all(act.node == uuid for act in machine.destructive_acts)

        cleaned = len(acts)
        await go(here, uuid, ("deleted", "available"))
        assert machine.running == "agent"
        assert len(machine.destructive_acts) > cleaned, "the instance's data are erased"
        assert power_ons(here) == 3
        # Steps that the same agent has done before are done again.
        cleaned = len(machine.destructive_acts)
        await go(here, uuid, ("manage", "manageable"), ("provide", "available"))
        assert len(machine.destructive_acts) > cleaned
        assert power_ons(here) == 3


async def test_an_agent_that_is_gone_costs_a_boot_and_nothing_else() -> None:
    async with site(1) as here:
        uuid = await enrolled(here)
        (machine,) = here.fleet.machines.values()
        await go(here, uuid, ("provide", "available"))
        before = power_ons(here)
        await machine.power_off()
        await go(here, uuid, ("active", "active"))
        assert power_ons(here) == before + 2


async def test_a_failed_deploy_leaves_no_agent_running() -> None:
    async with site(1) as here:
        uuid = await enrolled(here)
        (machine,) = here.fleet.machines.values()
        await go(here, uuid, ("provide", "available"))
        await here.prepare(uuid)
        wrong = PatchOperation("replace", "/instance_info/image_checksum", "0" * 64)
        await here.db.write(lambda conn: here.baremetal.patch(conn, uuid, [wrong]))
        await here.verb(uuid, "active")
        assert await here.rest(uuid) == "deploy failed"
        assert "take over the running agent" in await told(here, uuid)
        await machine.wait_for("off", timeout=30)
        await go(here, uuid, ("active", "active"))


async def test_without_the_wish_the_machine_is_switched_off() -> None:
    async with site(1) as here:
        (uuid,) = await here.enrol()
        (machine,) = here.fleet.machines.values()
        await go(here, uuid, ("manage", "manageable"), ("provide", "available"))
        assert machine.running == "off"


async def test_a_crash_while_taking_over_changes_nothing() -> None:
    points = [
        (point, label)
        for label in (
            "attach the provisioning network",
            "take over the running agent",
            "prove the machine [running]",
        )
        for point in ("before", "done", "saved")
    ]
    breaker = Breaker()
    deploy = next(story for story in STORIES if story.kind == "deploy")
    async with site(len(points), probe=breaker.probe) as here:
        breaker.site = here
        uuids = await here.enrol("manageable")
        request = PatchOperation("add", "/driver_info/fast_track", True)
        for uuid in uuids:
            await here.db.write(lambda conn, u=uuid: here.baremetal.patch(conn, u, [request]))
        await asyncio.gather(*(go(here, uuid, ("provide", "available")) for uuid in uuids))
        before = power_ons(here)
        for uuid, (point, label) in zip(uuids, points, strict=True):
            breaker.breaks[f"node:{uuid}"] = Break(deploy, "killed", point, label)
        await asyncio.gather(*(go(here, uuid, ("active", "active")) for uuid in uuids))
        for subject, broken in breaker.breaks.items():
            assert broken.fired, f"{broken}\n{await here.story(subject.removeprefix('node:'))}"
        assert power_ons(here) == before + len(uuids), "only the instances were started"
