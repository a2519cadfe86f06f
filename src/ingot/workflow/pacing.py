"""How fast operations are taken on: as fast as the event loop and the database keep up.

Every operation that goes on has its turn in the same loop as requests and watchers, and its place in the queue for the
next commit. Two hundred that start at once make one round of the loop last for hundreds of milliseconds, and a request
needs several rounds; their steps wait for half a second until they are written, and who watches learns of them after
that. So new ones wait while a round takes longer than `ROUND` or `BACKLOG` saves wait for a commit: the processor has
work all the same, nothing takes longer on the whole, and everybody else waits for a few of them only.
"""

from __future__ import annotations

from ingot.kit.tasks.clock import SystemClock

from .saver import Saver

#: So many are taken on together.
TOGETHER = 4
#: Seconds that one round of the loop may take before nobody new is let in.
ROUND = 0.010
#: So many saves may wait for the next commit before nobody new is let in.
BACKLOG = 8
#: Seconds until it is looked again.
PAUSE = 0.005


class Pacing:
    """`turn` returns when the next operations may start. Real time, also where the engine's clock is virtual.

    most: nobody waits longer than so many seconds, since others than operations may fill the loop.
    """

    def __init__(self, saver: Saver, *, most: float = 1.0) -> None:
        self._saver = saver
        self._most = most
        self._clock = SystemClock()

    async def turn(self) -> None:
        # Counted as work: virtual time must not move on while somebody could start.
        with self._saver.working():
            ends = self._clock.monotonic() + self._most
            while self._clock.monotonic() < ends:
                began = self._clock.monotonic()
                await self._clock.sleep(0)
                round_ = self._clock.monotonic() - began
                if round_ < ROUND and self._saver.backlog < BACKLOG:
                    return
                await self._clock.sleep(max(round_, PAUSE))
