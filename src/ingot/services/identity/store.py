"""All SQL about things that have an id: rows in, rows out (plain dicts, JSON columns already read)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.filters import COMPARISONS, compared
from ingot.kit.db.database import (
    IntegrityError,
    PreparedStatement,
    from_json,
    timestamp,
    to_json,
)
from ingot.kit.faults import Conflict, Missing
from ingot.kit.tasks.clock import Clock
from ingot.services.identity import tables

#: How long after its end a token may still be validated by a service that finishes old work.
EXPIRED_WINDOW = timedelta(hours=48)

Row = dict[str, Any]

_JSON = ("extra", "tags", "role_ids", "filters")


def _out(row: Mapping[Any, Any]) -> Row:
    whole = {str(key): value for key, value in row.items()}
    for name in _JSON:
        if name in whole:
            whole[name] = from_json(whole[name])
    return whole


def _in(values: Mapping[str, Any]) -> Row:
    return {k: to_json(v) if k in _JSON else v for k, v in values.items()}


def insert(conn: sa.Connection, table: sa.Table, values: Mapping[str, Any], what: str) -> None:
    """A new row; a duplicate of its unique columns is a Conflict that names `what`."""
    try:
        conn.execute(table.insert().values(_in(values)))
    except IntegrityError:
        raise Conflict(
            f"Conflict occurred attempting to store {what} - Duplicate entry found with name "
            f"{values.get('name', values.get('id'))}."
        ) from None


def get(conn: sa.Connection, table: sa.Table, key: str) -> Row | None:
    rows = _by_id(table).mappings(conn, {"ident": key})
    return _out(rows[0]) if rows else None


@functools.cache
def _by_id(table: sa.Table) -> PreparedStatement:
    return PreparedStatement(sa.select(table).where(table.c.id == sa.bindparam("ident")))


def need(conn: sa.Connection, table: sa.Table, key: str, what: str) -> Row:
    """The row, or the 404 that Keystone would give."""
    row = get(conn, table, key)
    if row is None:
        raise Missing(f"Could not find {what}: {key}.")
    return row


def by_name(conn: sa.Connection, table: sa.Table, name: str, **where: Any) -> Row | None:
    query = sa.select(table).where(table.c.name == name)
    for column, value in where.items():
        query = query.where(table.c[column] == value)
    row = conn.execute(query).mappings().first()
    return None if row is None else _out(row)


def domain_by_name(conn: sa.Connection, name: str) -> Row | None:
    """A domain's name is the same in any case, as with Keystone on MySQL; one that fits exactly comes first."""
    table = tables.projects
    query = (
        sa.select(table)
        .where(table.c.is_domain, sa.func.lower(table.c.name) == sa.func.lower(name))
        .order_by(sa.case((table.c.name == name, 0), else_=1), table.c.id)
    )
    row = conn.execute(query.limit(1)).mappings().first()
    return None if row is None else _out(row)


def find(
    conn: sa.Connection,
    table: sa.Table,
    filters: Iterable[tuple[str, Any]] = (),
    *,
    ids: sa.Select[Any] | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Rows by filters (`name`, `name__contains`…), in the order of name and id.

    ValueError for a filter on what no API shows (`secret` in the column's info): whoever may compare a text may
    read it, letter by letter.
    """
    query = sa.select(table)
    for key, value in filters:
        name, _, word = key.partition("__")
        column = table.c[name]
        if column.info.get("secret"):
            raise ValueError(f"rows of {table.name} are not found by {name}")
        query = query.where(compared(column, word, value) if word else column == value)
    if ids is not None:
        query = query.where(table.c.id.in_(ids))
    order = [table.c.name] if "name" in table.c else []
    query = query.order_by(*order, table.c.id)
    if limit is not None:
        query = query.limit(limit)
    return [_out(row) for row in conn.execute(query).mappings()]


def comparison(key: str) -> str | None:
    """The column that a filter such as `name__contains` compares; None where the word is not known."""
    name, mark, word = key.partition("__")
    return name if not mark or word in COMPARISONS else None


def update(
    conn: sa.Connection, table: sa.Table, key: str, values: Mapping[str, Any], what: str
) -> None:
    if not values:
        return
    try:
        conn.execute(table.update().where(table.c.id == key).values(_in(values)))
    except IntegrityError:
        raise Conflict(
            f"Conflict occurred attempting to store {what} - Duplicate entry found with name "
            f"{values.get('name')}."
        ) from None


def delete(conn: sa.Connection, table: sa.Table, key: str) -> None:
    conn.execute(table.delete().where(table.c.id == key))


def names(conn: sa.Connection, table: sa.Table, ids: Iterable[str]) -> dict[str, Row]:
    """id -> id, name, domain_id for the given ids."""
    wanted = set(ids)
    if not wanted:
        return {}
    columns = [table.c.id, table.c.name, table.c.domain_id]
    query = sa.select(*columns).where(table.c.id.in_(wanted))
    return {row["id"]: dict(row) for row in conn.execute(query).mappings()}


# -- the epoch and revocations -------------------------------------------------------------------


def touch(conn: sa.Connection) -> int:
    """Say that known tokens may mean something else now; the epoch that begins."""
    raised = conn.execute(tables.state.update().values(epoch=tables.state.c.epoch + 1))
    if raised.rowcount == 0:
        conn.execute(tables.state.insert().values(id=1, epoch=1))
    return epoch(conn)


_EPOCH = f"SELECT epoch FROM {tables.state.name} WHERE id = 1"


def epoch(conn: sa.Connection) -> int:
    """Read before every use of a cached token, so kept as plain as can be."""
    row = conn.exec_driver_sql(_EPOCH).first()
    return 0 if row is None else int(row[0])


def revoke(conn: sa.Connection, audit_id: str, expires_at: str) -> None:
    gone = conn.execute(
        sa.select(tables.revocations.c.audit_id).where(tables.revocations.c.audit_id == audit_id)
    ).first()
    if gone is None:
        conn.execute(tables.revocations.insert().values(audit_id=audit_id, expires_at=expires_at))
    touch(conn)


def is_revoked(conn: sa.Connection, audit_ids: Iterable[str]) -> bool:
    query = sa.select(tables.revocations.c.audit_id).where(
        tables.revocations.c.audit_id.in_(list(audit_ids))
    )
    return conn.execute(query.limit(1)).first() is not None


def forget_revocations(conn: sa.Connection, clock: Clock) -> int:
    """Drop revocations of tokens that are good for nothing any more; how many there were."""
    ended = timestamp(clock.now() - EXPIRED_WINDOW)
    gone = conn.execute(tables.revocations.delete().where(tables.revocations.c.expires_at < ended))
    return gone.rowcount


# -- users, groups, projects ---------------------------------------------------------------------


def groups_of(user_id: str) -> sa.Select[Any]:
    return sa.select(tables.memberships.c.group_id).where(tables.memberships.c.user_id == user_id)


def members_of(group_id: str) -> sa.Select[Any]:
    return sa.select(tables.memberships.c.user_id).where(tables.memberships.c.group_id == group_id)


def is_member(conn: sa.Connection, group_id: str, user_id: str) -> bool:
    query = members_of(group_id).where(tables.memberships.c.user_id == user_id)
    return conn.execute(query).first() is not None


def set_member(conn: sa.Connection, group_id: str, user_id: str, present: bool) -> None:
    table = tables.memberships
    there = is_member(conn, group_id, user_id)
    if present == there:
        return
    since = touch(conn)
    if present:
        conn.execute(table.insert().values(group_id=group_id, user_id=user_id, since=since))
    else:
        conn.execute(table.delete().where(table.c.group_id == group_id, table.c.user_id == user_id))


def end_tokens_of(conn: sa.Connection, table: sa.Table, key: str) -> None:
    """End all tokens of a user or for a project that were made until now."""
    conn.execute(table.update().where(table.c.id == key).values(generation=table.c.generation + 1))
    touch(conn)


def end_tokens_of_domain(conn: sa.Connection, domain_id: str) -> None:
    """End all tokens of a domain's users, for its projects and for itself that were made until now."""
    table = tables.projects
    conn.execute(table.update().where(table.c.id == domain_id).values(ended=touch(conn)))


def forget_actor(conn: sa.Connection, actor_type: str, actor_id: str) -> None:
    """Delete a user or group with its assignments."""
    table = tables.assignments
    conn.execute(
        table.delete().where(table.c.actor_type == actor_type, table.c.actor_id == actor_id)
    )
    delete(conn, tables.users if actor_type == "user" else tables.groups, actor_id)
    touch(conn)


def forget_project(conn: sa.Connection, project_id: str) -> None:
    """Delete a project or domain with the assignments on it and application credentials for it."""
    table = tables.assignments
    conn.execute(
        table.delete().where(
            table.c.target_type.in_(("project", "domain")), table.c.target_id == project_id
        )
    )
    limits = tables.limits
    conn.execute(
        limits.delete().where(
            sa.or_(limits.c.project_id == project_id, limits.c.domain_id == project_id)
        )
    )
    delete(conn, tables.projects, project_id)
    touch(conn)


def limits_of(project_id: str | None, domain_id: str | None) -> sa.ColumnElement[bool]:
    """Limits of a project; of a domain and of its projects."""
    table = tables.limits
    if project_id:
        return table.c.project_id == project_id
    if domain_id:
        inside = sa.select(tables.projects.c.id).where(tables.projects.c.domain_id == domain_id)
        return sa.or_(table.c.domain_id == domain_id, table.c.project_id.in_(inside))
    return sa.false()


def ids_in_domain(conn: sa.Connection, table: sa.Table, domain_id: str) -> list[str]:
    query = sa.select(table.c.id).where(table.c.domain_id == domain_id)
    return list(conn.execute(query).scalars())


def subtree(conn: sa.Connection, project_id: str) -> list[Row]:
    """All projects below one, parents before children."""
    found: list[Row] = []
    level = [project_id]
    while level:
        query = sa.select(tables.projects).where(
            tables.projects.c.parent_id.in_(level), tables.projects.c.is_domain.is_(False)
        )
        rows = [_out(row) for row in conn.execute(query).mappings()]
        found.extend(rows)
        level = [row["id"] for row in rows]
    return found


def parents(conn: sa.Connection, project: Row) -> list[Row]:
    """The projects above one, nearest first, without its domain."""
    found: list[Row] = []
    here = project
    while here["parent_id"] and here["parent_id"] != here["domain_id"] and len(found) < 32:
        above = get(conn, tables.projects, here["parent_id"])
        if above is None:
            break
        found.append(above)
        here = above
    return found
