"""Rows of resources: read, written and removed by statements that carry what the caller sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.fields import Row
from ingot.kit.api.operations import Call
from ingot.kit.api.resource import Backing, Resource, Values, Where
from ingot.kit.db.database import IntegrityError, from_json, to_json
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Conflict


class TableRows:
    """Rows that are just those of the resource's table (`resource.Backing`)."""

    def select(
        self,
        tx: Tx,
        resource: Resource,
        where: Sequence[Where],
        order: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | None = None,
    ) -> Sequence[Row]:
        return select(tx, resource, where, order, limit)

    def get(
        self, tx: Tx, resource: Resource, ident: str, where: Sequence[Where], lock: str = ""
    ) -> Row | None:
        return get(tx, resource, ident, where, lock=bool(lock))

    def insert(self, tx: Tx, resource: Resource, call: Call, values: Values) -> Row:
        return insert(tx, resource, values)

    def update(
        self, tx: Tx, resource: Resource, call: Call, before: Row, values: Values
    ) -> Row | None:
        return update(tx, resource, str(before[resource.id]), resource.seen(call), values)

    def delete(self, tx: Tx, resource: Resource, call: Call, row: Row) -> bool:
        return delete(tx, resource, str(row[resource.id]), resource.seen(call))


TABLE_ROWS = TableRows()


def backing(resource: Resource) -> Backing:
    """Where the rows of a resource are read and written."""
    return resource.rows or TABLE_ROWS


@cache
def _readers(table: sa.Table) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """How columns are read that drivers do not give as they are meant."""
    found: list[tuple[str, Callable[[Any], Any]]] = []
    for column in table.c:
        if column.info.get("json"):
            found.append((column.name, from_json))
        elif isinstance(column.type, sa.Boolean):
            found.append((column.name, lambda value: None if value is None else bool(value)))
    return tuple(found)


def _out(table: sa.Table, row: Mapping[Any, Any]) -> Values:
    values = {str(name): value for name, value in row.items()}
    for name, read in _readers(table):
        values[name] = read(values[name])
    return values


def _in(table: sa.Table, values: Mapping[str, Any]) -> Values:
    return {
        name: to_json(value) if table.c[name].info.get("json") else value
        for name, value in values.items()
    }


def select(
    tx: Tx,
    resource: Resource,
    where: Sequence[Where],
    order: Sequence[sa.ColumnElement[Any]] = (),
    limit: int | None = None,
) -> list[Values]:
    """Rows that meet the conditions, in this order; by `Resource.order` and id without one."""
    table = resource.table
    ordered = order or [*(table.c[name] for name in resource.order), table.c[resource.id]]
    query = sa.select(table).where(*where).order_by(*ordered).limit(limit)
    return [_out(table, row) for row in tx.conn.execute(query).mappings()]


def get(
    tx: Tx, resource: Resource, ident: str, where: Sequence[Where], *, lock: bool = False
) -> Values | None:
    """One row by its id, of those that meet the conditions. lock: as it stays until the transaction ends."""
    table = resource.table
    query = sa.select(table).where(table.c[resource.id] == ident, *where)
    if lock and tx.conn.dialect.name != "sqlite":  # which has one writer
        query = query.with_for_update(of=table)
    row = tx.conn.execute(query).mappings().first()
    return None if row is None else _out(table, row)


def marked(
    tx: Tx,
    resource: Resource,
    ident: str,
    where: Sequence[Where],
    order: Sequence[tuple[str, sa.ColumnElement[Any], bool]],
) -> Mapping[str, Any] | None:
    """What a list is ordered by, of the row that a page begins after; None when it is not among these rows."""
    columns = [expression.label(name) for name, expression, _ in order]
    query = sa.select(*columns).where(resource.table.c[resource.id] == ident, *where)
    row = tx.conn.execute(query).mappings().first()
    return None if row is None else {str(name): value for name, value in row.items()}


def insert(tx: Tx, resource: Resource, values: Mapping[str, Any]) -> Values:
    """A new row; Conflict for a value that must be the only one of its kind."""
    table = resource.table
    given = {**_stamps(table, tx.now, "created_at", "updated_at"), **values}
    if "revision_number" in table.c:
        given.setdefault("revision_number", 0)
    try:
        row = tx.conn.execute(table.insert().values(_in(table, given)).returning(*table.c))
        return _out(table, row.mappings().one())
    except IntegrityError as error:
        raise _refused(resource, values, error) from None


def update(
    tx: Tx, resource: Resource, ident: str, where: Sequence[Where], values: Mapping[str, Any]
) -> Values | None:
    """Change a row of those that meet the conditions; None when there is none."""
    table = resource.table
    given: Values = {**_stamps(table, tx.now, "updated_at"), **_in(table, values)}
    if "revision_number" in table.c:
        given["revision_number"] = table.c.revision_number + 1
    if not given:
        return get(tx, resource, ident, where)
    change = sa.update(table).where(table.c[resource.id] == ident, *where).values(given)
    try:
        row = tx.conn.execute(change.returning(*table.c)).mappings().first()
    except IntegrityError as error:
        raise _refused(resource, values, error) from None
    return None if row is None else _out(table, row)


def delete(tx: Tx, resource: Resource, ident: str, where: Sequence[Where]) -> bool:
    """Remove a row of those that meet the conditions; whether there was one. Conflict while something needs it."""
    table = resource.table
    try:
        gone = tx.conn.execute(sa.delete(table).where(table.c[resource.id] == ident, *where))
    except IntegrityError:
        raise Conflict(
            f"The {resource.name.replace('_', ' ')} {ident} is in use.",
            next_action="Delete what is in it first.",
        ) from None
    return gone.rowcount > 0


def _refused(resource: Resource, values: Mapping[str, Any], error: IntegrityError) -> Conflict:
    """The fault of a row that a constraint does not let in. The transaction ends with it."""
    if "foreign key" in str(error.orig).lower():
        return Conflict(
            f"What the {resource.name.replace('_', ' ')} belongs to is not there any more.",
            next_action="Look at it again, then repeat the request.",
        )
    return conflict(resource, values)


def conflict(resource: Resource, values: Mapping[str, Any]) -> Conflict:
    """What is told of a value that another row has already."""
    what = resource.name.replace("_", " ")
    if resource.conflict:
        return Conflict(resource.conflict.format(**{"name": "", **values}))
    named = f" with the name {values['name']}" if values.get("name") else ""
    return Conflict(f"A {what}{named} exists already.")


def _stamps(table: sa.Table, now: str, *names: str) -> Values:
    return {name: now for name in names if name in table.c}
