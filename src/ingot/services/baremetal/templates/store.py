"""Queries of deploy templates and runbooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import IntegrityError
from ingot.kit.faults import Conflict
from ingot.services.baremetal.tables import deploy_templates, runbooks

#: What a table's rows are called.
_THINGS = {deploy_templates.name: "deploy template", runbooks.name: "runbook"}


def insert(conn: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> None:
    """A new row, JSON as text; Conflict when another one has its uuid or name."""
    _unique(conn, table, None, uuid=row["uuid"], name=row["name"])
    try:
        conn.execute(table.insert().values(**row))
    except IntegrityError as error:
        raise _taken(table, error) from error


def update(conn: sa.Connection, table: sa.Table, uuid: str, values: Mapping[str, Any]) -> None:
    """Set columns of a row, JSON as text; Conflict when another one has its name."""
    _unique(conn, table, uuid, name=values.get("name"))
    try:
        conn.execute(sa.update(table).where(table.c.uuid == uuid).values(**values))
    except IntegrityError as error:
        raise _taken(table, error) from error


def remove(conn: sa.Connection, table: sa.Table, uuid: str) -> None:
    conn.execute(sa.delete(table).where(table.c.uuid == uuid))


def templates_named(conn: sa.Connection, names: Iterable[str]) -> Sequence[sa.RowMapping]:
    """The deploy templates with these names, in the order of their creation."""
    query = sa.select(deploy_templates).where(deploy_templates.c.name.in_(list(names)))
    return conn.execute(query.order_by(deploy_templates.c.id)).mappings().all()


def find_runbook(conn: sa.Connection, ident: str) -> sa.RowMapping | None:
    """By uuid or name."""
    column = runbooks.c.uuid if ids.is_uuid(ident) else runbooks.c.name
    meant = column.in_(ids.spellings(ident))
    return conn.execute(sa.select(runbooks).where(meant)).mappings().first()


def _unique(conn: sa.Connection, table: sa.Table, but: str | None, **wanted: str | None) -> None:
    for column, value in wanted.items():
        query = sa.select(table.c.uuid).where(table.c[column] == value)
        if value is not None and conn.execute(query).scalar() not in (None, but):
            what = "UUID" if column == "uuid" else column
            raise Conflict(f"A {_THINGS[table.name]} with {what} {value} already exists.")


def _taken(table: sa.Table, error: IntegrityError) -> Conflict:
    return Conflict(
        f"A {_THINGS[table.name]} with this name or UUID already exists.",
        internal=str(error.orig),
    )
