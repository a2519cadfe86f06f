"""Who starts while the event loop is behind waits until it is not, but never for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from ingot.kit.db.database import Database
from ingot.workflow.pacing import BACKLOG, ROUND, Pacing
from ingot.workflow.saver import Save, Saver
from ingot.workflow.types import LeaseLost

pytestmark = pytest.mark.anyio


@pytest.fixture
async def saver(tmp_path: Path, anyio_backend: str):
    db = Database(f"sqlite:///{tmp_path}/ingot.db")
    await db.create_all()
    yield Saver(db)
    await db.close()


class Hog:
    """Fills every round of the loop until it is told to stop."""

    def __init__(self) -> None:
        self.rounds = 0
        self.stopped = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self.stopped:
            ends = time.monotonic() + 2 * ROUND
            while time.monotonic() < ends:
                pass
            self.rounds += 1
            await asyncio.sleep(0)


async def test_who_starts_waits_for_the_loop(saver: Saver) -> None:
    hog = Hog()
    turn = asyncio.create_task(Pacing(saver, most=3600).turn())
    while hog.rounds < 10:
        await asyncio.sleep(0)
    assert not turn.done()
    assert saver.busy == 1, "virtual time must stand still"
    hog.stopped = True
    await asyncio.wait_for(turn, 60)
    assert saver.busy == 0


async def test_nobody_waits_for_ever(saver: Saver) -> None:
    hog = Hog()
    await asyncio.wait_for(Pacing(saver, most=0.2).turn(), 60)
    assert not hog.task.done()
    hog.stopped = True


async def test_who_starts_waits_for_the_database(saver: Saver) -> None:
    """Saves that wait for a commit hold newcomers up."""
    gate = threading.Event()
    first = asyncio.create_task(
        saver.save(Save("first", 1, first=lambda _: gate.wait(60) and None))
    )
    while saver.backlog or not saver.busy:
        await asyncio.sleep(0)
    others = [asyncio.create_task(saver.save(Save(f"{n}", 1))) for n in range(BACKLOG)]
    turn = asyncio.create_task(Pacing(saver, most=3600).turn())
    while saver.backlog < BACKLOG:
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert not turn.done()
    gate.set()
    await asyncio.wait_for(turn, 60)
    # None of these operations exists.
    ended = await asyncio.gather(first, *others, return_exceptions=True)
    assert {type(end) for end in ended} == {LeaseLost}
