"""A gate in front of each management controller.

At most one call at a time goes to one controller; after trouble the gap between calls grows and
shrinks again with success; when a controller does not answer several times in a row, calls fail at
once for a while (circuit breaker), then a single call tries it (half-open). Controllers are small
computers: many freeze when asked in bursts. A dead one costs only its own callers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from typing import TypeVar

from ingot.drivers.faults import BadCredentials, Busy, DriverFault, Unreachable
from ingot.kit.tasks.clock import Clock

T = TypeVar("T")

FAILURES_TO_OPEN = 5
FIRST_OPEN_SECONDS = 10.0
LONGEST_OPEN_SECONDS = 120.0
FIRST_GAP_SECONDS = 0.25
LONGEST_GAP_SECONDS = 8.0
# Bursts freeze some controllers; this many calls per second harm none that we know.
MOST_CALLS_PER_SECOND = 5
REFUSAL_SECONDS = 60.0


_PROBING: ContextVar[bool] = ContextVar("probing", default=False)


@contextlib.contextmanager
def probing() -> Generator[None]:
    """Calls in here reach a controller that is not asked otherwise for the moment.

    For who asks seldom anyway, such as the power loop: it sees at its next turn that a dead one came back.
    """
    token = _PROBING.set(True)
    try:
        yield
    finally:
        _PROBING.reset(token)


class Gate:
    """The gate of one controller. Not thread-safe: it lives in one event loop."""

    def __init__(self, address: str, clock: Clock) -> None:
        self.address = address
        self._clock = clock
        self._lock = asyncio.Lock()
        self._gap = 0.0
        self._last_end = float("-inf")
        self._starts: deque[float] = deque(maxlen=MOST_CALLS_PER_SECOND)
        self._failures = 0
        self._open_until: float | None = None
        self._open_for = FIRST_OPEN_SECONDS
        self._last_words = ""

    @property
    def is_open(self) -> bool:
        """True while calls fail at once."""
        return self._open_until is not None and self._clock.monotonic() < self._open_until

    async def run(self, call: Callable[[], Awaitable[T]], wait: float = 120.0) -> T:
        """Run `call` alone. Waits at most `wait` real seconds for its turn, then Busy.

        Raises Unreachable at once while the breaker is open (but see `probing`); otherwise what `call` raises.
        """
        self._refuse_while_open()
        try:
            async with asyncio.timeout(wait):
                await self._lock.acquire()
        except TimeoutError:
            raise Busy(
                f"another call to {self.address} is still in flight after {wait:g} s",
                next_action="Retry; if it persists, reset the controller.",
            ) from None
        try:
            self._refuse_while_open()
            await self._keep_gap()
            return await self._observe(call)
        finally:
            self._last_end = self._clock.monotonic()
            self._lock.release()

    def _refuse_while_open(self) -> None:
        if self.is_open and self._open_until is not None and not _PROBING.get():
            left = self._open_until - self._clock.monotonic()
            raise Unreachable(
                f"{self.address} failed {self._failures} times in a row; not asked again for "
                f"{left:.0f} s. Its last words: {self._last_words}",
                retry_after=left,
            )

    async def _keep_gap(self) -> None:
        now = self._clock.monotonic()
        left = self._last_end + self._gap - now if self._gap else 0.0
        if len(self._starts) == MOST_CALLS_PER_SECOND:
            left = max(left, self._starts[0] + 1.0 - now)
        if left > 0:
            await self._clock.sleep(left)
        self._starts.append(self._clock.monotonic())

    async def _observe(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await call()
        except Unreachable as fault:
            self._slow_down()
            self._count_failure(fault.cause)
            raise
        except Busy:
            self._slow_down()
            self._close()
            raise
        except DriverFault:
            self._close()
            raise
        self._gap = self._gap / 2 if self._gap > FIRST_GAP_SECONDS else 0.0
        self._close()
        return result

    def _slow_down(self) -> None:
        self._gap = min(max(self._gap * 2, FIRST_GAP_SECONDS), LONGEST_GAP_SECONDS)

    def _count_failure(self, words: str) -> None:
        self._failures += 1
        self._last_words = words
        if self._failures >= FAILURES_TO_OPEN:
            self._open_until = self._clock.monotonic() + self._open_for
            self._open_for = min(self._open_for * 2, LONGEST_OPEN_SECONDS)

    def _close(self) -> None:
        self._failures = 0
        self._open_until = None
        self._open_for = FIRST_OPEN_SECONDS


class Refusals:
    """Remembers refused credentials for a minute, so that repeated calls lock no account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, BadCredentials]] = {}

    def check(self, key: str) -> None:
        """Raise the refusal of `key` (device and credentials) if it is fresh."""
        found = self._known.get(key)
        if found is None:
            return
        until, fault = found
        if self._clock.monotonic() < until:
            raise BadCredentials(fault.cause, next_action=fault.next_action)
        del self._known[key]

    def note(self, key: str, fault: BadCredentials) -> None:
        self._known[key] = (self._clock.monotonic() + REFUSAL_SECONDS, fault)


class Gates:
    """All gates of a process, by controller address."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    def gate(self, address: str) -> Gate:
        """The gate of `address` (host and port as text, the same text for the same device)."""
        if address not in self._gates:
            self._gates[address] = Gate(address, self._clock)
        return self._gates[address]
