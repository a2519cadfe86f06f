"""The dispatcher of one machine: a loop in the process, woken by commits, by time, and by a safety scan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta

from ingot.kit.db.database import DatabaseUnavailable, timestamp, when

from . import store
from .engine import Engine
from .pacing import TOGETHER, Pacing
from .tasks import Tasks

log = logging.getLogger(__name__)


class LocalDispatcher:
    """Runs an engine's operations in this process; `start` and `stop`, or `async with`, or `run` for ever.

    most: operations advanced at the same time; waiting ones do not count.
    poll: seconds between looks for other processes' signals (only PostgreSQL has other processes).
    scan: seconds between safety scans for orphans, abandoned operations and clock jumps.
    """

    def __init__(
        self, engine: Engine, *, most: int = 200, poll: float | None = None, scan: float = 5.0
    ) -> None:
        self.engine = engine
        self._most = most
        self._pacing = Pacing(engine.saver)
        self._poll = poll if poll is not None else (scan if engine.db.is_sqlite else 1.0)
        self._scan = scan
        self._kicked = asyncio.Event()
        self._scan_now = True
        self._tasks = Tasks()
        self._active = 0

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self.engine.open()
        await self.engine.db.read(lambda conn: store.add_kick(conn, self.kick))
        self._scan_now = True
        loops = (self._dispatch(), self.engine.keep(self.free), self._scans())
        self._tasks.loops(loops)

    async def stop(self, grace: float = 0) -> None:
        """Stop; steps under way get `grace` seconds, then their operations are given back."""
        with contextlib.suppress(Exception):
            await self.engine.db.read(lambda conn: store.remove_kick(conn, self.kick))
        self.engine.stopping = True
        await self._tasks.cancel()
        await self.engine.close(grace)

    async def run(self) -> None:
        await self.start()
        try:
            await self._tasks.join()
        finally:
            await self.stop()

    async def __aenter__(self) -> LocalDispatcher:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def kill(self) -> None:
        """As kill -9 would (tests): nothing is saved, nothing is given back, the lease stays."""
        await self.engine.db.read(lambda conn: store.remove_kick(conn, self.kick))
        self.engine.stopping = True
        await self._tasks.cancel(*self.engine.tasks())

    # -- waking ------------------------------------------------------------------------------------

    def kick(self, op_id: str) -> None:
        """Something was committed for this operation."""
        if op_id in self.engine.running:
            self._tasks.spawn(self.engine.check_abort(op_id))
        self._kicked.set()

    def free(self) -> None:
        """Operations of a dead worker may have become free."""
        self._scan_now = True
        self._kicked.set()

    # -- loops -------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            self._kicked.clear()
            try:
                pause = await self._claim()
            except DatabaseUnavailable as away:
                log.warning("dispatcher: all stands still: %s", away.text)
                pause = self._scan
            except Exception:
                log.exception("dispatcher: operations could not be claimed; trying again")
                pause = 1.0
            if pause > 0:
                await self._wait(pause)

    async def _claim(self) -> float:
        """Claim what is due; gives the seconds until there is something to do again."""
        free = self._most - self._active
        if free <= 0:
            return self._scan  # the end of any advance wakes us
        moment = self.engine.clock.now()
        groups = self.engine.groups
        wake = await self.engine.saver.read(lambda conn: store.next_wake(conn, groups))
        due = wake is not None and wake <= timestamp(moment)
        if due or self._scan_now:
            self._scan_now = False
            claims = await self.engine.claim(min(free, TOGETHER))
            for claim in claims:
                self._active += 1
                self.engine.spawn(claim).add_done_callback(self._ended)
            if claims:
                await self._pacing.turn()
                return 0
            if due:  # not ours to take (unknown kind, or locked by a transaction): look again later
                return 1.0
        until = when(wake) if wake else None
        if until is None:
            return self._poll
        # A little later than the time itself, so that the comparison above holds.
        ahead = (until - moment + timedelta(milliseconds=1)).total_seconds()
        return max(0.001, min(ahead, self._poll))

    def _ended(self, _: object) -> None:
        self._active -= 1
        self._kicked.set()

    async def _wait(self, seconds: float) -> None:
        kicked = asyncio.ensure_future(self._kicked.wait())
        time = asyncio.ensure_future(self.engine.clock.sleep(seconds))
        try:
            await asyncio.wait([kicked, time], return_when=asyncio.FIRST_COMPLETED)
        finally:
            kicked.cancel()
            time.cancel()

    async def _scans(self) -> None:
        since = 0.0
        while True:
            await self.engine.clock.sleep(self._poll)
            since += self._poll
            try:
                await self.engine.check_aborts()
                if since >= self._scan:
                    since = 0.0
                    await self.engine.mend_clock_jumps()
                    self.free()
            except DatabaseUnavailable:
                pass  # the dispatcher says so
            except Exception:
                log.exception("dispatcher: the safety scan failed; trying again")
