"""Two processes under one name: the later one waits until the earlier one cannot give orders any more."""

import asyncio
import contextlib
import signal
import sys
import time

import pytest

from ingot.kit.faults import Conflict
from ingot.kit.tasks.clock import SystemClock
from ingot.kit.tasks.processes import LocalProcesses
from ingot.workflow import Engine, list_conductors

pytestmark = pytest.mark.anyio


class Told:
    """Processes of whom we are told. ended: names of those that are known to have ended."""

    def __init__(self, own, *ended):
        self._own, self._ended = own, ended

    def name(self):
        return self._own

    def ended(self, name):
        return name in self._ended


def engine(db, own, *ended, dead=20.0):
    told = Told(own, *ended)
    return Engine(db, SystemClock(), [], "c1", beat=0.05, dead=dead, fenced=True, processes=told)


@contextlib.asynccontextmanager
async def beating(one):
    task = asyncio.create_task(one.keep(lambda: None))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def members(db):
    return {row.incarnation for row in await db.read(list_conductors) if not row.gone}


async def test_a_name_whose_owner_lives_is_not_taken(db):
    first, second = engine(db, "one"), engine(db, "two")
    await first.open()
    name = first.me
    async with beating(first):
        with pytest.raises(Conflict, match="'c1'") as refused:
            await second.open()
    assert "name of its own" in refused.value.next_action
    assert await members(db) == {name} and first.me == name and not first.lease_over


async def test_whoever_may_live_somewhere_has_lost_its_lease_before_its_name_is_taken(db):
    first, second = engine(db, "one", dead=2), engine(db, "two", dead=2)
    await first.open()
    opening = asyncio.create_task(second.open())
    while not opening.done():
        assert not await members(db) - {first.me} or first.lease_over
        await asyncio.sleep(0.01)
    await opening
    assert first.lease_over and await members(db) == {second.me}
    # It goes on, finds that it was given up, and finds that its name has another owner.
    first.membership.dead = 20
    async with beating(second):
        with pytest.raises(Conflict):
            await first.beat()
    assert await members(db) == {second.me}


async def test_a_process_that_has_ended_is_followed_at_once(db):
    first, second, third = engine(db, "one"), engine(db, "two", "one"), engine(db, "two")
    for one in (first, second, third):  # the third in the process of the second
        began = time.monotonic()
        await one.open()
        assert time.monotonic() - began < one.membership.dead / 2
        assert await members(db) == {one.me}


async def test_whether_a_process_of_this_machine_has_ended():
    code = "from ingot.kit.tasks.processes import LocalProcesses as P; print(P().name(), flush=True); input()"
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=pipe, stdout=pipe
    )
    here = LocalProcesses()
    try:
        name = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().rstrip("\n")
        child.send_signal(signal.SIGSTOP)
        assert not here.ended(name) and not here.ended(here.name())
    finally:
        child.kill()
        await child.wait()
    assert here.ended(name)
    boot, rest = name.split(" ", 1)
    assert not here.ended(f"another-{boot} {rest}") and not here.ended("")
    assert LocalProcesses(alone=True).ended(here.name() + "0")
