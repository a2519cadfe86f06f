"""How steps went in the past: the SQL behind `timing`."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

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
    recent = (
        sa.select(operations.c.id, operations.c.subject)
        .where(
            operations.c.kind == kind,
            operations.c.profile == profile,
            operations.c.ended_at.is_not(None),
        )
        .order_by(operations.c.ended_at.desc())
        .limit(limit)
    )
    chosen = recent.subquery()
    query = (
        sa.select(
            chosen.c.subject,
            steps.c.key,
            steps.c.state,
            steps.c.duration,
            steps.c.result,
            steps.c.fault,
        )
        .join(chosen, chosen.c.id == steps.c.operation_id)
        .where(
            steps.c.name == step,
            steps.c.state.in_(("done", "failed")),
            steps.c.duration.is_not(None),
        )
    )
    found: list[Run] = []
    for row in conn.execute(query):
        late = row.state == "failed"
        if late and not _given_up(row.fault):
            continue
        amount = 0.0 if late else _amount(row.result)
        found.append(Run(float(row.duration), row.subject, late, row.key, amount))
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
