"""How long what is over is kept: by default its outlines for ever, and the details a year.

An outline is an operation's own row: what, on what, for whom, when, and how it ended. Details are its steps and the
events. Deleted servers and audit records go after a year too. All go in small batches with pauses between them, so that
nobody waits for the writer; SQLite uses the room again, and gives it back to the disk by `VACUUM` of a stopped cloud.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from ingot import workflow
from ingot.kit import log
from ingot.kit.audit import recorder as audit_recorder
from ingot.kit.db.database import Database, delete_older
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock
from ingot.services import compute
from ingot.services.identity import Identity, forget_revocations
from ingot.settings import Retention, Settings

_log = log.get("retention")
EVERY_SECONDS = 3600.0
BATCH = 500
PAUSE_SECONDS = 0.2


def loop(db: Database, clock: Clock, settings: Settings, identity: Identity) -> workflow.Loop:
    """The loop that deletes, once an hour."""
    keeper = Keeper(db, clock, settings.retention, identity)
    return workflow.Loop("retention", EVERY_SECONDS, keeper.run, clock=clock)


class Keeper:
    """Deletes what is older than the operator wants."""

    def __init__(
        self, db: Database, clock: Clock, own: Retention, identity: Identity | None = None
    ) -> None:
        self._db = db
        self._identity = identity
        self._clock = clock
        self._own = own
        #: Operations up to here have lost their steps.
        self._stripped = workflow.FIRST

    async def run(self) -> None:
        """One round. Raises Away."""
        own, now = self._own, self._clock.now()
        if own.details_days:
            old = now - timedelta(days=own.details_days)
            await self._all("events", lambda conn: delete_older(conn, events.events, old, BATCH))
            await self._all("steps of operations", lambda conn: self._strip(conn, old))
        if own.operations_days:
            ended = now - timedelta(days=own.operations_days)
            await self._all("operations", lambda conn: workflow.purge(conn, ended, BATCH))
        if own.audit_days:
            noted = now - timedelta(days=own.audit_days)
            await self._all(
                "audit records", lambda conn: delete_older(conn, audit_recorder.audit, noted, BATCH)
            )
        if most := own.audit_records:
            await self._all(
                "audit records beyond their number",
                lambda conn: audit_recorder.delete_oldest(conn, most, BATCH),
            )
        if own.servers_days:
            await self._forget_servers(now - timedelta(days=own.servers_days))
        if self._identity is not None:
            await forget_revocations(self._identity)

    async def _forget_servers(self, before: datetime) -> None:
        """Found beside the writer, as that may take a while."""

        def find(conn: sa.Connection) -> list[int]:
            return compute.long_deleted(conn, before, BATCH)

        total = 0
        while numbers := await self._db.scan(find):
            total += await self._db.write(
                lambda conn, numbers=numbers: compute.forget(conn, numbers), serializable=False
            )
            await self._clock.sleep(PAUSE_SECONDS)
        if total:
            _log.info("deleted what was kept long enough", what="deleted servers", count=total)

    def _strip(self, conn: sa.Connection, old: datetime) -> int:
        count, last = workflow.purge_steps(conn, self._stripped, old, BATCH)
        self._stripped = last or self._stripped
        return count

    async def _all(self, what: str, some: Callable[[sa.Connection], int]) -> None:
        total = 0
        while count := await self._db.write(some, serializable=False):
            total += count
            if count < BATCH:
                break
            await self._clock.sleep(PAUSE_SECONDS)
        if total:
            _log.info("deleted what was kept long enough", what=what, count=total)
