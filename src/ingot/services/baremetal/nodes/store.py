"""Queries of the API and of verbs about nodes; one node as a value is read by `baremetal.store`."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.baremetal.tables import nodes

# -- rows ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=200)
def _insert_of(names: tuple[str, ...]) -> PreparedStatement:
    """The statement that makes a node of these columns; clients name a few dozen combinations."""
    return PreparedStatement.insert(nodes, *names)


def insert(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """A new node, JSON as text. Raises IntegrityError when its name, uuid or instance is taken."""
    _insert_of(tuple(row)).change(conn, row)


def row_of(conn: sa.Connection, uuid: str) -> sa.RowMapping:
    """All columns of a node that is there, as they are stored."""
    return conn.execute(sa.select(nodes).where(nodes.c.uuid == uuid)).mappings().one()


def columns_of(conn: sa.Connection, uuid: str, names: Sequence[str]) -> dict[str, Any]:
    """Some columns of a node that is there, as they are stored."""
    columns = [nodes.c[name] for name in names]
    row = conn.execute(sa.select(*columns).where(nodes.c.uuid == uuid)).one()
    return dict(zip(names, row, strict=True))


def last_error(conn: sa.Connection, uuid: str) -> str | None:
    return conn.execute(sa.select(nodes.c.last_error).where(nodes.c.uuid == uuid)).scalar()


def is_taken(conn: sa.Connection, column: str, value: Any, but: str | None) -> bool:
    """Whether a node other than `but` has this value."""
    query = sa.select(nodes.c.uuid).where(nodes.c[column] == value)
    if but is not None:
        query = query.where(nodes.c.uuid != but)
    return conn.execute(query).first() is not None


# -- who and which -------------------------------------------------------------------------------

_OWNER = {
    name: sa.select(nodes.c.uuid, nodes.c.owner, nodes.c.lessee).where(
        nodes.c[name] == sa.bindparam("ident")
    )
    for name in ("uuid", "name")
}
_OWNER_OF = {name: PreparedStatement(query) for name, query in _OWNER.items()}
_OWNER_LOCKED = {name: PreparedStatement(query.with_for_update()) for name, query in _OWNER.items()}


def owner_by(
    conn: sa.Connection, column: str, ident: str, *, lock: bool = False
) -> tuple[Any, ...] | None:
    """uuid, owner and lessee of the node with this uuid or name (column), of whatever project.

    lock: until the transaction ends.
    """
    return (_OWNER_LOCKED if lock else _OWNER_OF)[column].first(conn, {"ident": ident})


def named(
    conn: sa.Connection, idents: Collection[str], project: str | None
) -> list[tuple[str, str | None]]:
    """uuid and name of the nodes with these uuids or names. project: only nodes that it owns or leases."""
    where = [sa.or_(nodes.c.uuid.in_(idents), nodes.c.name.in_(idents))]
    if project is not None:
        where.append(sa.or_(nodes.c.owner == project, nodes.c.lessee == project))
    rows = conn.execute(sa.select(nodes.c.uuid, nodes.c.name).where(*where))
    return [(uuid, name) for uuid, name in rows]


def children(
    conn: sa.Connection,
    parent: str,
    only: Collection[str] | None = None,
    project: str | None = None,
) -> list[str]:
    """uuids of the nodes below another, in the order of their enrolment.

    only: of these. project: only nodes that it owns or leases.
    """
    query = sa.select(nodes.c.uuid).where(nodes.c.parent_node == parent)
    if project is not None:
        query = query.where(sa.or_(nodes.c.owner == project, nodes.c.lessee == project))
    if only:
        query = query.where(nodes.c.uuid.in_(only))
    return list(conn.execute(query.order_by(nodes.c.id)).scalars())


def count_in(conn: sa.Connection, states: Collection[str]) -> int:
    """Nodes in these provisioning states."""
    query = sa.select(sa.func.count()).where(nodes.c.provision_state.in_(states))
    return conn.execute(query).scalar_one()


def shards(conn: sa.Connection) -> Sequence[tuple[str | None, int]]:
    """Shards and how many nodes each has, the largest first."""
    counted = sa.func.count(nodes.c.id)
    query = sa.select(nodes.c.shard, counted).group_by(nodes.c.shard)
    rows = conn.execute(query.order_by(counted.desc(), nodes.c.shard))
    return [(shard, count) for shard, count in rows]
