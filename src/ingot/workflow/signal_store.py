"""Signals that wait for their operations: found, taken, forgotten."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from ingot.kit.db.prepared import PreparedStatement, among

from .tables import signals

_NAMED = sa.and_(
    signals.c.operation_id == sa.bindparam("op"), signals.c.name == sa.bindparam("named")
)
_FIND = sa.select(signals.c.id, signals.c.payload).where(_NAMED).limit(1)
_OLDEST = PreparedStatement(_FIND.order_by(signals.c.id))
_NEWEST = PreparedStatement(_FIND.order_by(signals.c.id.desc()))
_TAKE_ONE = PreparedStatement(
    sa.delete(signals).where(_NAMED, signals.c.id == sa.bindparam("number"))
)
_TAKE_UP_TO = PreparedStatement(
    sa.delete(signals).where(_NAMED, signals.c.id <= sa.bindparam("number"))
)


def find_signal(
    conn: sa.Connection, op_id: str, name: str, *, newest: bool
) -> tuple[int, str] | None:
    query = _NEWEST if newest else _OLDEST
    found = query.first(conn, {"op": op_id, "named": name})
    return None if found is None else (found[0], found[1])


def take_signal(conn: sa.Connection, op_id: str, name: str, number: int, *, older: bool) -> None:
    """Remove a consumed signal, with `older` also those that came before it."""
    statement = _TAKE_UP_TO if older else _TAKE_ONE
    statement.change(conn, {"op": op_id, "named": name, "number": number})


_FORGET_NAMED = PreparedStatement(sa.delete(signals).where(_NAMED))
_FORGET_OF_SOME = PreparedStatement(sa.delete(signals).where(among(signals.c.operation_id, "ids")))


def forget_signals(conn: sa.Connection, op_id: str, name: str | None = None) -> int:
    if name is None:
        return _FORGET_OF_SOME.change(conn, {"ids": [op_id]})
    return _FORGET_NAMED.change(conn, {"op": op_id, "named": name})


def forget_all_signals(conn: sa.Connection, ids: Collection[str]) -> None:
    if ids:
        _FORGET_OF_SOME.change(conn, {"ids": ids})
