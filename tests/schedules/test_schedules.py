"""Fault schedules: a share of them in every run, and the proof that they would find what they look for.

`make schedules` runs 2,000 (about a quarter of an hour of one core);
`make schedules COUNT=100000` is for a night. Each failing seed is printed with the command that repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys

import pytest

from ingot.services.baremetal.nodes import states
from ingot.workflow.testing import Killed
from tests.schedules import virtual
from tests.schedules.site import Site, site

#: About 45 seconds of one core.
COUNT = int(os.environ.get("SCHEDULES") or 100)


@pytest.mark.timeout(1200)
def test_nothing_gets_stuck() -> None:
    """In a process of its own, the same as the command that repeats a seed."""
    line = [sys.executable, "-m", "tests.schedules", "--count", str(COUNT)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=1100)
    print(done.stdout[-4000:])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


async def _frozen(*, fenced: bool) -> Site:
    """A conductor stands still in the middle of a deploy until another has taken it over, then goes on."""
    async with site(random.Random(1)) as here:
        here.calm = True
        for name in ("a", "b"):
            host = await here.add_host(name)
            host.engine.fenced = fenced
        await here.enrol(here.hosts[0], "direct", states.AVAILABLE)
        (uuid,) = here.uuids
        await here.prepare(uuid)
        await here.verb(uuid, "active")
        owner = await here.until_owned(uuid, "write the image")
        owner.freeze()
        await here.until_taken(uuid, owner)
        owner.thaw()
        await virtual.sleep(600)
        assert here.node(uuid).provision_state == states.ACTIVE, here.story(uuid)
        return here


def test_a_conductor_that_stood_still_gives_no_orders() -> None:
    here = virtual.run(_frozen(fenced=True), quiet=Killed)
    assert not here.rig.problems, here.rig.problems


def test_without_its_lease_in_hand_it_would() -> None:
    here = virtual.run(_frozen(fenced=False), quiet=Killed)
    assert here.rig.problems, "two conductors at one machine, and nobody saw it"


async def _away(seconds: float) -> tuple[Site, int]:
    """The database is away while an agent is awaited, longer than it is waited for."""
    async with site(random.Random(1)) as here:
        here.calm = True
        for name in ("a", "b"):
            await here.add_host(name)
        await here.enrol(here.hosts[0], "direct", states.AVAILABLE)
        (uuid,) = here.uuids
        await here.prepare(uuid)
        await here.verb(uuid, "active")
        while here.node(uuid).provision_state != states.DEPLOYWAIT:
            await virtual.sleep(1)
        for host in here.hosts:
            host.db.away_until = asyncio.get_running_loop().time() + seconds
        await virtual.sleep(seconds + 900)
        assert here.node(uuid).provision_state == states.ACTIVE, here.story(uuid)
        return here, here.body(uuid).power_cycles


def test_who_could_not_be_heard_is_waited_for_longer() -> None:
    """Once for the agent, once for the instance: nobody boots a machine again whose agent called in vain."""
    for seconds in (20, 230, 600):
        here, cycles = virtual.run(_away(seconds), quiet=Killed)
        assert cycles == 2 and not here.rig.problems, (seconds, cycles, here.rig.problems)


def test_a_seed_always_tells_the_same_story() -> None:
    """Time, order and chance are the seed's alone."""
    line = [sys.executable, "-m", "tests.schedules", "--seed", "7", "-v"]
    told = [
        subprocess.run(line, check=False, capture_output=True, text=True, timeout=300).stdout
        for _ in range(2)
    ]
    first, second = ([row for row in text.splitlines() if "CPU" not in row] for text in told)
    assert first and first == second
