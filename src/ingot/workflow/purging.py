"""Operations and steps that were kept long enough, deleted some at a time."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ingot.kit.db.database import timestamp

from .tables import operations, steps


def purge(conn: sa.Connection, before: datetime, limit: int = 1000) -> int:
    """Delete operations that ended before a time, with their steps."""
    old = sa.select(operations.c.id).where(operations.c.ended_at < timestamp(before)).limit(limit)
    return conn.execute(
        sa.delete(operations).where(operations.c.id.in_(old.scalar_subquery()))
    ).rowcount


#: Where `purge_steps` begins.
FIRST = ("", "")


def purge_steps(
    conn: sa.Connection, after: tuple[str, str], before: datetime, limit: int
) -> tuple[int, tuple[str, str] | None]:
    """Delete the steps of operations that ended before a time, at most so many; the operations stay.

    after: when one ended, and its id: those up to it are passed over. Gives how many operations were looked at, and
    the last of them: where to go on.
    """
    ended, ident = after
    later = (operations.c.ended_at == ended) & (operations.c.id > ident)
    old = (
        sa.select(operations.c.id, operations.c.ended_at)
        .where((operations.c.ended_at > ended) | later, operations.c.ended_at < timestamp(before))
        .order_by(operations.c.ended_at, operations.c.id)
        .limit(limit)
    )
    found = conn.execute(old).all()
    conn.execute(sa.delete(steps).where(steps.c.operation_id.in_([row.id for row in found])))
    return len(found), (found[-1].ended_at, found[-1].id) if found else None
