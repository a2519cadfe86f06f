"""Operations that are done by whoever started them, not by the engine: locks for the time of one act."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import to_json
from ingot.kit.faults import Fault
from ingot.kit.tasks import events

from . import signal_store, store
from .tables import operations
from .types import FaultRecord


def end_held(conn: sa.Connection, op_id: str, fault: Fault | None = None) -> bool:
    """End an operation that was started with `held_until`; False when the engine has taken it meanwhile."""
    row = conn.execute(
        sa.update(operations)
        .where(operations.c.id == op_id, operations.c.ended_at.is_(None), store.HELD)
        .values(
            state="done" if fault is None else "failed",
            fault=None if fault is None else to_json(FaultRecord.of(fault)),
            wake_at=None,
            ended_at=events.now(conn),
        )
        .returning(operations.c.kind, operations.c.subject, operations.c.project_id)
    ).first()
    if row is None:
        return False
    signal_store.forget_signals(conn, op_id)
    told: store.Row = {"operation": row.kind}
    if fault is not None:
        told |= {"cause": fault.text, "next_action": fault.next_action, "kind": str(fault.kind)}
    events.record(
        conn,
        row.subject,
        "operation.done" if fault is None else "operation.failed",
        row.kind,
        operation_id=op_id,
        data=told,
        project_id=row.project_id,
        severity="info" if fault is None else "error",
    )
    return True
