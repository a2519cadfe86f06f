"""What all parts of the Identity API share: time shape, links, lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import timestamp, when
from ingot.kit.faults import Invalid, Missing
from ingot.services.identity import store, tables

Row = dict[str, Any]
Render = Callable[[Row, str], Row]

#: Keystone's own limit of a body, so that nobody stores novels in a user's attributes.
MAX_BODY = 114_688

_FALSE = frozenset({"0", "f", "false", "n", "no", "off"})


def guarded(
    verb: str, path: str, handler: Any, rule: str, status: int = 200, **more: Any
) -> Operation:
    """One row of the table of operations, whose handler asks the policy itself once it has read the target."""
    return Operation(
        verb,
        path,
        handler,
        rule=f"identity:{rule}",
        late=True,
        status=status,
        max_body=MAX_BODY,
        **more,
    )


def moment(value: datetime | str | None) -> str | None:
    """A time as Keystone writes it: `2026-01-01T00:00:00.000000Z`."""
    at = when(value) if isinstance(value, str) else value
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def future_end(text: str | None, now: datetime) -> str | None:
    """An end that a body names, as rows hold it; Invalid for what is no ISO 8601 time or past. Without a zone: UTC."""
    if text is None:
        return None
    try:
        end = datetime.fromisoformat(text)
        end = end.astimezone(UTC) if end.tzinfo else end.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # in UTC it may be beyond the last year
        raise Invalid(f"Invalid input: expires_at is no ISO 8601 time: {text[:40]!r}.") from None
    if end <= now:
        raise Invalid("Invalid input: expires_at is in the past.")
    return timestamp(end)


def whole_seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def truth(text: str) -> bool:
    return text.strip().lower() not in _FALSE


def of_path(
    conn: sa.Connection,
    call: Call,
    table: sa.Table,
    kind: str,
    rule: str,
    target: Callable[[Row | None], Row],
) -> Row:
    """The row that the path names ({kind}_id), if the caller may; who may not is not told whether it is there.

    target: what the rule compares the caller with. Forbidden before Missing.
    """
    key = call.params[f"{kind}_id"]
    row = store.get(conn, table, key)
    call.require(f"identity:{rule}", target(row))
    if row is None:
        raise Missing(f"Could not find {kind}: {key}.")
    return row


def of_domain(call: Call, rule: str, wanted: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """A list's filters, as far as the caller may list: who comes with a domain sees only that domain's."""
    given = dict(wanted)
    own = call.caller.domain_id
    call.require(f"identity:{rule}", {"target.domain_id": given.get("domain_id") or own})
    return [*wanted, ("domain_id", own)] if own and "domain_id" not in given else wanted


def filters(
    call: Call, names: Iterable[str], flags: Collection[str] = ("enabled",)
) -> list[tuple[str, Any]]:
    """The query string as filters of `store.find`.

    names: the public fields that this list is filtered by. Whatever else a query says is ignored, as Keystone does:
        a filter on what is not shown would show it.
    """
    known = frozenset(names)
    found: list[tuple[str, Any]] = []
    for key, value in call.args:
        name = store.comparison(key)
        if name not in known:
            continue
        if name not in flags:
            found.append((key, value))
        elif name == key:
            found.append((key, truth(value)))
    return found


def limit_of(call: Call) -> int | None:
    text = dict(call.args).get("limit")
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(f"Invalid query parameter: limit must be a number, not {text[:40]!r}.")
    return int(text) or None


def limit_and_one(call: Call) -> int | None:
    """The limit of a query plus one row, which tells whether the list was cut; None for no limit."""
    limit = limit_of(call)
    return None if limit is None else limit + 1


def listing(call: Call, plural: str, rows: list[Row], render: Render) -> Reply:
    """A collection with its links."""
    limit = limit_of(call)
    shown = rows if limit is None else rows[:limit]
    links = {"next": None, "self": call.url, "previous": None}
    body: Row = {plural: [render(row, call.base_url) for row in shown], "links": links}
    if limit is not None and len(shown) < len(rows):
        body["truncated"] = True
    return Reply(body)


def linked(body: Row, base_url: str, path: str) -> Row:
    """The resource with its own link."""
    return {**body, "links": {"self": f"{base_url}/v3/{path}"}}


def domain_of(call: Call, given: str | None, default: str) -> str:
    """The domain that something new belongs to: named, or the caller's."""
    return given or call.caller.domain_id or call.caller.project_domain_id or default


def need_domain(conn: sa.Connection, domain_id: str) -> Row:
    """The domain; a 404 when it is not there or is a project."""
    row = store.get(conn, tables.projects, domain_id)
    if row is None or not row["is_domain"]:
        raise Missing(f"Could not find domain: {domain_id}.")
    return row
