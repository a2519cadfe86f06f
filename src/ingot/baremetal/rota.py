"""When each controller is asked next: every one once a period, spread evenly, none waiting for another."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Collection
from dataclasses import dataclass

#: A reading that takes longer than so many seconds makes a controller a slow one.
SLOW_SECONDS = 2.0


@dataclass(slots=True)
class Turn:
    """One controller's place. due: on the monotonic clock. slow: it failed or dawdled last time."""

    due: float
    running: bool = False
    slow: bool = False


class Rota:
    """Turns by name. Pure: it is told the time (monotonic seconds)."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._turns: dict[str, Turn] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, names: Collection[str], now: float) -> None:
        """These and no others. A new one gets its own moment of the period, the same in every process."""
        for name in self._turns.keys() - set(names):
            del self._turns[name]
        for name in names:
            if name not in self._turns:
                offset = zlib.crc32(name.encode()) / 2**32 * self._period
                wait = (offset - now) % self._period
                self._put(name, Turn(now + wait))

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
            late = (now - due) // self._period
            turn.due = due + (late + 1) * self._period
            heapq.heappush(self._heap, (turn.due, name))
        return found

    def is_slow(self, name: str) -> bool:
        turn = self._turns.get(name)
        return turn is not None and turn.slow

    def ended(self, name: str, *, took: float, good: bool) -> None:
        turn = self._turns.get(name)
        if turn is not None:
            turn.running = False
            turn.slow = not good or took > SLOW_SECONDS

    def _put(self, name: str, turn: Turn) -> None:
        self._turns[name] = turn
        heapq.heappush(self._heap, (turn.due, name))
