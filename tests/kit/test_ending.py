"""Who ends tasks of his own can still be cancelled himself."""

from __future__ import annotations

import asyncio

import pytest

from ingot.kit.tasks.cancellation import cancel_and_wait
from ingot.workflow import Loop

pytestmark = pytest.mark.anyio


async def _slow_to_end(ending: asyncio.Event) -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        ending.set()
        await asyncio.sleep(0.2)


async def test_a_loop_that_ends_tasks_can_be_stopped() -> None:
    ending = asyncio.Event()

    async def ends_one() -> None:
        task = asyncio.create_task(_slow_to_end(ending))
        await asyncio.sleep(0)
        await cancel_and_wait([task])

    loop = Loop("ends", 3600, ends_one)
    await loop.start()
    await ending.wait()
    await asyncio.wait_for(loop.stop(), 30)
    assert loop.status.runs == 0, "the cancellation was swallowed"


async def test_what_a_task_breaks_with_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("broken")

    task = asyncio.create_task(breaks(), name="breaker")
    await asyncio.sleep(0)
    await cancel_and_wait([task])
    assert "task breaker ended with ValueError('broken')" in caplog.text
    await cancel_and_wait([])
