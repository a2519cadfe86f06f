"""Which processes are alive: each beats a row; who stops beating is expelled and its work is free to take.

Others' beats are counted and timed with our own monotonic clock, so that neither clock skew between hosts
nor a jump of the wall clock kills anybody. A process that starts under the name of an earlier one that has
ended removes the earlier one's row at once: its operations are orphaned and taken over without waiting for the
lease. Where nobody can tell that it has ended (it ran on another machine, or in another container) its lease is
waited for; a name whose owner still beats is not taken.

The row of a process that is gone stays, so that people see who is missing; its incarnation gets another name,
so that whatever it owned has an owner that is no member. A process whose own beat has not reached the database
for two thirds of the time after which others expel it gives no orders any more (`stale`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import Database, from_json, timestamp, to_json
from ingot.kit.faults import Conflict
from ingot.kit.ids import new_hex
from ingot.kit.tasks.clock import Clock, SystemClock
from ingot.kit.tasks.processes import LocalProcesses, Processes

from .tables import conductors

log = logging.getLogger(__name__)

#: Ends the incarnation of a process that is gone.
GONE = " gone"
#: In a conductor's info: the process that it is.
_PROCESS = "process"
#: Days for which a process that is gone is still shown.
REMEMBERED = timedelta(days=90)


#: An incarnation, and how often it has beaten.
_Beat = tuple[str, int]


@dataclass(frozen=True)
class ConductorRow:
    """One process. Times as stored texts; `info` is what it told of itself.

    gone: it has left or was expelled, at most `dead` seconds after `beat_at`.
    """

    incarnation: str
    host: str
    group: str
    beat: int
    beat_at: str
    started_at: str
    roles: list[str]
    info: dict[str, Any]

    @property
    def gone(self) -> bool:
        return self.incarnation.endswith(GONE)


def list_conductors(conn: sa.Connection) -> list[ConductorRow]:
    """The processes that work on operations, or did: see `gone`, and compare beat_at."""
    rows = conn.execute(sa.select(conductors).order_by(conductors.c.host)).mappings()
    return [
        ConductorRow(
            incarnation=row["incarnation"],
            host=row["host"],
            group=row["group_name"],
            beat=row["beat"],
            beat_at=row["beat_at"],
            started_at=row["started_at"],
            roles=from_json(row["roles"]),
            info=from_json(row["info"]),
        )
        for row in rows
    ]


def forget_conductor(conn: sa.Connection, host: str) -> bool:
    """Show a process that is gone no more; False when it is a member, or unknown."""
    return bool(
        conn.execute(sa.delete(conductors).where(conductors.c.host == host, _gone)).rowcount
    )


class Membership:
    """This process's row in `conductors`, and its view of the others'."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        host: str,
        group: str,
        *,
        beat: float,
        dead: float,
        roles: Sequence[str],
        info: dict[str, Any],
        processes: Processes | None = None,
    ) -> None:
        self.incarnation = ""
        self.beat = beat
        self.dead = dead
        self._db = db
        self._clock = clock
        self._host = host
        self._group = group
        self._roles = list(roles)
        self._processes = processes or LocalProcesses(alone=db.is_sqlite)
        self._info = {**info, _PROCESS: self._processes.name()}
        self._seen: dict[str, tuple[int, float]] = {}
        self._last_beat = self._last_look = 0.0
        #: When another process was last seen to be gone: it died, stood still or ended.
        self.lost_at: datetime | None = None

    async def join(self) -> None:
        """Register under a new incarnation; earlier ones of this host name are removed.

        Raises Conflict while another process lives under the name.
        """
        silent = await self._name_is_free()
        incarnation = f"{self._host}:{new_hex()[:12]}"
        moment = timestamp(self._clock.now())
        old = timestamp(self._clock.now() - REMEMBERED)
        began = self._elapsed()
        row = {
            "incarnation": incarnation,
            "host": self._host,
            "group_name": self._group,
            "beat": 0,
            "beat_at": moment,
            "started_at": moment,
            "roles": to_json(self._roles),
            "info": to_json(self._info),
        }

        def change(conn: sa.Connection) -> None:
            conn.execute(sa.delete(conductors).where(conductors.c.host == self._host, _but(silent)))
            if silent is not None and self._beat_of_another(conn) is not None:
                raise self._taken()  # it has beaten in this very moment
            conn.execute(sa.delete(conductors).where(_gone, conductors.c.beat_at < old))
            conn.execute(sa.insert(conductors).values(row))

        await self._db.write(change)
        self.incarnation = incarnation
        self._last_beat = self._last_look = began
        self._seen.clear()

    async def _name_is_free(self) -> _Beat | None:
        """Returns once nobody can give orders under this host name any more; the beat that was waited out."""
        began, first = self._elapsed(), None
        while (beat := await self._db.read(self._beat_of_another)) is not None:
            if first is None:
                first = beat
                log.warning(
                    "the last process named %s may still live somewhere: waiting %g s for a beat of it",
                    self._host,
                    self.dead,
                )
            if beat != first:
                raise self._taken()
            if (left := began + self.dead - self._elapsed()) <= 0:
                return beat
            await self._clock.sleep(min(left, self.beat))
        return None

    def _taken(self) -> Conflict:
        return Conflict(
            f"Another process that is alive is the controller '{self._host}' of this database.",
            next_action="Give each controller a host name of its own (host in the settings, or --host).",
        )

    def _beat_of_another(self, conn: sa.Connection) -> _Beat | None:
        """The beat of a member of this host name that may not have ended."""
        query = sa.select(conductors.c.incarnation, conductors.c.beat, conductors.c.info).where(
            conductors.c.host == self._host, sa.not_(_gone)
        )
        for row in conn.execute(query):
            name = from_json(row.info).get(_PROCESS) or ""
            if name != self._processes.name() and not self._processes.ended(name):
                return row.incarnation, row.beat
        return None

    async def lay_down(self, role: str) -> None:
        """Tell the others that this process does not have a role any more."""
        self._roles = [own for own in self._roles if own != role]
        me, roles = self.incarnation, to_json(self._roles)
        await self._db.write(
            lambda conn: (
                conn.execute(
                    sa.update(conductors).where(conductors.c.incarnation == me).values(roles=roles)
                ).rowcount
            ),
            serializable=False,
        )

    async def leave(self) -> None:
        """Give the lease back; the row stays as that of a process that is gone."""
        me = self.incarnation
        moment = timestamp(self._clock.now())
        await self._db.write(
            lambda conn: (
                conn.execute(
                    sa.update(conductors)
                    .where(conductors.c.incarnation == me)
                    .values(incarnation=me + GONE, beat_at=moment)
                ).rowcount
            ),
            serializable=False,
        )

    async def tick(self) -> tuple[bool, int]:
        """Beat once and look at the others: (are we still a member, how many were expelled)."""
        me = self.incarnation
        moment = timestamp(self._clock.now())
        # Before it is sent: we may be stopped between its commit and the answer.
        began = self._elapsed()

        def change(conn: sa.Connection) -> tuple[int, dict[str, int]]:
            mine = conn.execute(
                sa.update(conductors)
                .where(conductors.c.incarnation == me)
                .values(beat=conductors.c.beat + 1, beat_at=moment)
            ).rowcount
            rows = conn.execute(
                sa.select(conductors.c.incarnation, conductors.c.beat).where(
                    conductors.c.incarnation != me, sa.not_(_gone)
                )
            )
            return mine, {row.incarnation: row.beat for row in rows}

        mine, others = await self._db.write(change, serializable=False)
        if mine == 1:
            self._last_beat = began
        return mine == 1, await self._expel(others)

    async def _expel(self, others: dict[str, int]) -> int:
        moment = self._elapsed()
        if moment - self._last_look > self.dead / 2:
            # We have not looked for long (stopped, or the database was away, for them too): count anew.
            self._seen.clear()
        self._last_look = moment
        silent: list[tuple[str, int]] = []
        for incarnation, beat in others.items():
            before = self._seen.get(incarnation)
            if before is None or before[0] != beat:
                self._seen[incarnation] = (beat, moment)
            elif moment - before[1] >= self.dead:
                silent.append((incarnation, beat))
        vanished = self._seen.keys() - others.keys()
        for incarnation in vanished:
            del self._seen[incarnation]
        if silent or vanished:
            self.lost_at = self._clock.now()
        expelled = 0
        for incarnation, beat in silent:
            gone = await self._db.write(_expel(incarnation, beat), serializable=False)
            if gone:
                log.warning(
                    "conductor %s has not beaten for %g s: its operations are taken over",
                    incarnation,
                    self.dead,
                )
            expelled += gone
        return expelled

    def silent_for(self) -> float:
        """Seconds since our own last beat that reached the database was sent."""
        return self._elapsed() - self._last_beat

    @property
    def stale(self) -> bool:
        """Others may have taken over, or soon will: no order to hardware, and no claim, from here."""
        return self.silent_for() > self.dead * 2 / 3

    def _elapsed(self) -> float:
        """Seconds, with those in which this process or its machine was suspended."""
        if isinstance(self._clock, SystemClock):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._clock.monotonic()


_gone = conductors.c.incarnation.endswith(GONE)


def _but(beaten: _Beat | None) -> sa.ColumnElement[bool]:
    """All rows but that of a process which has beaten again."""
    if beaten is None:
        return sa.true()
    again = sa.and_(conductors.c.incarnation == beaten[0], conductors.c.beat != beaten[1])
    return sa.not_(again)


def _expel(incarnation: str, beat: int) -> Callable[[sa.Connection], int]:
    def change(conn: sa.Connection) -> int:
        return conn.execute(
            sa.update(conductors)
            .where(conductors.c.incarnation == incarnation, conductors.c.beat == beat)
            .values(incarnation=incarnation + GONE)
        ).rowcount

    return change
