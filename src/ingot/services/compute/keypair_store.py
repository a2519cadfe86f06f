"""All SQL of key pairs. Functions of a connection."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.compute.tables import keypairs
from ingot.services.compute.types import Keypair

#: One at a time for each person: PostgreSQL has no row that stands for all keys of somebody.
_LOCK = PreparedStatement(
    sa.select(
        sa.func.pg_advisory_xact_lock(
            sa.func.hashtextextended(sa.bindparam("user", type_=sa.Text), 0)
        )
    )
)
_COUNT = PreparedStatement(
    sa.select(
        sa.func.count(), sa.func.count().filter(keypairs.c.name == sa.bindparam("named"))
    ).where(keypairs.c.user_id == sa.bindparam("user"))
)
_INSERT = PreparedStatement.insert(keypairs, *(c.name for c in keypairs.c if c.name != "number"))


def hold(conn: sa.Connection, user_id: str, name: str) -> tuple[int, bool]:
    """How many key pairs somebody has, and whether one has this name; both stay so until the transaction ends.

    Right only where all that makes key pairs asks here first.
    """
    if conn.dialect.name != "sqlite":
        _LOCK.first(conn, {"user": user_id})
    ((total, named),) = _COUNT.rows(conn, {"user": user_id, "named": name})
    return total, named > 0


def of_user(conn: sa.Connection, user_id: str) -> list[Keypair]:
    query = sa.select(keypairs).where(keypairs.c.user_id == user_id).order_by(keypairs.c.name)
    return [Keypair(**row) for row in conn.execute(query).mappings()]


def find(conn: sa.Connection, user_id: str, name: str) -> Keypair | None:
    query = sa.select(keypairs).where(keypairs.c.user_id == user_id, keypairs.c.name == name)
    row = conn.execute(query).mappings().first()
    return None if row is None else Keypair(**row)


def insert(conn: sa.Connection, **values: Any) -> None:
    _INSERT.change(conn, values)


def delete(conn: sa.Connection, user_id: str, name: str) -> bool:
    done = conn.execute(
        sa.delete(keypairs).where(keypairs.c.user_id == user_id, keypairs.c.name == name)
    )
    return done.rowcount > 0
