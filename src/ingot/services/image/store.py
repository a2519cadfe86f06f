"""All SQL of the image service: rows in, rows out (plain dicts, JSON columns already read)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import IntegrityError, PreparedStatement, from_json, to_json
from ingot.kit.faults import Conflict, Invalid
from ingot.services.image import tables

Row = dict[str, Any]
_I = tables.images
_M = tables.members
_JSON = ("properties", "tags")


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed by.

    among: column -> allowed values. compare: (column, operator, value). tags: all must be there.
    properties: all must be equal. project_id: whose view (None: an administrator's, who sees all).
    visibility: one of the four, "all", or None (all but others' community images).
    member_status: which shares count ("accepted" commonly, "all" for any).
    """

    among: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    compare: Sequence[tuple[str, str, Any]] = ()
    tags: Sequence[str] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    project_id: str | None = None
    everything: bool = False
    visibility: str | None = None
    member_status: str = "accepted"


def _out(row: Mapping[Any, Any]) -> Row:
    whole = {str(key): value for key, value in row.items()}
    for name in _JSON:
        whole[name] = from_json(whole[name])
    return whole


def _in(values: Mapping[str, Any]) -> Row:
    return {key: to_json(value) if key in _JSON else value for key, value in values.items()}


#: While content comes in.
RECEIVING = ("saving", "importing")

_WAS_DELETED = PreparedStatement(
    sa.select(tables.deleted.c.id).where(tables.deleted.c.id == sa.bindparam("ident"))
)


def were_deleted(conn: sa.Connection, image_ids: Sequence[str]) -> list[str]:
    """Which of these images are gone."""
    gone = tables.deleted.c.id
    found: list[str] = []
    for at in range(0, len(image_ids), 500):
        some = image_ids[at : at + 500]
        found += conn.execute(sa.select(gone).where(gone.in_(some))).scalars()
    return found


def insert(conn: sa.Connection, values: Mapping[str, Any]) -> None:
    """A new image. 409 for an id that an image has or had: who knows it must not get another's content by it."""
    if _WAS_DELETED.first(conn, {"ident": values["id"]}) is not None:
        raise Conflict(f"Image ID {values['id']} already exists!")
    try:
        conn.execute(_I.insert().values(_in(values)))
    except IntegrityError:
        raise Conflict(f"Image ID {values['id']} already exists!") from None


_BY_ID = PreparedStatement(sa.select(_I).where(_I.c.id == sa.bindparam("ident")))


_LOCKED = PreparedStatement(sa.select(_I).where(_I.c.id == sa.bindparam("ident")).with_for_update())


def get(conn: sa.Connection, image_id: str, *, hold: bool = False) -> Row | None:
    """An image. hold: nobody else changes or deletes it until the transaction ends."""
    found = (_LOCKED if hold else _BY_ID).mappings(conn, {"ident": image_id})
    return _out(found[0]) if found else None


def named(conn: sa.Connection, name: str, filters: Filters) -> list[Row]:
    """Images of a name that the view shows."""
    query = _seen(sa.select(_I).where(_I.c.name == name), filters)
    return [_out(row) for row in conn.execute(query.limit(2)).mappings()]


def update(conn: sa.Connection, image_id: str, values: Mapping[str, Any]) -> Row | None:
    """The image as it is then; None when there is none."""
    written = _in(values)
    found = _updating(tuple(written)).mappings(conn, {**written, "ident": image_id})
    return _out(found[0]) if found else None


@functools.lru_cache(maxsize=100)
def _updating(names: tuple[str, ...]) -> PreparedStatement:
    """The statement that sets these columns; some dozens of combinations are met."""
    change = _I.update().where(_I.c.id == sa.bindparam("ident"))
    set_to: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    return PreparedStatement(change.values(set_to).returning(*_I.c))


def move(
    conn: sa.Connection,
    image_id: str,
    before: Sequence[str],
    after: str,
    values: Mapping[str, Any] | None = None,
    reception: str | None = None,
) -> bool:
    """Change the status if it is one of `before`, and this reception (if any) still holds it; whether it did."""
    held = () if reception is None else (_I.c.reception == reception,)
    changed = conn.execute(
        _I.update()
        .where(_I.c.id == image_id, _I.c.status.in_(before), *held)
        .values(_in({**(values or {}), "status": after}))
    )
    return changed.rowcount == 1


def delete(conn: sa.Connection, image_id: str, now: str) -> None:
    """The image goes; that its id was used stays."""
    conn.execute(_M.delete().where(_M.c.image_id == image_id))
    conn.execute(_I.delete().where(_I.c.id == image_id))
    conn.execute(tables.deleted.insert().values(id=image_id, deleted_at=now))


def half_received(conn: sa.Connection, host: str) -> list[tuple[str, str | None]]:
    """Images whose content this host was receiving when it ended, with the receptions."""
    query = sa.select(_I.c.id, _I.c.reception).where(
        _I.c.receiver == host, _I.c.status.in_(RECEIVING)
    )
    return [(str(row[0]), row[1]) for row in conn.execute(query)]


def silent(conn: sa.Connection, since: str, old: str) -> list[tuple[str, str | None]]:
    """Images whose receivers have said nothing since a time, with the receptions; some at a time.

    old: the same for receivers of releases that never say anything.
    """
    mute = _I.c.received_at.is_(None) & (_I.c.updated_at < old)
    query = sa.select(_I.c.id, _I.c.reception).where(
        _I.c.status.in_(RECEIVING), (_I.c.received_at < since) | mute
    )
    return [(str(row[0]), row[1]) for row in conn.execute(query.limit(100))]


def live(conn: sa.Connection, receptions: Sequence[str], now: str) -> None:
    """These receptions go on."""
    held = sa.and_(_I.c.status.in_(RECEIVING), _I.c.reception.in_(receptions))
    conn.execute(_I.update().where(held).values(received_at=now))


#: The most of their properties that a list of images has (characters of JSON), and how many always fit.
_PAGE_OCTETS = 16 << 20
_CERTAIN = 50

# -- lists ---------------------------------------------------------------------------------------


def find(
    conn: sa.Connection,
    filters: Filters,
    order: Sequence[tuple[str, bool]],
    limit: int,
    marker: Row | None,
) -> tuple[list[Row], bool]:
    """Images in an order of (column, descending), after the marker; and whether there are more.

    At most `limit`, and fewer where their properties are very long (`_PAGE_OCTETS`), but one at least.
    """
    query = _seen(sa.select(_I), filters)
    for name, values in filters.among.items():
        query = query.where(_I.c[name].in_(list(values)))
    for name, operator, value in filters.compare:
        query = query.where(_compare(_I.c[name], operator, value))
    for tag in filters.tags:
        query = query.where(_holds(_I.c.tags, "[", to_json(tag)))
    for key, value in filters.properties.items():
        query = query.where(_holds(_I.c.properties, "{", to_json({key: value})[1:-1]))
    if marker is not None:
        query = query.where(_after(order, marker))
    for name, descending in order:
        column = _sortable(name)
        query = query.order_by(column.desc() if descending else column.asc())
    shown = limit
    if limit > _CERTAIN:
        sizes = query.with_only_columns(sa.func.length(_I.c.properties)).limit(limit + 1)
        shown = _first(conn.execute(sizes).scalars(), limit)
    rows = [_out(row) for row in conn.execute(query.limit(shown + 1)).mappings()]
    return rows[:shown], len(rows) > shown


def _first(sizes: Iterable[int], limit: int) -> int:
    """How many of the first, of these sizes, make a page."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > _PAGE_OCTETS and count:
            return min(count, limit)
    return limit


def _compare(column: sa.Column[Any], operator: str, value: Any) -> sa.ColumnElement[bool]:
    if operator == "gt":
        return column > value
    if operator == "gte":
        return column >= value
    if operator == "lt":
        return column < value
    if operator == "lte":
        return column <= value
    if operator == "neq":
        return column != value
    if operator == "eq":
        return column == value
    raise Invalid(f"Invalid filter: {operator!r} is no comparison.")


def _holds(column: sa.Column[Any], opening: str, text: str) -> sa.ColumnElement[bool]:
    """Whether a stored JSON list or object has an element. Quotes inside of JSON texts are escaped, so
    what follows an opening bracket or comma and is quoted is an element."""
    return sa.or_(
        column.startswith(opening + text, autoescape=True),
        column.contains("," + text, autoescape=True),
    )


def _seen(query: sa.Select[Any], filters: Filters) -> sa.Select[Any]:
    """The images that a view shows."""
    mine = _I.c.owner == filters.project_id
    shares = sa.select(_M.c.image_id).where(_M.c.member_id == filters.project_id)
    if filters.member_status != "all":
        shares = shares.where(_M.c.status == filters.member_status)
    shared = sa.and_(_I.c.visibility == "shared", _I.c.id.in_(shares))
    wanted = filters.visibility
    if wanted not in (None, "all"):
        query = query.where(_I.c.visibility == wanted)
    if filters.everything:
        if wanted is None:
            query = query.where(sa.or_(_I.c.visibility != "community", mine))
        return query
    allowed = [mine, _I.c.visibility == "public", shared]
    if wanted in ("community", "all"):
        allowed.append(_I.c.visibility == "community")
    return query.where(sa.or_(*allowed))


def _sortable(name: str) -> sa.ColumnElement[Any]:
    """A column to sort by, without NULLs, so that paging by key meets every row."""
    column = _I.c[name]
    empty: Any = "" if isinstance(column.type, sa.String) else -1
    return sa.func.coalesce(column, empty) if column.nullable else column


def _after(order: Sequence[tuple[str, bool]], marker: Row) -> sa.ColumnElement[bool]:
    """Rows that come after the marker in the order."""
    steps: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for name, descending in order:
        column = _sortable(name)
        value = marker[name]
        if value is None:
            value = "" if isinstance(_I.c[name].type, sa.String) else -1
        beyond = column < value if descending else column > value
        steps.append(sa.and_(*equal, beyond))
        equal.append(column == value)
    return sa.or_(*steps)


# -- deploy URLs ---------------------------------------------------------------------------------

_H = tables.holders
_HOLD = PreparedStatement(sa.select(_H.c.hold).where(_H.c.holder == sa.bindparam("holder")))
_HELD = PreparedStatement(sa.select(_H.c.holder).where(_H.c.hold == sa.bindparam("hold")))
_NEW_HOLD = PreparedStatement(
    sa.text(
        "INSERT INTO image_holders (holder, hold) VALUES (:holder, :hold) "
        "ON CONFLICT (holder) DO NOTHING"
    )
)
_END_HOLD = PreparedStatement(_H.delete().where(_H.c.holder == sa.bindparam("holder")))


def hold(conn: sa.Connection, holder: str) -> str | None:
    """The secret of a holder's URLs; None while it has none."""
    found = _HOLD.first(conn, {"holder": holder})
    return None if found is None else str(found[0])


def add_hold(conn: sa.Connection, holder: str, secret: str) -> str:
    """The secret of a holder's URLs: this one, unless it has one."""
    _NEW_HOLD.change(conn, {"holder": holder, "hold": secret})
    return hold(conn, holder) or secret


def is_held(conn: sa.Connection, secret: str) -> bool:
    return _HELD.first(conn, {"hold": secret}) is not None


def end_hold(conn: sa.Connection, holder: str) -> None:
    _END_HOLD.change(conn, {"holder": holder})


# -- members -------------------------------------------------------------------------------------


def members(conn: sa.Connection, image_id: str) -> list[Row]:
    query = sa.select(_M).where(_M.c.image_id == image_id).order_by(_M.c.created_at)
    return [dict(row) for row in conn.execute(query).mappings()]


_MEMBER = PreparedStatement(
    sa.select(_M).where(
        _M.c.image_id == sa.bindparam("image"), _M.c.member_id == sa.bindparam("member")
    )
)


def member(conn: sa.Connection, image_id: str, member_id: str) -> Row | None:
    rows = _MEMBER.mappings(conn, {"image": image_id, "member": member_id})
    return rows[0] if rows else None


def add_member(conn: sa.Connection, values: Mapping[str, Any]) -> None:
    try:
        conn.execute(_M.insert().values(dict(values)))
    except IntegrityError:
        raise Conflict(
            f"The target member {values['member_id']} is already associated with image "
            f"{values['image_id']}."
        ) from None


def update_member(conn: sa.Connection, image_id: str, member_id: str, values: Row) -> None:
    conn.execute(
        _M.update().where(_M.c.image_id == image_id, _M.c.member_id == member_id).values(values)
    )


def drop_member(conn: sa.Connection, image_id: str, member_id: str) -> bool:
    gone = conn.execute(_M.delete().where(_M.c.image_id == image_id, _M.c.member_id == member_id))
    return gone.rowcount == 1
