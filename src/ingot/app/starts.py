"""Marks in the timeline: a process started or stops, and what it goes on with."""

from __future__ import annotations

import contextlib

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.faults import Unavailable
from ingot.kit.tasks import events
from ingot.workflow import operations

#: Operations that are told of one by one.
_MOST_TOLD = 1000


async def tell(db: Database, host: str) -> None:
    """That this process starts; alone (SQLite), also each operation that was under way when it ended.

    A mark is not worth a start: it is left out where the database cannot be written just now.
    """

    def told(conn: sa.Connection) -> None:
        live = operations(conn, None, _MOST_TOLD, live=True) if db.is_sqlite else []
        data = {"resumed": len(live)} if live else {}
        events.record(conn, f"host:{host}", "note", "Ingot started.", data=data)
        for one in live:
            events.record(
                conn,
                one.subject,
                "note",
                f"Ingot was started again; {one.kind} goes on.",
                operation_id=one.id,
                project_id=one.project_id,
            )

    with contextlib.suppress(Unavailable):
        await db.write(told)


async def tell_end(db: Database, host: str) -> None:
    """That this process was told to stop; left out where the database cannot be written just now."""
    with contextlib.suppress(Unavailable):
        await db.write(lambda conn: events.record(conn, f"host:{host}", "note", "Ingot stops."))
