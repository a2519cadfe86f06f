"""Verbs while the machine is waited for, and nodes whose operation was lost."""

from __future__ import annotations

import asyncio
import time

import pytest
import sqlalchemy as sa

from ingot.lab.sim import ALWAYS
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.workflows import Orphans
from ingot.workflow import live_operation
from ingot.workflow.tables import operations, signals
from tests.flows.breaking import LEADS
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

#: Where it begins, the verb, the state it waits in, where an abort leads.
WAITS = (
    ("manageable", "inspect", "inspect wait", "inspect failed"),
    ("manageable", "provide", "clean wait", "clean failed"),
    ("available", "active", "wait call-back", "deploy failed"),
    ("active", "rescue", "rescue wait", "rescue failed"),
)


async def _waiting(here: Site, uuid: str, verb: str, state: str) -> None:
    """Order something of a machine whose agent is mute, until it is waited for."""
    node = await here.node(uuid)
    here.fleet.inject(node.name or "", {"agent_mute": ALWAYS})
    await here.prepare(uuid)
    await here.verb(uuid, verb, rescue_password="let-me-in" if verb == "rescue" else None)
    ends = time.monotonic() + 30
    while True:
        live = await here.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
        assert live is not None, await here.story(uuid)
        if (await here.node(uuid)).provision_state == state and live.waiting_for:
            return
        assert time.monotonic() < ends, await here.story(uuid)
        await asyncio.sleep(0.02)


async def test_abort_in_every_wait_and_on_from_there(database: str) -> None:
    async with site(len(WAITS), database=database, protocols=("redfish",)) as here:
        uuids = await here.enrol("manageable")

        async def one(uuid: str, begin: str, verb: str, wait: str, failed: str) -> None:
            await here.db.write(lambda conn: store.update_node(conn, uuid, provision_state=begin))
            await _waiting(here, uuid, verb, wait)
            assert "abort" in states.verbs_of(wait)
            await here.verb(uuid, "abort")
            assert await here.rest(uuid) == failed
            error = await here.db.read(lambda conn: here.baremetal.last_error(conn, uuid))
            assert "aborted" in str(error)
            assert "Possible now" in str(error)
            name = (await here.node(uuid)).name or ""
            await here.fleet.machine(name).wait_for("off", timeout=30)
            here.fleet.heal(name)
            verbs, goal = LEADS[failed]
            for following in verbs:
                await here.prepare(uuid)
                await here.verb(uuid, following)
                reached = await here.rest(uuid)
            assert reached == goal, await here.story(uuid)

        await asyncio.gather(*(one(u, *w) for u, w in zip(uuids, WAITS, strict=True)))


async def test_deleted_in_a_wait_ends_the_work_and_tears_down(database: str) -> None:
    async with site(2, database=database, protocols=("redfish",)) as here:
        uuids = await here.enrol("manageable")

        async def one(uuid: str, begin: str, verb: str, wait: str) -> None:
            await here.db.write(lambda conn: store.update_node(conn, uuid, provision_state=begin))
            await _waiting(here, uuid, verb, wait)
            name = (await here.node(uuid)).name or ""
            here.fleet.heal(name)
            await here.verb(uuid, "deleted")
            assert await here.rest(uuid) == "available", await here.story(uuid)
            acts = [act.act for act in here.fleet.machine(name).destructive_acts]
            assert "write_image" not in acts
            assert "erase_devices_metadata" in acts

        waits = [WAITS[2][:3], WAITS[3][:3]]
        await asyncio.gather(*(one(u, *w) for u, w in zip(uuids, waits, strict=True)))


async def test_orphans_are_helped_out_of_every_busy_state(database: str) -> None:
    busy = [name for name, state in states.STATES.items() if state.failure]
    async with site(len(busy), database=database, protocols=("redfish",)) as here:
        uuids = await here.enrol("manageable")

        def lose(conn: sa.Connection) -> None:
            for uuid, state in zip(uuids, busy, strict=True):
                store.update_node(
                    conn,
                    uuid,
                    provision_state=state,
                    reservation="gone",
                    target_power_state="power on",
                    boot_intent={"boot": "agent"},
                )

        await here.db.write(lose)
        await Orphans(here.deps).run()
        for uuid, state in zip(uuids, busy, strict=True):
            node = await here.node(uuid)
            assert node.provision_state == states.STATES[state].failure
            assert node.target_power_state is None
            assert node.boot_intent is None
            assert states.verbs_of(node.provision_state)
            error = await here.db.read(lambda conn, u=uuid: here.baremetal.last_error(conn, u))
            assert f"'{state}'" in str(error)
            assert "Possible now" in str(error)


async def test_orphans_leave_those_at_work_alone(database: str) -> None:
    async with site(1, database=database, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("available")
        await _waiting(here, uuid, "active", "wait call-back")
        assert await Orphans(here.deps).run() == 0
        assert (await here.node(uuid)).provision_state == "wait call-back"


async def test_heartbeats_do_not_pile_up() -> None:
    async with site(1, protocols=("redfish",)) as here:
        (uuid,) = await here.enrol("manageable")
        await here.verb(uuid, "provide")
        most = 0
        while await here.db.read(lambda conn: live_operation(conn, f"node:{uuid}")):
            most = max(most, await here.db.read(_signals))
            await asyncio.sleep(0.01)
        assert (await here.node(uuid)).provision_state == "available", await here.story(uuid)
        assert most <= 1


def _signals(conn: sa.Connection) -> int:
    joined = signals.join(operations, signals.c.operation_id == operations.c.id)
    return conn.execute(sa.select(sa.func.count()).select_from(joined)).scalar_one()
