"""How steps went in the past: the SQL behind `timing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.events import events
from ingot.kit.faults import Kind

from .tables import operations, steps
from .types import FaultRecord


@dataclass(frozen=True)
class Run:
    """One run of a step in history. late: it was given up at its deadline. amount: the "bytes" of its result."""

    seconds: float
    subject: str = ""
    late: bool = False
    key: str | None = None
    amount: float = 0.0


def runs(conn: sa.Connection, kind: str, step: str, profile: str, limit: int = 200) -> list[Run]:
    """How this step went in the last operations of this kind on this profile: those done, those given up."""
    return _runs(conn, kind, profile, limit, steps.c.name == step).get(step, [])


def all_runs(
    conn: sa.Connection, kind: str, profile: str, limit: int = 200
) -> dict[str, list[Run]]:
    """The same for all steps at once, by their names."""
    return _runs(conn, kind, profile, limit, sa.true())


def groups(conn: sa.Connection) -> list[tuple[str, str]]:
    """The kinds of work that were done, each with the profiles (hardware models) it was done on."""
    query = (
        sa.select(operations.c.kind, operations.c.profile)
        .where(operations.c.ended_at.is_not(None))
        .distinct()
        .order_by(operations.c.kind, operations.c.profile)
    )
    return [(row.kind, row.profile) for row in conn.execute(query)]


def newest_rules(
    conn: sa.Connection, kind: str, profile: str, limit: int = 50
) -> dict[tuple[str, str], dict[str, Any]]:
    """What the authors of steps said of their deadlines the last time, by name and `similar`; see `timing.Rule`."""
    chosen = _recent(kind, profile, limit).subquery()
    query = (
        sa.select(events.c.step, events.c.data)
        .join(chosen, chosen.c.id == events.c.operation_id)
        .where(events.c.kind.in_(("step.started", "wait.started")))
        .order_by(events.c.id)
    )
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in conn.execute(query):
        rule = msgspec.json.decode(row.data).get("rule")
        if rule:
            name = str(row.step).partition(" [")[0]
            found[name, rule.get("similar", "")] = rule
    return found


def _recent(kind: str, profile: str, limit: int) -> sa.Select[Any, Any]:
    return (
        sa.select(operations.c.id, operations.c.subject)
        .where(
            operations.c.kind == kind,
            operations.c.profile == profile,
            operations.c.ended_at.is_not(None),
        )
        .order_by(operations.c.ended_at.desc())
        .limit(limit)
    )


def _runs(
    conn: sa.Connection, kind: str, profile: str, limit: int, which: sa.ColumnElement[bool]
) -> dict[str, list[Run]]:
    chosen = _recent(kind, profile, limit).subquery()
    query = (
        sa.select(
            chosen.c.subject,
            steps.c.name,
            steps.c.key,
            steps.c.state,
            steps.c.duration,
            steps.c.result,
            steps.c.fault,
        )
        .join(chosen, chosen.c.id == steps.c.operation_id)
        .where(
            which,
            steps.c.state.in_(("done", "failed")),
            steps.c.duration.is_not(None),
        )
    )
    found: dict[str, list[Run]] = {}
    for row in conn.execute(query):
        late = row.state == "failed"
        if late and not _given_up(row.fault):
            continue
        amount = 0.0 if late else _amount(row.result)
        found.setdefault(row.name, []).append(
            Run(float(row.duration), row.subject, late, row.key, amount)
        )
    return found


def _given_up(fault: str | None) -> bool:
    """Whether a step failed only because its time was over."""
    if fault is None:
        return False
    record = msgspec.json.decode(fault, type=FaultRecord)
    return record.kind == Kind.TIMEOUT and "last_kind" not in record.details


class _Told(msgspec.Struct):
    """What a result may say of the amount that was done."""

    bytes: float | None = None


def _amount(result: str | None) -> float:
    if not result or '"bytes"' not in result:
        return 0.0
    try:
        return msgspec.json.decode(result, type=_Told).bytes or 0.0
    except msgspec.DecodeError:
        return 0.0
