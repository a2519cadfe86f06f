"""Simulated time: running by itself at a factor, or moved by the test step by step.

Everything that a machine waits for passes through one of these clocks, so that a POST of two
minutes takes a second at speed 120, or as long as the test likes when stepped.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Time in simulated seconds since the fleet began."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float, label: str) -> None: ...


class ScaledClock:
    """`speed` simulated seconds pass in each real second."""

    def __init__(self, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self.speed = speed
        self._start = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self._start) * self.speed

    async def sleep(self, seconds: float, label: str) -> None:
        await asyncio.sleep(max(0.0, seconds) / self.speed)


@dataclass(order=True)
class _Waiter:
    due: float
    order: int
    label: str = field(compare=False)
    gate: asyncio.Future[None] = field(compare=False)


class SteppedClock:
    """Stands still until `step` lets the next (or a named) wait of one machine end."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._waiters: list[_Waiter] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self._now

    def pending(self) -> list[str]:
        """Labels of what the machine waits for now, soonest first."""
        return [waiter.label for waiter in sorted(self._waiters)]

    async def sleep(self, seconds: float, label: str) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(self._now + max(0.0, seconds), next(self._order), label, gate)
        self._waiters.append(waiter)
        self._changed.set()
        try:
            await gate
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def step(self, label: str | None = None, timeout: float = 10.0) -> str:
        """End one wait and give its label; waits up to `timeout` real seconds for one to come.

        Raises TimeoutError naming what was asked and what was pending.
        """
        deadline = time.monotonic() + timeout
        while True:
            ready = [w for w in sorted(self._waiters) if label is None or w.label == label]
            if ready:
                waiter = ready[0]
                self._waiters.remove(waiter)
                self._now = max(self._now, waiter.due)
                if not waiter.gate.done():
                    waiter.gate.set_result(None)
                return waiter.label
            self._changed.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, left))
            except TimeoutError:
                raise TimeoutError(
                    f"no step {label or 'at all'!r} within {timeout} s; pending: {self.pending()}"
                ) from None


class Chance:
    """Seeded chance with one stream per purpose.

    Concurrent machines, and concurrent activities of one machine, never draw from the same
    stream; the order in which the event loop runs them therefore changes nothing.
    """

    def __init__(self, *seed: object) -> None:
        self._seed = "/".join(str(part) for part in seed)
        self._streams: dict[str, random.Random] = {}

    def stream(self, purpose: str) -> random.Random:
        found = self._streams.get(purpose)
        if found is None:
            found = self._streams[purpose] = random.Random(f"{self._seed}/{purpose}")
        return found

    def between(self, purpose: str, bounds: tuple[float, float]) -> float:
        return self.stream(purpose).uniform(*bounds)
