"""How steps went in the past: the SQL behind `timing`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.kit.faults import Kind
from ingot.kit.tasks.events import events

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


#: The last operations of a kind on a profile.
_RECENT = (
    sa.select(operations.c.id, operations.c.subject)
    .where(
        operations.c.kind == sa.bindparam("kind"),
        operations.c.profile == sa.bindparam("profile"),
        operations.c.ended_at.is_not(None),
    )
    .order_by(operations.c.ended_at.desc())
    .limit(sa.bindparam("most", type_=sa.Integer))
    .subquery()
)
_ALL_RUNS = (
    sa.select(
        _RECENT.c.subject,
        steps.c.name,
        steps.c.key,
        steps.c.state,
        steps.c.duration,
        steps.c.fault,
        sa.func.coalesce(steps.c.result, sa.literal_column("''")),
    )
    .join(_RECENT, _RECENT.c.id == steps.c.operation_id)
    .where(steps.c.state.in_(("done", "failed")), steps.c.duration.is_not(None))
)
_RUNS = PreparedStatement(_ALL_RUNS)
_RUNS_OF_STEP = PreparedStatement(_ALL_RUNS.where(steps.c.name == sa.bindparam("step")))
_RULES = PreparedStatement(
    sa.select(events.c.step, events.c.data)
    .join(_RECENT, _RECENT.c.id == events.c.operation_id)
    .where(events.c.kind.in_(("step.started", "wait.started")))
    .order_by(events.c.id)
)


def runs(conn: sa.Connection, kind: str, step: str, profile: str, limit: int = 200) -> list[Run]:
    """How this step went in the last operations of this kind on this profile: those done, those given up."""
    found = _RUNS_OF_STEP.bulk(
        conn, {"kind": kind, "profile": profile, "most": limit, "step": step}
    )
    return _by_step(found).get(step, [])


def all_runs(
    conn: sa.Connection, kind: str, profile: str, limit: int = 200
) -> dict[str, list[Run]]:
    """The same for all steps at once, by their names."""
    return _by_step(_RUNS.bulk(conn, {"kind": kind, "profile": profile, "most": limit}))


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
    values = {"kind": kind, "profile": profile, "most": limit}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for label, data in _RULES.rows(conn, values):
        rule = msgspec.json.decode(data).get("rule")
        if rule:
            name = str(label).partition(" [")[0]
            found[name, rule.get("similar", "")] = rule
    return found


def _by_step(rows: Iterable[Sequence[Any]]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for subject, name, key, state, duration, fault, result in rows:
        late = state == "failed"
        if late and not _given_up(fault):
            continue
        amount = 0.0 if late else _amount(result)
        found.setdefault(name, []).append(Run(float(duration), subject, late, key, amount))
    return found


def _given_up(fault: str | None) -> bool:
    """Whether a step failed only because its time was over."""
    if fault is None:
        return False
    record = msgspec.json.decode(fault, type=FaultRecord)
    return record.kind == Kind.TIMEOUT and "last_kind" not in record.details


class _AmountOnly(msgspec.Struct):
    """What a result may say of the amount that was done."""

    bytes: float | None = None


def _amount(result: str) -> float:
    if '"bytes"' not in result:
        return 0.0
    try:
        return msgspec.json.decode(result, type=_AmountOnly).bytes or 0.0
    except msgspec.DecodeError:
        return 0.0
