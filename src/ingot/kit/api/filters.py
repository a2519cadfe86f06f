"""The query language of lists: which rows, in which order, from where, how many, and which fields of them.

Pure but for building SQL expressions: a filter becomes part of the WHERE clause, never a loop over rows. Nothing that
a client writes is a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.fields import Field
from ingot.kit.api.operations import Call
from ingot.kit.api.paging import check_keys
from ingot.kit.api.resource import Resource, Where
from ingot.kit.db.database import to_json
from ingot.kit.faults import Invalid
from ingot.kit.http.decoding import check_numbers

Filter = Callable[[Sequence[str]], Where]

_TRUE, _FALSE = {"true", "1", "yes", "t", "on", "y"}, {"false", "0", "no", "f", "off", "n"}
#: Comparisons that some styles let a filter ask for as `name__word`; the same with "i" ignores case.
_WORDS = ("contains", "startswith", "endswith")
COMPARISONS = frozenset((*_WORDS, *(f"i{word}" for word in _WORDS)))
_TAG_FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")
#: Query parameters that are no filters.
_PAGING = frozenset({"fields", "limit", "marker", "page_reverse", "sort", "sort_key", "sort_dir"})


@dataclass(frozen=True)
class Query:
    """A checked query string. sort: (column, descending). limit None: as many as a page holds."""

    where: tuple[Where, ...]
    fields: tuple[str, ...] = ()
    limit: int | None = None
    marker: str | None = None
    sort: tuple[tuple[str, bool], ...] = ()
    reverse: bool = False


# -- filters ---------------------------------------------------------------------------------------


def boolean(name: str, text: str) -> bool:
    """A truth value as clients write it; Invalid for any other word."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise Invalid(f"Invalid value for {name}: {text!r} is no boolean.")


def _numbers(name: str, values: Sequence[str]) -> list[int]:
    try:
        numbers = [int(text) for text in values]
    except ValueError:
        raise Invalid(f"Invalid value for {name}: {list(values)} is no number.") from None
    check_numbers(numbers)
    return numbers


def equal(name: str, column: sa.ColumnElement[Any]) -> Filter:
    """One of the given values."""

    def build(values: Sequence[str]) -> Where:
        if isinstance(column.type, sa.Boolean):
            return column.in_([boolean(name, text) for text in values])
        if isinstance(column.type, sa.Integer):
            return column.in_(_numbers(name, values))
        clause: Where = column.in_(values)
        if "" in values and getattr(column, "nullable", False):
            clause = sa.or_(clause, column.is_(None))
        return clause

    return build


def constant(value: Any) -> Filter:
    """A field that has the same value in all rows."""
    return lambda values: sa.literal(str(value).lower() in {text.lower() for text in values})


def contains(column: sa.ColumnElement[Any], member: str) -> Where:
    """Whether a JSON list of texts has this member: exact, alike on both databases."""
    return sa.func.replace(column, to_json(member), "") != column


def member(column: sa.ColumnElement[Any]) -> Filter:
    """A JSON list that has one of the given members."""
    return lambda values: sa.or_(*(contains(column, value) for value in values))


def tag_filters(column: sa.ColumnElement[Any]) -> dict[str, Filter]:
    """tags: all of them; tags-any: one of them; not-tags and not-tags-any: the opposite."""

    def each(values: Sequence[str]) -> list[Where]:
        return [contains(column, tag) for value in values for tag in value.split(",") if tag]

    def every(values: Sequence[str]) -> Where:
        return sa.and_(sa.true(), *each(values))

    def some(values: Sequence[str]) -> Where:
        return sa.or_(sa.false(), *each(values))

    return {
        "tags": every,
        "tags-any": some,
        "not-tags": lambda values: sa.not_(every(values)),
        "not-tags-any": lambda values: sa.not_(some(values)),
    }


def compared(column: sa.ColumnElement[Any], word: str, text: str) -> Where:
    """A comparison that means the same on both databases: SQLite's LIKE ignores case, PostgreSQL's does not."""
    left: sa.ColumnElement[Any] = column
    right: sa.ColumnElement[Any] = sa.literal(text)
    if word == "iexact":
        return sa.func.lower(column) == sa.func.lower(text)
    if word not in _WORDS:
        left, right, word = sa.func.lower(left), sa.func.lower(right), word[1:]
    if not text:
        return column.is_not(None)
    if word == "contains":
        return sa.func.replace(left, right, "") != left
    start = 1 if word == "startswith" else sa.func.length(left) - len(text) + 1
    return sa.func.substr(left, start, len(text)) == right


def _seen(resource: Resource, call: Call) -> list[Field]:
    """The fields that the caller is shown: whoever could filter or sort by another could read it."""
    shown = resource.shown(call.version.minor)
    return [field for field in shown if not field.see or call.allows(field.see)]


def _filters(resource: Resource, call: Call) -> dict[str, Filter]:
    """The filters of a resource's list for a caller."""
    columns, style = resource.table.c, resource.style
    found: dict[str, Filter] = {}
    for field in _seen(resource, call):
        if field.filter == "equal":
            found[field.name] = equal(field.name, columns[field.source])
        elif field.filter == "member":
            found[field.name] = member(columns[field.source])
    if style.unknown == "refused":
        found["id"] = equal("id", columns[resource.id])
    if resource.owner and style.tenant_id:
        found["project_id"] = found["tenant_id"] = equal("project_id", columns[resource.owner])
    if resource.tags:
        found.update(tag_filters(columns["tags"]))
    return {**found, **resource.filters}


def _worded(resource: Resource, name: str, values: Sequence[str], call: Call) -> Where | None:
    """`name__contains=…` and its like; None where there is no such filter."""
    plain, mark, word = name.partition("__")
    field = next((field for field in _seen(resource, call) if field.name == plain), None)
    if not mark or field is None or field.filter != "equal":
        return None
    if word not in (*COMPARISONS, "iexact"):
        return None
    column = resource.table.c[field.source]
    if not isinstance(column.type, sa.String):
        return None
    return sa.and_(*(compared(column, word, text) for text in values))


# -- the query string ------------------------------------------------------------------------------


def parse(resource: Resource, call: Call) -> Query:
    """The query string of a list; Invalid names what is unknown or wrong."""
    style = resource.style
    grouped: dict[str, list[str]] = {}
    for name, value in call.args:
        grouped.setdefault(name, []).append(value)
    fields = tuple(name for name in grouped.get("fields", ()) if name) if style.fields else ()
    limit = _limit(grouped.get("limit"), style.most)
    marker = (grouped.get("marker") or [None])[-1] if style.marker else None
    reverse = style.pages == "neutron" and boolean(
        "page_reverse", (grouped.get("page_reverse") or ["false"])[-1]
    )
    sort = _sorts(resource, grouped, call)
    where = _conditions(resource, grouped, call)
    return Query(where, fields, limit, marker or None, sort, reverse)


def _conditions(
    resource: Resource, grouped: Mapping[str, Sequence[str]], call: Call
) -> tuple[Where, ...]:
    known = _filters(resource, call)
    where: list[Where] = []
    unknown: list[str] = []
    for name, values in grouped.items():
        worded = _worded(resource, name, values, call) if resource.style.words else None
        if name in known:
            where.append(known[name](values))
        elif worded is not None:
            where.append(worded)
        elif name not in _PAGING:
            unknown.append(name)
    if unknown and resource.style.unknown == "refused":
        raise Invalid(f"{unknown} is invalid attribute for filtering.")
    return tuple(where)


def _limit(values: Sequence[str] | None, most: int) -> int | None:
    if not values:
        return None
    text = values[-1]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Invalid(f"Bad limit {text[:40]!r}: it must be an integer, 0 or more.")
    return min(int(text), most) or None


def _sorts(
    resource: Resource, grouped: Mapping[str, Sequence[str]], call: Call
) -> tuple[tuple[str, bool], ...]:
    """(column, descending) in the order of importance."""
    style = resource.style.sorting
    if style == "no":
        return ()
    keys, ways = list(grouped.get("sort_key", ())), list(grouped.get("sort_dir", ()))
    if style == "single":
        keys, ways = keys[-1:], ways[-1:]
        if ways and not keys:
            _way(ways[0])
            ways = []
    if style == "pairs" and ways and len(ways) != len(keys):
        raise Invalid("The number of sort_keys and sort_dirs must be same.")
    check_keys(keys)
    known = _sortable(resource, call)
    found: list[tuple[str, bool]] = []
    for at, key in enumerate(keys):
        if key not in known:
            raise Invalid(f"{[key]} is invalid attribute for sort_keys.")
        found.append((known[key], _way(ways[at] if at < len(ways) else "asc")))
    return tuple(found)


def _way(text: str) -> bool:
    if text not in ("asc", "desc"):
        raise Invalid(f"Invalid sort direction {text!r}: asc or desc.")
    return text == "desc"


def _sortable(resource: Resource, call: Call) -> dict[str, str]:
    """Sort key -> column."""
    found = {field.name: field.source for field in _seen(resource, call) if field.sort}
    found["id"] = resource.id
    if resource.owner and resource.style.tenant_id:
        found["project_id"] = found["tenant_id"] = resource.owner
    return found


# -- order and pages -------------------------------------------------------------------------------


def ordering(resource: Resource, query: Query) -> list[tuple[str, sa.ColumnElement[Any], bool]]:
    """The order of a list: (column, expression, descending), each once; ends with the id, which is unique."""
    wanted: dict[str, bool] = {}
    for name, descending in (*query.sort, *((name, False) for name in resource.order)):
        wanted.setdefault(name, descending)
    wanted.setdefault(resource.id, False)
    order: list[tuple[str, sa.ColumnElement[Any], bool]] = []
    for name, descending in wanted.items():
        column: sa.ColumnElement[Any] = resource.table.c[name]
        nullable = bool(resource.table.c[name].nullable)
        if isinstance(column.type, sa.Boolean):
            column = sa.cast(column, sa.Integer)  # truth values have no order
        empty: Any = 0 if isinstance(column.type, sa.Integer) else ""
        expression = sa.func.coalesce(column, empty) if nullable else column
        order.append((name, expression, descending != query.reverse))
        if name == resource.id:
            break
    return order


def after(
    order: Sequence[tuple[str, sa.ColumnElement[Any], bool]], row: Mapping[str, Any]
) -> Where:
    """Rows that come after `row` in this order."""
    clauses: list[Where] = []
    same: list[Where] = []
    for name, expression, descending in order:
        value = row[name]
        clauses.append(sa.and_(*same, expression < value if descending else expression > value))
        same.append(expression == value)
    return sa.or_(*clauses)
