"""Deadlines: running a step for at most so long, and learning how long a step takes.

A step's deadline is its author's default until 20 good runs of the same step in the same kind of operation on the
same profile (hardware model) are recorded. From then on it is twice the 99th percentile, so that a hang is found
within that time, but never below the stated minimum (`LEAST` seconds when none is stated) and never above the
stated maximum (four times the default).

The 99th percentile is a cautious one. The longest run is left out, so that a single freak decides nothing; and it is
never less than five quarters of the median, so that a machine twice as slow as its peers is given its time even
where those hardly differ.

Where runs are given up at their deadline on two machines or more, and these are more than a quarter of all runs, then
it is the deadline that is wrong and not the machines: such runs count as if they had taken that long, at once, and
the deadline becomes twice that. So a site where everything is slow learns it from its failures.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import Clock, SystemClock

from .history import Run, runs

ENOUGH = 20
#: Seconds below which no learned deadline goes, unless its author says so.
LEAST = 30.0
#: The cautious 99th percentile is at least so many times the median.
SPREAD = 1.25
#: Runs given up at their deadline count when they are more than this share, on so many machines.
LATE_SHARE, LATE_MACHINES = 0.25, 2
#: A step that was cancelled gets so many (real) seconds to clean up before it is left behind.
CLEAN_UP = 5.0


@dataclass(frozen=True)
class Estimate:
    """Seconds that a step took: median, cautious 99th percentile, and how many runs say so.

    late: runs that were given up at their deadline and say that it was too short; they are in the figures.
    """

    p50: float
    p99: float
    count: int
    late: int = 0


def estimate(
    conn: sa.Connection,
    kind: str,
    step: str,
    profile: str = "",
    *,
    similar: str = "",
    amount: float | None = None,
) -> Estimate | None:
    """What is known of a step's duration; None without any record. `step` is the name without key.

    similar: only runs with this word in their key. amount: what is to be done now, in the unit that earlier
    results tell as "bytes": their seconds are scaled to it.
    """
    return judge(chosen(runs(conn, kind, step, profile), similar, amount))


def chosen(history: Sequence[Run], similar: str, amount: float | None) -> list[Run]:
    """Those runs that count, scaled to the amount; see `estimate`."""
    found = list(history)
    if similar:
        found = [run for run in found if similar in (run.key or "").split()]
    if amount is not None:
        scaled = [_scaled(run, amount) for run in found]
        found = [run for run in scaled if run is not None]
    return found


def judge(history: Sequence[Run]) -> Estimate | None:
    """The figures of these runs."""
    done = [run.seconds for run in history if not run.late]
    late = [run for run in history if run.late]
    many = len(late) > LATE_SHARE * len(history)
    machines = len({run.subject for run in late})
    counted = late if many and machines >= LATE_MACHINES else []
    seen = sorted([*done, *(run.seconds for run in counted)])
    if not seen:
        return None
    median = seen[len(seen) // 2]
    # One freak among good runs decides nothing; what was given up is no freak.
    usual = seen[:-1] if len(seen) >= ENOUGH and not counted else seen
    p99 = usual[min(len(usual) - 1, int(len(usual) * 0.99))]
    return Estimate(
        p50=median,
        p99=p99 if counted else max(p99, median * SPREAD),
        count=len(seen),
        late=len(counted),
    )


def _scaled(run: Run, amount: float) -> Run | None:
    if not run.amount:
        return None
    return dataclasses.replace(run, seconds=run.seconds * amount / run.amount)


def learned_deadline(
    default: float, most: float | None, known: Estimate | None, least: float | None = None
) -> float:
    """Seconds that a step gets, by its author's default and what is known."""
    if known is None or (known.count < ENOUGH and not known.late):
        return default
    ceiling = default * 4 if most is None else most
    wanted = known.p99 * 2
    if known.count < ENOUGH:
        wanted = max(wanted, default)
    floor = min(LEAST, default) if least is None else least
    return max(floor, min(wanted, ceiling))


@dataclass(frozen=True)
class Rule:
    """What a step's author says of its deadline: seconds before there is history, and the bounds of what is learned.

    similar, amount: which history counts, see `estimate`.
    """

    default: float
    most: float | None = None
    least: float | None = None
    similar: str = ""
    amount: float | None = None

    def limit(self, known: Estimate | None) -> float:
        """Seconds that the step gets."""
        return learned_deadline(self.default, self.most, known, self.least)

    def as_data(self) -> dict[str, Any]:
        """The rule as data of the step's start event; `Rule(**data)` is the rule again."""
        return {name: value for name, value in vars(self).items() if value}


def span(seconds: float) -> str:
    """Seconds in words for people."""
    if seconds < 120:
        return f"{seconds:g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


#: Kind, step, profile, word in the key, amount.
_Asked = tuple[str, str, str, str, float | None]


class Estimates:
    """Estimates, remembered for a minute. busy: questions under way, in a thread of their own."""

    KEEP = 60.0

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._known: dict[_Asked, tuple[float, Estimate | None]] = {}
        self._asked: dict[_Asked, asyncio.Future[Estimate | None]] = {}
        self.busy = 0

    async def get(
        self, kind: str, step: str, profile: str, similar: str = "", amount: float | None = None
    ) -> Estimate | None:
        key = (kind, step, profile, similar, amount)
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
            found = await self._db.scan(
                lambda conn: estimate(conn, kind, step, profile, similar=similar, amount=amount)
            )
            self._known[key] = (self._clock.monotonic(), found)
        finally:
            self.busy -= 1
            del self._asked[key]
            answer.set_result(found)
        return found


class Expired(Exception):
    """The time was over."""


class TimeLimitedTask:
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
