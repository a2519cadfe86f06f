"""All SQL about trusts: what one user lets another do in a project."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import timestamp, when
from ingot.services.identity import store, tables

_T = tables.trusts
#: A trust is passed on so often at most.
MOST_REDELEGATIONS = 3


def get(conn: sa.Connection, trust_id: str, now: datetime) -> store.Row | None:
    """A trust that has not expired; None for others. It may be used up."""
    row = store.get(conn, _T, trust_id)
    end = when(row["expires_at"]) if row is not None else None
    return None if end is not None and end <= now else row


def of(conn: sa.Connection, filters: Mapping[str, str], now: datetime) -> list[store.Row]:
    """Trusts that can be used, whose columns equal the filters."""
    rows = store.find(conn, _T, filters.items())
    ended = timestamp(now)
    return [
        row
        for row in rows
        if row["remaining_uses"] != 0 and not (row["expires_at"] and row["expires_at"] <= ended)
    ]


def root(conn: sa.Connection, trust: store.Row) -> store.Row | None:
    """The trust at the beginning of a chain of redelegations; None where the chain is broken."""
    here: store.Row | None = trust
    for _ in range(MOST_REDELEGATIONS + 1):
        if here is None or not here["redelegated_trust_id"]:
            return here
        here = store.get(conn, _T, here["redelegated_trust_id"])
    return None


def use(conn: sa.Connection, trust_id: str) -> bool:
    """Count one use; whether there was one left."""
    left = sa.or_(_T.c.remaining_uses.is_(None), _T.c.remaining_uses > 0)
    change = sa.update(_T).where(_T.c.id == trust_id, left)
    return conn.execute(change.values(remaining_uses=_T.c.remaining_uses - 1)).rowcount > 0


def insert(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    store.insert(conn, _T, row, "trust")


def delete(conn: sa.Connection, trust_id: str) -> None:
    """Delete a trust with all that were made of it; their tokens end."""
    store.delete(conn, _T, trust_id)
    store.touch(conn)
