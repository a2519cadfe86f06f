"""Forgetting servers that were deleted long ago: until then lists of changes and administrators still see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from ingot.kit.db.database import timestamp
from ingot.services.compute.tables import servers


def long_deleted(conn: sa.Connection, before: datetime, limit: int) -> list[int]:
    """Numbers of up to `limit` servers that were deleted before a time. No index helps: not for the event loop."""
    query = sa.select(servers.c.number).where(servers.c.deleted_at < timestamp(before))
    return list(conn.execute(query.order_by(servers.c.number).limit(limit)).scalars())


def forget(conn: sa.Connection, numbers: Sequence[int]) -> int:
    """Delete the rows of deleted servers; gives how many there were."""
    gone = servers.c.number.in_(list(numbers)) & servers.c.deleted_at.is_not(None)
    return conn.execute(sa.delete(servers).where(gone)).rowcount
