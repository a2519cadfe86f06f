"""Operations and steps that were kept long enough, deleted some at a time."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from ingot.kit.db import timestamp

from .tables import operations, steps


def purge(conn: sa.Connection, before: datetime, limit: int = 1000) -> int:
    """Delete operations that ended before a time, with their steps."""
    old = sa.select(operations.c.id).where(operations.c.ended_at < timestamp(before)).limit(limit)
    return conn.execute(
        sa.delete(operations).where(operations.c.id.in_(old.scalar_subquery()))
    ).rowcount


def purge_steps(
    conn: sa.Connection, after: str, before: datetime, limit: int
) -> tuple[int, str | None]:
    """Delete the steps of operations that ended between two times, at most so many; the operations stay.

    Gives how many operations were looked at, and when the last of them ended: where to go on.
    """
    old = (
        sa.select(operations.c.id, operations.c.ended_at)
        .where(operations.c.ended_at > after, operations.c.ended_at < timestamp(before))
        .order_by(operations.c.ended_at)
        .limit(limit)
    )
    found = conn.execute(old).all()
    conn.execute(sa.delete(steps).where(steps.c.operation_id.in_([row.id for row in found])))
    return len(found), found[-1].ended_at if found else None
