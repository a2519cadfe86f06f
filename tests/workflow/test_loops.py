"""Loops end when they are told to, whatever they are doing just then."""

from __future__ import annotations

import asyncio

import pytest

from ingot.workflow import Loop

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("turns", range(8))
async def test_a_loop_that_is_stopped_stops(turns: int) -> None:
    """At each turn of the event loop of its first run: none may swallow the cancellation."""

    async def nothing() -> None:
        return None

    loop = Loop("quick", 60, nothing)
    await loop.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(loop.stop())
    done, _ = await asyncio.wait([stopping], timeout=20)
    stopping.cancel()
    assert done, f"it went on for 20 s after turn {turns}"
