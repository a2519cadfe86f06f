"""Which processes are alive: each beats a row; who stops beating is expelled and its work is free to take.

Others' beats are counted and timed with our own monotonic clock, so that neither clock skew between hosts
nor a jump of the wall clock kills anybody. A process that starts under the name of an earlier one removes
the earlier one's row at once: its operations are orphaned and taken over without waiting for the lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.clock import Clock
from ingot.kit.db import Database, from_json, timestamp, to_json
from ingot.kit.ids import new_hex

from .tables import conductors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConductorRow:
    """One living process. Times as stored texts; `info` is what the process told of itself."""

    incarnation: str
    host: str
    group: str
    beat: int
    beat_at: str
    started_at: str
    roles: list[str]
    info: dict[str, Any]


def list_conductors(conn: sa.Connection) -> list[ConductorRow]:
    """The processes that work on operations (or lately did: compare beat_at)."""
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
    ) -> None:
        self.incarnation = ""
        self.beat = beat
        self.dead = dead
        self._db = db
        self._clock = clock
        self._host = host
        self._group = group
        self._roles = list(roles)
        self._info = info
        self._seen: dict[str, tuple[int, float]] = {}
        self._last_beat = 0.0

    async def join(self) -> None:
        """Register under a new incarnation; earlier ones of this host name are removed."""
        incarnation = f"{self._host}:{new_hex()[:12]}"
        moment = timestamp(self._clock.now())
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
            conn.execute(sa.delete(conductors).where(conductors.c.host == self._host))
            conn.execute(sa.insert(conductors).values(row))

        await self._db.write(change)
        self.incarnation = incarnation
        self._last_beat = self._clock.monotonic()

    async def leave(self) -> None:
        me = self.incarnation
        await self._db.write(
            lambda conn: (
                conn.execute(sa.delete(conductors).where(conductors.c.incarnation == me)).rowcount
            )
        )

    async def tick(self) -> tuple[bool, int]:
        """Beat once and look at the others: (are we still a member, how many were expelled)."""
        me = self.incarnation
        moment = timestamp(self._clock.now())

        def change(conn: sa.Connection) -> tuple[int, dict[str, int]]:
            mine = conn.execute(
                sa.update(conductors)
                .where(conductors.c.incarnation == me)
                .values(beat=conductors.c.beat + 1, beat_at=moment)
            ).rowcount
            rows = conn.execute(
                sa.select(conductors.c.incarnation, conductors.c.beat).where(
                    conductors.c.incarnation != me
                )
            )
            return mine, {row.incarnation: row.beat for row in rows}

        mine, others = await self._db.write(change)
        self._last_beat = self._clock.monotonic()
        return mine == 1, await self._expel(others)

    async def _expel(self, others: dict[str, int]) -> int:
        moment = self._clock.monotonic()
        silent: list[tuple[str, int]] = []
        for incarnation, beat in others.items():
            before = self._seen.get(incarnation)
            if before is None or before[0] != beat:
                self._seen[incarnation] = (beat, moment)
            elif moment - before[1] >= self.dead:
                silent.append((incarnation, beat))
        for incarnation in list(self._seen):
            if incarnation not in others:
                del self._seen[incarnation]
        expelled = 0
        for incarnation, beat in silent:
            gone = await self._db.write(_expel(incarnation, beat))
            if gone:
                log.warning(
                    "conductor %s has not beaten for %g s: its operations are taken over",
                    incarnation,
                    self.dead,
                )
            expelled += gone
        return expelled

    def silent_for(self) -> float:
        """Seconds since our own last beat reached the database."""
        return self._clock.monotonic() - self._last_beat


def _expel(incarnation: str, beat: int) -> Callable[[sa.Connection], int]:
    def change(conn: sa.Connection) -> int:
        return conn.execute(
            sa.delete(conductors).where(
                conductors.c.incarnation == incarnation, conductors.c.beat == beat
            )
        ).rowcount

    return change
