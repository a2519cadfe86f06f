"""The query language of lists: equality filters, tags, fields, sorting and pages.

Pure but for building SQL expressions: a filter becomes part of the WHERE clause, never a loop over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.operations import Call
from ingot.kit.api.paging import check_keys
from ingot.kit.faults import Invalid
from ingot.kit.http.decoding import check_numbers
from ingot.services.network import store, tables

#: The most that one page holds; a reply that was cut has a link to the next page.
MOST = 2000

Filter = Callable[[Sequence[str]], store.Where]

_TRUE, _FALSE = {"true", "1", "yes", "t"}, {"false", "0", "no", "f"}


def _boolean(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Invalid(f"Invalid value for {name}: {text!r} is no boolean.")


def _numbers(name: str, values: Sequence[str]) -> list[int]:
    try:
        numbers = [int(text) for text in values]
    except ValueError:
        raise Invalid(f"Invalid value for {name}: {values} is no number.") from None
    check_numbers(numbers)
    return numbers


def equal(name: str, column: sa.Column[Any]) -> Filter:
    """One of the given values."""

    def build(values: Sequence[str]) -> store.Where:
        if isinstance(column.type, sa.Boolean):
            return column.in_([_boolean(name, text) for text in values])
        if isinstance(column.type, sa.Integer):
            return column.in_(_numbers(name, values))
        clause: store.Where = column.in_(values)
        if column.nullable and "" in values:
            clause = sa.or_(clause, column.is_(None))
        return clause

    return build


def constant(value: Any) -> Filter:
    """A field that has the same value in all rows."""
    return lambda values: sa.literal(str(value).lower() in {text.lower() for text in values})


def member(column: sa.Column[Any]) -> Filter:
    """A JSON list that has one of the given members."""
    return lambda values: sa.or_(*(store.contains(column, value) for value in values))


def _tags(values: Sequence[str]) -> list[str]:
    return [tag for value in values for tag in value.split(",") if tag]


def tag_filters(column: sa.Column[Any]) -> dict[str, Filter]:
    """tags: all of them; tags-any: one of them; not-tags and not-tags-any: the opposite."""

    def every(values: Sequence[str]) -> store.Where:
        return sa.and_(sa.true(), *(store.contains(column, tag) for tag in _tags(values)))

    def some(values: Sequence[str]) -> store.Where:
        return sa.or_(sa.false(), *(store.contains(column, tag) for tag in _tags(values)))

    return {
        "tags": every,
        "tags-any": some,
        "not-tags": lambda values: sa.not_(every(values)),
        "not-tags-any": lambda values: sa.not_(some(values)),
    }


def fixed_ips(values: Sequence[str]) -> store.Where:
    """`ip_address=…`, `subnet_id=…`, `ip_address_substr=…`; all kinds that are named must hold."""
    ips, port_id = tables.fixed_ips, tables.ports.c.id
    kinds: dict[str, list[str]] = {}
    for value in values:
        name, _, text = value.partition("=")
        kinds.setdefault(name, []).append(text)
    clauses: list[store.Where] = []
    for name, texts in kinds.items():
        if name == "ip_address_substr":
            condition: store.Where = sa.or_(
                *(ips.c.ip_address.contains(t, autoescape=True) for t in texts)
            )
        elif name in ("ip_address", "subnet_id"):
            condition = ips.c[name].in_(texts)
        else:
            raise Invalid(
                f"Invalid fixed_ips filter {name!r}: ip_address, subnet_id or ip_address_substr."
            )
        clauses.append(port_id.in_(sa.select(ips.c.port_id).where(condition)))
    return sa.and_(sa.true(), *clauses)


@dataclass(frozen=True)
class Query:
    """A list's checked query string."""

    where: tuple[store.Where, ...]
    fields: tuple[str, ...]
    limit: int | None
    marker: str | None
    sort: tuple[tuple[str, bool], ...]
    reverse: bool


def parse(call: Call, filters: Mapping[str, Filter], sortable: Sequence[str]) -> Query:
    """The query string of a list; a 400 names what is unknown or wrong."""
    grouped: dict[str, list[str]] = {}
    for name, value in call.args:
        grouped.setdefault(name, []).append(value)
    fields = tuple(name for name in grouped.pop("fields", []) if name)
    limit = _limit(grouped.pop("limit", None))
    marker = (grouped.pop("marker", None) or [None])[-1]
    reverse = _boolean("page_reverse", (grouped.pop("page_reverse", None) or ["false"])[-1])
    sort = _sort(grouped.pop("sort_key", []), grouped.pop("sort_dir", []), sortable)
    unknown = [name for name in grouped if name not in filters]
    if unknown:
        raise Invalid(f"{unknown} is invalid attribute for filtering.")
    where = tuple(filters[name](values) for name, values in grouped.items())
    return Query(where, fields, limit, marker or None, sort, reverse)


def _limit(values: list[str] | None) -> int | None:
    if not values:
        return None
    try:
        limit = int(values[-1])
    except ValueError:
        limit = -1
    if limit < 0:
        raise Invalid(f"Bad limit {values[-1]!r}: it must be an integer, 0 or more.")
    return min(limit, MOST) or None


def _sort(
    keys: list[str], dirs: list[str], sortable: Sequence[str]
) -> tuple[tuple[str, bool], ...]:
    if dirs and len(dirs) != len(keys):
        raise Invalid("The number of sort_keys and sort_dirs must be same.")
    check_keys(keys)
    sort: list[tuple[str, bool]] = []
    for at, key in enumerate(keys):
        direction = dirs[at] if dirs else "asc"
        if direction not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction {direction!r}: asc or desc.")
        if key not in sortable:
            raise Invalid(f"{[key]} is invalid attribute for sort_keys.")
        sort.append((key, direction == "desc"))
    return tuple(sort)


def ordering(
    table: sa.Table, columns: Mapping[str, str], query: Query
) -> list[tuple[str, sa.ColumnElement[Any], bool]]:
    """The order of a list: (row's attribute, expression, descending), each once; ends with the id."""
    wanted: dict[str, bool] = {}
    for key, descending in (*query.sort, ("id", False)):
        wanted.setdefault(columns.get(key, key), descending)
        if "id" in wanted:
            break  # it is unique
    order: list[tuple[str, sa.ColumnElement[Any], bool]] = []
    for name, descending in wanted.items():
        column = table.c[name]
        empty: Any = 0 if isinstance(column.type, sa.Integer | sa.Boolean) else ""
        expression = sa.func.coalesce(column, empty) if column.nullable else column
        order.append((name, expression, descending != query.reverse))
    return order


def after(
    order: Sequence[tuple[str, sa.ColumnElement[Any], bool]], row: Mapping[str, Any]
) -> store.Where:
    """Rows that come after `row` in this order."""
    clauses: list[store.Where] = []
    same: list[store.Where] = []
    for name, expression, descending in order:
        value = row[name]
        clauses.append(sa.and_(*same, expression < value if descending else expression > value))
        same.append(expression == value)
    return sa.or_(*clauses)
