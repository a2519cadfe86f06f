"""Reconcilers: loops without input, woken by timer and by kick, that show their status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ingot.kit.db.database import timestamp
from ingot.kit.faults import Fault
from ingot.kit.tasks.cancellation import cancel_and_wait
from ingot.kit.tasks.clock import Clock, SystemClock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopStatus:
    """What a loop last did. Times are stored texts, duration in seconds; error is None after a good run."""

    name: str
    every: float
    runs: int = 0
    failures: int = 0
    running: bool = False
    last_run_at: str | None = None
    duration: float | None = None
    error: str | None = None


class Loop:
    """Calls `fn()` every `every_seconds` and after a kick; kicks during a run cause exactly one more.

    An error is logged and shown; the loop goes on, at its usual pace. `limit` bounds one run (seconds).
    """

    def __init__(
        self,
        name: str,
        every_seconds: float,
        fn: Callable[[], Awaitable[object]],
        *,
        clock: Clock | None = None,
        limit: float = 600,
        at_once: bool = True,
    ) -> None:
        self.name = name
        self.every = every_seconds
        self.kicked = asyncio.Event()
        self.status = LoopStatus(name, every_seconds)
        self._fn = fn
        self._clock = clock or SystemClock()
        self._limit = limit
        self._at_once = at_once
        self._task: asyncio.Task[None] | None = None

    def kick(self) -> None:
        """Run soon; may be called from after_commit."""
        self.kicked.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self.run(), name=f"loop {self.name}")

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait([self._task])
            self._task = None

    async def run(self) -> None:
        if not self._at_once:
            await self._pause()
        while True:
            self.kicked.clear()
            await self.once()
            await self._pause()

    async def once(self) -> None:
        """One run, with its status; never raises an Exception."""
        began = self._clock.monotonic()
        at = timestamp(self._clock.now())
        self._show(running=True, last_run_at=at)
        error: str | None = None
        try:
            # Not wait_for: on Python 3.11 it swallows a cancellation that comes just as its work ends.
            async with asyncio.timeout(self._limit):
                await self._fn()
        except Fault as fault:
            error = fault.sentence()
            log.warning("loop %s: %s", self.name, error)
        except TimeoutError:
            error = f"did not end within {self._limit:g} s"
            log.error("loop %s %s", self.name, error)
        except Exception as problem:
            error = f"internal error: {problem!r}"
            log.exception("loop %s failed", self.name)
        self._show(
            running=False,
            last_run_at=at,
            duration=self._clock.monotonic() - began,
            error=error,
            runs=self.status.runs + 1,
            failures=self.status.failures + (error is not None),
        )

    def _show(
        self,
        *,
        running: bool,
        last_run_at: str,
        duration: float | None = None,
        error: str | None = None,
        runs: int | None = None,
        failures: int | None = None,
    ) -> None:
        before = self.status
        self.status = LoopStatus(
            self.name,
            self.every,
            before.runs if runs is None else runs,
            before.failures if failures is None else failures,
            running,
            last_run_at,
            before.duration if running else duration,
            before.error if running else error,
        )

    async def _pause(self) -> None:
        kicked = asyncio.ensure_future(self.kicked.wait())
        time = asyncio.ensure_future(self._clock.sleep(self.every))
        try:
            await asyncio.wait([kicked, time], return_when=asyncio.FIRST_COMPLETED)
        finally:
            kicked.cancel()
            time.cancel()
