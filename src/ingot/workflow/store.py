"""All SQL of the workflow service. Functions of a connection; the engine calls them inside transactions.

Order of locks, the same everywhere, so that transactions on PostgreSQL do not meet crosswise: rows of the
domain first, the operation's row after them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import (
    BulkStatement,
    PreparedStatement,
    after_commit,
    among,
    timestamp,
    to_json,
)
from ingot.kit.faults import Locked
from ingot.kit.ids import new_uuid
from ingot.kit.tasks import events

from .signal_store import find_signal, forget_signals
from .tables import AT_ONCE, conductors, operations, signals, steps
from .types import Claim, OperationRow, StepRow, operation_from, step_from

Row = dict[str, Any]

#: Called with an operation's id once a transaction that makes it ready has been committed.
Kick = Callable[[str], None]

_live = operations.c.ended_at.is_(None)


_NEW = (
    *("id", "kind", "version", "subject", "input", "profile", "group_name", "project_id"),
    *("request_id", "requested_by", "state", "wake_at", "epoch", "created_at"),
)
_INSERT = PreparedStatement(
    sa.text(
        f"INSERT INTO operations ({', '.join(_NEW)}) VALUES ({', '.join(f':{n}' for n in _NEW)}) "
        "ON CONFLICT (subject) WHERE ended_at IS NULL DO NOTHING RETURNING id"
    )
)


def add_kick(conn: sa.Connection, kick: Kick) -> None:
    events.binding(conn).kicks.append(kick)


def remove_kick(conn: sa.Connection, kick: Kick) -> None:
    kicks = events.binding(conn).kicks
    if kick in kicks:
        kicks.remove(kick)


def kick_after_commit(conn: sa.Connection, op_id: str) -> None:
    kicks = events.binding(conn).kicks

    def tell() -> None:
        for kick in list(kicks):
            kick(op_id)

    after_commit(conn, tell)


# -- for the services --------------------------------------------------------------------------------


def start(
    conn: sa.Connection,
    kind: str,
    subject: str,
    input: Any,
    *,
    profile: str = "",
    project_id: str | None = None,
    request_id: str | None = None,
    group: str = "",
    requested_by: str = "",
    version: int = 1,
    held_until: datetime | None = None,
) -> str:
    """Start an operation in the caller's transaction and give its id.

    held_until: the caller does the work and ends the operation itself (`held`); the engine takes it only when
    it has not ended by then.

    Raises Locked, naming the live operation, when the subject has one.
    """
    op_id = new_uuid()
    row = {
        "id": op_id,
        "kind": kind,
        "version": version,
        "subject": subject,
        "input": to_json(input),
        "profile": profile,
        "group_name": group,
        "project_id": project_id,
        "request_id": request_id,
        "requested_by": requested_by,
        "state": "running",
        "wake_at": AT_ONCE if held_until is None else timestamp(held_until),
        "epoch": 0,
        "created_at": events.now(conn),
    }
    if _INSERT.first(conn, row) is None:
        before = live_operation(conn, subject)
        if before is not None:
            raise _locked(before)
        raise Locked(
            f"{subject} was locked by another operation that has just ended.",
            next_action="Try again.",
        )
    events.record(
        conn,
        subject,
        "operation.started",
        kind,
        operation_id=op_id,
        data={"operation": kind, "requested_by": requested_by},
        project_id=project_id,
    )
    if held_until is None:
        kick_after_commit(conn, op_id)
    return op_id


#: In the hands of whoever started it, not of the engine: what the engine has had counts epochs.
HELD = sa.and_(
    operations.c.epoch == 0, operations.c.owner.is_(None), operations.c.wake_at > AT_ONCE
)


def _locked(live: OperationRow) -> Locked:
    place = f", now in step '{live.step}'" if live.step else ""
    return Locked(
        f"{live.subject} is locked by operation '{live.kind}' ({live.id}), "
        f"running since {live.created_at}{place}.",
        next_action="Wait for it to end, or abort it.",
        details={"operation_id": live.id, "kind": live.kind},
    )


# Built once, as all statements of the hot paths: building and keying them costs more than they do.
_SIGNALLED = PreparedStatement(
    sa.select(operations.c.id, operations.c.owner, operations.c.waiting_for, operations.c.wake_at)
    .where(
        sa.or_(
            operations.c.subject == sa.bindparam("target"),
            operations.c.id == sa.bindparam("target"),
        ),
        _live,
    )
    .with_for_update()
)
_INSERT_SIGNAL = PreparedStatement.insert(signals, "operation_id", "name", "payload", "at")
_WAKE = PreparedStatement(
    sa.update(operations)
    .where(operations.c.id == sa.bindparam("op"), _live)
    .values(wake_at=AT_ONCE)
)
_LIVE_ONE = PreparedStatement(
    sa.select(operations).where(operations.c.subject == sa.bindparam("subject"), _live)
)


def signal(
    conn: sa.Connection, target: str, name: str, payload: Any = None, *, latest: bool = False
) -> bool:
    """Give a live operation (by subject or id) a signal; False when there is none.

    latest: replaces signals of the same name that were not consumed yet (heartbeats).
    """
    found = _SIGNALLED.first(conn, {"target": target})
    if found is None:
        return False
    op_id, owner, waiting_for, wake_at = found
    if latest:
        forget_signals(conn, op_id, name)
    values = {
        "operation_id": op_id,
        "name": name,
        "payload": to_json(payload),
        "at": events.now(conn),
    }
    _INSERT_SIGNAL.change(conn, values)
    if owner is None and waiting_for == name and wake_at != AT_ONCE:
        _wake(conn, op_id)
    return True


def _wake(conn: sa.Connection, op_id: str) -> None:
    _WAKE.change(conn, {"op": op_id})
    kick_after_commit(conn, op_id)


def wake_if_signalled(conn: sa.Connection, op_id: str, name: str | None) -> None:
    """Wake a parked operation when the signal it waits for is there."""
    if name is not None and find_signal(conn, op_id, name, newest=False) is not None:
        _wake(conn, op_id)


def cancel(conn: sa.Connection, subject: str, reason: str, *, by: str = "") -> bool:
    """Abort the live operation of a subject (or the one with this id); False when there is none.

    A waiting operation fails at once with Aborted, a running one during its step, or after it where the
    step is marked abortable=False. Operations that undo already, and those that their starter holds, are left
    alone (True).
    """
    changed = conn.execute(
        sa.update(operations)
        .where(sa.or_(operations.c.subject == subject, operations.c.id == subject), _live)
        .values(
            abort_reason=sa.func.coalesce(operations.c.abort_reason, reason),
            abort_by=sa.func.coalesce(operations.c.abort_by, by),
            wake_at=sa.case((HELD, operations.c.wake_at), else_=AT_ONCE),
        )
        .returning(operations.c.id)
    ).scalar()
    if changed is None:
        return False
    kick_after_commit(conn, changed)
    return True


def live_id(subject: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
    """The id of a subject's live operation, as a column for others' queries."""
    return (
        sa.select(operations.c.id).where(operations.c.subject == subject, _live).scalar_subquery()
    )


def live_operation(conn: sa.Connection, subject: str) -> OperationRow | None:
    found = _LIVE_ONE.mappings(conn, {"subject": subject})
    return operation_from(found[0]) if found else None


def live_operations(
    conn: sa.Connection, subjects: Collection[str] | None = None
) -> dict[str, OperationRow]:
    """Live operations by subject, all of them or those of the given subjects, in one query."""
    query = sa.select(operations).where(_live)
    if subjects is not None:
        query = query.where(operations.c.subject.in_(list(subjects)))
    found = [operation_from(dict(row)) for row in conn.execute(query).mappings()]
    return {operation.subject: operation for operation in found}


_ONE = PreparedStatement(sa.select(operations).where(operations.c.id == sa.bindparam("op")))


def operation(conn: sa.Connection, op_id: str) -> OperationRow | None:
    found = _ONE.mappings(conn, {"op": op_id})
    return operation_from(found[0]) if found else None


def list_operations(
    conn: sa.Connection,
    subject: str | None = None,
    limit: int = 100,
    *,
    live: bool = False,
    project: str | None = None,
) -> list[OperationRow]:
    """Operations (of a subject; of a project; only those that have not ended), newest first."""
    query = sa.select(operations).order_by(operations.c.created_at.desc(), operations.c.id)
    if subject is not None:
        query = query.where(operations.c.subject == subject)
    if project is not None:
        query = query.where(operations.c.project_id == project)
    if live:
        query = query.where(operations.c.ended_at.is_(None))
    return [operation_from(dict(row)) for row in conn.execute(query.limit(limit)).mappings()]


_STEPS_OF_ONE = PreparedStatement(
    sa.select(steps).where(steps.c.operation_id == sa.bindparam("op")).order_by(steps.c.seq)
)


def list_steps(conn: sa.Connection, op_id: str) -> list[StepRow]:
    """The recorded steps of an operation, in the order of the workflow; undo steps at the end."""
    return [step_from(row) for row in _STEPS_OF_ONE.mappings(conn, {"op": op_id})]


# -- claims ---------------------------------------------------------------------------------------


def _orphaned() -> sa.ColumnElement[bool]:
    """Owned by an incarnation that is not (or no longer) a conductor."""
    return sa.and_(
        operations.c.owner.is_not(None),
        operations.c.owner.not_in(sa.select(conductors.c.incarnation)),
    )


def claimable(
    moment: str | sa.BindParameter[str], groups: Sequence[str] | None
) -> sa.ColumnElement[bool]:
    due = sa.and_(operations.c.owner.is_(None), operations.c.wake_at <= moment)
    whole = sa.and_(_live, sa.or_(due, _orphaned()))
    return whole if groups is None else sa.and_(whole, operations.c.group_name.in_(groups))


def _take(which: sa.ColumnElement[bool]) -> sa.Update:
    # waiting_for and parked_at are kept until the workflow has moved: they say where it stood.
    return (
        sa.update(operations)
        .where(which)
        .values(owner=sa.bindparam("me", None), epoch=operations.c.epoch + 1, wake_at=None)
    )


_TAKE = PreparedStatement(_take(among(operations.c.id, "ids")))
_STEPS_OF_SOME = PreparedStatement(sa.select(steps).where(among(steps.c.operation_id, "ids")))


@functools.lru_cache(maxsize=20)
def _claiming(
    groups: tuple[str, ...] | None,
    kinds: tuple[str, ...],
    *,
    chosen: bool,
    ours: bool,
    at_once: bool,
) -> PreparedStatement:
    """Gives operations as they are before they are taken.

    chosen: only of those that are named; ours: with some that are ours already; at_once: takes them too.
    """
    # With values of their own, since a kept statement does not find what stands in a WITH.
    me = sa.bindparam("me", None, type_=sa.Text)
    condition = claimable(sa.bindparam("moment", None, type_=sa.Text), groups)
    if ours:
        again = sa.and_(_live, operations.c.owner == me, among(operations.c.id, "abandoned"))
        condition = sa.or_(condition, again)
    known = sa.or_(operations.c.kind.in_(kinds), operations.c.abort_reason.is_not(None))
    member = sa.exists().where(conductors.c.incarnation == me)
    query = sa.select(operations).where(condition, known, member)
    if chosen:
        query = query.where(among(operations.c.id, "only"))
    query = query.order_by(operations.c.wake_at, operations.c.id)
    most = sa.bindparam("most", None, type_=sa.Integer)
    query = query.limit(most).with_for_update(skip_locked=True)
    if not at_once:
        return PreparedStatement(query)
    found = query.cte("found")
    return PreparedStatement(_take(operations.c.id == found.c.id).returning(*found.c))


def claim(
    conn: sa.Connection,
    me: str,
    moment: str,
    *,
    limit: int,
    groups: Sequence[str] | None,
    only: Collection[str] | None = None,
    abandoned: Collection[str] = (),
    kinds: Collection[str] = (),
) -> list[Claim]:
    """Take up to `limit` operations that are due or orphaned: owner and epoch+1 in one transaction.

    On PostgreSQL it changes rows by one statement, and reads afterwards what is then its own: for `Database.single`.
    only: of these.
    abandoned: ids that this very incarnation owns without working on them (its task died).
    An incarnation that was expelled gets nothing: what it took would have no owner that is a member.
    kinds: workflows this process knows; others are taken only to end them after an abort.
    """
    in_groups = None if groups is None else tuple(groups)
    at_once = conn.dialect.name != "sqlite"
    query = _claiming(
        in_groups,
        tuple(kinds),
        chosen=only is not None,
        ours=bool(abandoned),
        at_once=at_once,
    )
    given = {"me": me, "moment": moment, "most": limit}
    given |= {"only": list(only or ()), "abandoned": list(abandoned)}
    found = query.mappings(conn, given)
    if not found:
        return []
    found.sort(key=lambda row: (row["wake_at"] or "", row["id"]))
    if not at_once:
        _TAKE.change(conn, {"me": me, "ids": [row["id"] for row in found]})
    recorded: dict[str, dict[int, StepRow]] = {row["id"]: {} for row in found}
    begun = [row["id"] for row in found if row["epoch"]]  # the others were never taken before
    if begun:
        for row in _STEPS_OF_SOME.mappings(conn, {"ids": begun}):
            step = step_from(row)
            recorded[step.operation_id][step.seq] = step
    return [
        Claim(
            operation=operation_from({**row, "owner": me, "epoch": row["epoch"] + 1}),
            steps=recorded[row["id"]],
            interrupted=row["owner"] is not None,
        )
        for row in found
    ]


def due(
    conn: sa.Connection,
    moment: str,
    groups: Sequence[str] | None,
    limit: int,
    ids: Collection[str] | None = None,
) -> list[Row]:
    """Id, group and dead owner of operations that somebody should claim now. ids: of these."""
    query = _due(None if groups is None else tuple(groups), ids is not None)
    return query.mappings(conn, {"moment": moment, "most": limit, "ids": list(ids or ())})


@functools.lru_cache(maxsize=20)
def _due(groups: tuple[str, ...] | None, chosen: bool) -> PreparedStatement:
    query = sa.select(operations.c.id, operations.c.group_name, operations.c.owner).where(
        claimable(sa.bindparam("moment", type_=sa.Text), groups)
    )
    if chosen:
        query = query.where(among(operations.c.id, "ids"))
    query = query.order_by(operations.c.wake_at, operations.c.id)
    return PreparedStatement(query.limit(sa.bindparam("most", type_=sa.Integer)))


def rows_of(conn: sa.Connection, ids: Collection[str]) -> list[Row]:
    """The same columns as `due` for given operations."""
    query = sa.select(operations.c.id, operations.c.group_name, operations.c.owner).where(
        operations.c.id.in_(list(ids)), _live
    )
    return [dict(row) for row in conn.execute(query).mappings()]


def next_wake(conn: sa.Connection, groups: Sequence[str] | None) -> str | None:
    """The earliest time at which a waiting operation wants to be advanced; "" means at once."""
    return _next_wake(None if groups is None else tuple(groups)).scalar(conn, {})


@functools.lru_cache(maxsize=20)
def _next_wake(groups: tuple[str, ...] | None) -> PreparedStatement:
    query = sa.select(sa.func.min(operations.c.wake_at)).where(_live, operations.c.owner.is_(None))
    return PreparedStatement(
        query if groups is None else query.where(operations.c.group_name.in_(groups))
    )


_OWNED = PreparedStatement(
    sa.select(operations.c.id, operations.c.abort_reason).where(
        _live, operations.c.owner == sa.bindparam("me")
    )
)


def owned(conn: sa.Connection, me: str) -> dict[str, str | None]:
    """Operations this incarnation owns, with the reason of an abort that was asked for."""
    return dict(_OWNED.rows(conn, {"me": me}))


_ABORT_OF = PreparedStatement(
    sa.select(operations.c.abort_reason).where(operations.c.id == sa.bindparam("op"), _live)
)


def abort_of(conn: sa.Connection, op_id: str) -> str | None:
    """The reason of an abort that was asked for."""
    return _ABORT_OF.scalar(conn, {"op": op_id})


_PARKED_LATER = PreparedStatement(
    sa.select(operations.c.id, operations.c.parked_at, operations.c.wake_at).where(
        _live,
        operations.c.owner.is_(None),
        operations.c.parked_at > sa.bindparam("moment"),
        operations.c.wake_at > AT_ONCE,
    )
)


def parked_in_future(conn: sa.Connection, moment: str) -> list[Row]:
    """Waiting operations whose parking time lies ahead: the wall clock has jumped back since."""
    return _PARKED_LATER.mappings(conn, {"moment": moment})


def move_wake(
    conn: sa.Connection, op_id: str, old: str, *, wake_at: datetime, parked_at: datetime
) -> None:
    """Move a parked operation's time, and the deadline of the step it stands in by the same span."""
    shift = wake_at - datetime.fromisoformat(old)
    moved = conn.execute(
        sa.update(operations)
        .where(operations.c.id == op_id, operations.c.owner.is_(None), operations.c.wake_at == old)
        .values(wake_at=timestamp(wake_at), parked_at=timestamp(parked_at))
    ).rowcount
    if not moved:
        return
    unfinished = [row for row in list_steps(conn, op_id) if row.ended_at is None]
    save_steps(conn, [moved_deadline(row, shift) for row in unfinished])


def moved_deadline(row: StepRow, shift: timedelta) -> StepRow:
    if row.deadline_at is None:
        return row
    until = datetime.fromisoformat(row.deadline_at) + shift
    return dataclasses.replace(row, deadline_at=timestamp(until))


# -- saves ----------------------------------------------------------------------------------------


_FENCE = PreparedStatement(
    sa.select(operations.c.id, operations.c.epoch, operations.c.abort_reason)
    .where(among(operations.c.id, "ids"), _live)
    .order_by(operations.c.id)
    .with_for_update()
)


def fence(conn: sa.Connection, wanted: dict[str, int]) -> dict[str, str | None]:
    """Lock operations that are still ours (id: epoch) and give their abort reasons; lost ones are absent."""
    rows = _FENCE.rows(conn, {"ids": list(wanted)})
    return {op_id: reason for op_id, epoch, reason in rows if epoch == wanted[op_id]}


def change(conn: sa.Connection, many: Iterable[tuple[str, Row]]) -> None:
    """Change columns of operations' rows: one statement for all that change the same columns."""
    alike: dict[tuple[str, ...], dict[str, Row]] = {}
    for op_id, values in many:
        alike.setdefault(tuple(values), {})[op_id] = {**values, "id": op_id}
    for names, rows in alike.items():
        _changing(names).run(conn, list(rows.values()))


@functools.cache
def _changing(names: tuple[str, ...]) -> BulkStatement:
    return BulkStatement.update(operations, "id", *names)


_STEP_COLUMNS = [column.name for column in steps.columns]
_UPSERT = BulkStatement.insert(steps, *_STEP_COLUMNS, replacing=("operation_id", "seq"))


def save_steps(conn: sa.Connection, rows: Iterable[StepRow]) -> None:
    # Of one that comes twice the last counts: a statement may change no row twice.
    values = {
        (row.operation_id, row.seq): {
            **{name: getattr(row, name) for name in _STEP_COLUMNS},
            "fault": to_json(row.fault) if row.fault is not None else None,
        }
        for row in rows
    }
    _UPSERT.run(conn, list(values.values()))
