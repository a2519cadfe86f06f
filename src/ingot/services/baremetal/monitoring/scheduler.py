"""When each controller is asked next: every one once a period, spread evenly, none waiting for another."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Collection
from dataclasses import dataclass

#: A reading that takes longer than so many seconds makes a controller a slow one.
SLOW_SECONDS = 2.0
#: How a controller did last time. Each kind queues among its like: the dead delay not even the slow.
QUICK, SLOW, DEAD = "quick", "slow", "dead"


@dataclass(slots=True)
class ScheduledPoll:
    """One controller's place. due: on the monotonic clock. again: it was hurried while it ran.

    hurried: it comes before its own moment, to which it returns.
    """

    due: float
    period: float
    running: bool = False
    kind: str = QUICK
    again: bool = False
    hurried: bool = False


class PollScheduler:
    """Turns by name. Pure: it is told the time (monotonic seconds)."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._turns: dict[str, ScheduledPoll] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, names: Collection[str], now: float) -> None:
        """These and no others. A new one gets its own moment of the period, the same in every process."""
        for name in self._turns.keys() - set(names):
            del self._turns[name]
        for name in names:
            if name not in self._turns:
                self._put(name, ScheduledPoll(now + _wait(name, self._period, now), self._period))

    def due(self, now: float) -> list[tuple[str, float]]:
        """Names whose turn has come, and since when; one that still runs misses its turn."""
        found: list[tuple[str, float]] = []
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            turn = self._turns.get(name)
            if turn is None or turn.due != due:
                continue  # gone, or gone and back
            if not turn.running:
                turn.running = True
                found.append((name, due))
            if turn.hurried:
                turn.hurried, wait = False, _wait(name, turn.period, now)
                turn.due = now + wait + (turn.period if wait < 1 else 0)
            else:
                late = (now - due) // turn.period
                turn.due = due + (late + 1) * turn.period
            heapq.heappush(self._heap, (turn.due, name))
        return found

    def pace(self, name: str, period: float, now: float) -> None:
        """Ask it once in so many seconds from now on."""
        turn = self._turns.get(name)
        if turn is not None and turn.period != period:
            turn.period, turn.due = period, now + _wait(name, period, now)
            heapq.heappush(self._heap, (turn.due, name))

    def hurry(self, name: str, now: float) -> None:
        """Ask it now; once more if it is being asked."""
        turn = self._turns.get(name)
        if turn is None:
            return
        if turn.running:
            turn.again = True
        elif turn.due > now:
            turn.due, turn.hurried = now, True
            heapq.heappush(self._heap, (now, name))

    def kind(self, name: str) -> str:
        """QUICK, SLOW or DEAD, as it was found last time."""
        turn = self._turns.get(name)
        return QUICK if turn is None else turn.kind

    def ended(self, name: str, *, took: float, good: bool, now: float = 0.0) -> None:
        turn = self._turns.get(name)
        if turn is not None:
            turn.running = False
            if turn.again:
                turn.again = False
                self.hurry(name, now)
            turn.kind = DEAD if not good else SLOW if took > SLOW_SECONDS else QUICK

    def _put(self, name: str, turn: ScheduledPoll) -> None:
        self._turns[name] = turn
        heapq.heappush(self._heap, (turn.due, name))


def _wait(name: str, period: float, now: float) -> float:
    """Until its own moment of the period, which is the same in every process."""
    return (zlib.crc32(name.encode()) / 2**32 * period - now) % period
