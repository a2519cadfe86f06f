"""Deadlines: running a step for at most so long, and learning how long a step takes.

A step's deadline is its author's default until at least 20 runs of the same step in the same kind of
operation on the same profile (hardware model) are recorded. From then on it is three times the 99th
percentile plus ten seconds, but never below the stated minimum (a quarter of the default when none is
stated) and never above the stated maximum (four times the default).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.clock import Clock, SystemClock
from ingot.kit.db import Database

from . import store

ENOUGH = 20
#: A step that was cancelled gets so many (real) seconds to clean up before it is left behind.
CLEAN_UP = 5.0


@dataclass(frozen=True)
class Estimate:
    """Seconds that a step took: median, 99th percentile, and how many runs say so."""

    p50: float
    p99: float
    count: int


def estimate(conn: sa.Connection, kind: str, step: str, profile: str = "") -> Estimate | None:
    """What is known of a step's duration; None without any record. `step` is the name without key."""
    seen = sorted(store.durations(conn, kind, step, profile))
    if not seen:
        return None
    return Estimate(
        p50=seen[len(seen) // 2],
        p99=seen[min(len(seen) - 1, int(len(seen) * 0.99))],
        count=len(seen),
    )


def learned_deadline(
    default: float, most: float | None, known: Estimate | None, least: float | None = None
) -> float:
    if known is None or known.count < ENOUGH:
        return default
    ceiling = default * 4 if most is None else most
    floor = default / 4 if least is None else least
    return max(floor, min(known.p99 * 3 + 10, ceiling))


def span(seconds: float) -> str:
    """Seconds in words for people."""
    if seconds < 120:
        return f"{seconds:g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Estimates:
    """Estimates, remembered for a minute. busy: questions under way, in a thread of their own."""

    KEEP = 60.0

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, Estimate | None]] = {}
        self._asked: dict[tuple[str, str, str], asyncio.Future[Estimate | None]] = {}
        self.busy = 0

    async def get(self, kind: str, step: str, profile: str) -> Estimate | None:
        key = (kind, step, profile)
        kept = self._known.get(key)
        if kept is not None and self._clock.monotonic() - kept[0] < self.KEEP:
            return kept[1]
        if key in self._asked:
            return await asyncio.shield(self._asked[key])
        answer: asyncio.Future[Estimate | None] = asyncio.get_running_loop().create_future()
        self._asked[key] = answer
        found: Estimate | None = None
        self.busy += 1
        try:
            found = await self._db.scan(lambda conn: estimate(conn, *key))
            self._known[key] = (self._clock.monotonic(), found)
        finally:
            self.busy -= 1
            del self._asked[key]
            answer.set_result(found)
        return found


class Expired(Exception):
    """The time was over."""


class Limited:
    """One coroutine run in a task of its own, for at most `seconds` of a clock; can be cancelled from outside."""

    def __init__(self, clock: Clock, seconds: float, work: Coroutine[Any, Any, Any]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._gate: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(lambda _: self._open())
        self.expired = False

    def _open(self) -> None:
        if not self._gate.done():
            self._gate.set_result(None)

    def cancel(self) -> None:
        """Cancel the work; when it does not listen it is left behind after CLEAN_UP seconds."""
        if not self._task.done():
            self._task.cancel()
            self._loop.call_later(CLEAN_UP, self._open)

    def _expire(self) -> None:
        if not self._task.done():
            self.expired = True
            self.cancel()

    async def result(self) -> Any:
        """The work's result or exception; Expired; CancelledError after `cancel`."""
        stop = self._timer()
        try:
            await self._gate
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLEAN_UP)
            raise
        finally:
            stop()
        if self.expired:
            if self._task.done() and not self._task.cancelled():
                self._task.exception()  # seen; the deadline is what counts
            raise Expired
        if not self._task.done():
            raise asyncio.CancelledError
        return self._task.result()

    def _timer(self) -> Callable[[], object]:
        if isinstance(self._clock, SystemClock):
            return self._loop.call_later(self._seconds, self._expire).cancel

        async def sleep() -> None:
            await self._clock.sleep(self._seconds)
            self._expire()

        return self._loop.create_task(sleep()).cancel
