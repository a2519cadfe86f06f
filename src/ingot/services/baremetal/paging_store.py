"""Pages of lists: order, limit and marker as parts of a statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.paging import Page
from ingot.kit.faults import Missing


def paged(
    conn: sa.Connection,
    query: sa.Select[Any],
    table: sa.Table,
    page: Page,
    thing: str,
    marker: sa.ColumnElement[Any],
    visible: Sequence[sa.ColumnElement[bool]] = (),
) -> sa.Select[Any]:
    """Order and cut a query; the page begins after the marker's row. NULL sorts as the smallest.

    visible: what the caller may see; a marker outside of it is like none.
    """
    at = None if page.marker is None else marked(conn, table, page, thing, marker, visible)
    return cut(query, table, page.sort_key, page.descending, at).limit(page.limit)


def marked(
    conn: sa.Connection,
    table: sa.Table,
    page: Page,
    thing: str,
    marker: sa.ColumnElement[Any],
    visible: Sequence[sa.ColumnElement[bool]] = (),
) -> tuple[Any, ...]:
    """Where the marker's row stands in the order; Missing when the caller sees none."""
    order = _order(table, page.sort_key)
    meant = marker.in_(ids.spellings(page.marker or ""))
    at = conn.execute(sa.select(*order).where(meant, *visible)).first()
    if at is None:
        raise Missing(f"{thing} {page.marker} could not be found.")
    return tuple(at)


def cut(
    query: sa.Select[Any],
    table: sa.Table,
    sort_key: str,
    descending: bool,
    at: Sequence[Any] | None,
) -> sa.Select[Any]:
    """Order a query and let it begin after a place that `marked` gave."""
    order = _order(table, sort_key)
    if at is not None:
        query = query.where(_after(order, at, descending))
    return query.order_by(*(c.desc() if descending else c.asc() for c in order))


def _order(table: sa.Table, sort_key: str) -> list[sa.ColumnElement[Any]]:
    key = _sort_expression(table, sort_key)
    return [key, table.c.id] if key is not table.c.id else [table.c.id]


def _sort_expression(table: sa.Table, name: str) -> sa.ColumnElement[Any]:
    column = table.c[name]
    if isinstance(column.type, sa.Boolean):
        # As a number: SQL has no order of truth values that one could page by.
        return sa.func.coalesce(sa.cast(column, sa.Integer), 0)
    # The constant is in the text, as in the indexes of `tables.SORTED`: a parameter would hide it from PostgreSQL.
    return sa.func.coalesce(column, sa.literal_column("''", sa.Text)) if column.nullable else column


def _after(
    order: Sequence[sa.ColumnElement[Any]], at: Sequence[Any], descending: bool
) -> sa.ColumnElement[bool]:
    if len(order) == 1:
        return order[0] < at[0] if descending else order[0] > at[0]
    # Compared as a whole, an index finds the place; by OR it would be walked up to there. SQLite finds it by the
    # first column only where that is an expression.
    here, place = sa.tuple_(*order), sa.tuple_(*at, types=[column.type for column in order])
    if descending:
        return sa.and_(order[0] <= at[0], here < place)
    return sa.and_(order[0] >= at[0], here > place)


def sortable(table: sa.Table, but: Collection[str] = ()) -> frozenset[str]:
    """Columns that a list may be sorted by."""
    return frozenset(column.name for column in table.columns) - set(but)
