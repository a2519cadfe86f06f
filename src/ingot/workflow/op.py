"""What a workflow's author holds in hand: `Op` tells the story, `StepContext` is inside one step.

The story is run from the top at every advance. Calls that are recorded give their record; the first one
that is not is the front, where work is really done.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ..kit import events
from ..kit.clock import Clock
from ..kit.db import from_json, timestamp, to_json, when
from ..kit.faults import Aborted, Failed, Fault, Kind, TimedOut
from ..kit.ids import new_hex
from . import store
from .saver import Save
from .tables import AT_ONCE, UNDO
from .timing import Expired, Limited, learned_deadline
from .types import (
    DEFAULT,
    Changed,
    Claim,
    FaultRecord,
    Lost,
    Parked,
    Retry,
    StepRow,
    Stopped,
    label,
)

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)

Work = Callable[["StepContext"], Awaitable[Any]]
Undo = Callable[["StepContext", Any], Awaitable[None]]

#: A step's start is written with its end, but not later than this (real seconds).
WRITE_START_AFTER = 0.1
#: Retries further away than this are waited for as a row, not as a coroutine.
PARK_RETRY_AFTER = 1.0


class StepContext:
    """Inside one attempt of a step.

    attempt: 1 for the first; higher also after a crash in which the step may have been run.
    epoch: grows with every claim; pass it to whatever can refuse the commands of an older worker.
    """

    def __init__(self, op: Op, name: str, attempt: int) -> None:
        self.attempt = attempt
        self.epoch = op.claim.operation.epoch
        self.clock: Clock = op.clock
        self.lines: list[str] = []
        self._op = op
        self._name = name
        self._thinner = events.Thinner(op.clock)

    async def progress(
        self, done: float, total: float | None = None, unit: str = "bytes", note: str = ""
    ) -> None:
        """Tell how far the step is; call it as often as you like."""
        rate, left, store_it, push_it = self._thinner.measure(done, total)
        if not (store_it or push_it):
            return
        data: dict[str, Any] = {"done": done, "total": total, "unit": unit, "note": note}
        data["rate"] = rate
        data["eta"] = left
        event = self._op.event("step.progress", self._name, step=self._name, data=data)
        if store_it:
            await self._op.save(Save(self._op.id, self.epoch, events=[event]))
        else:
            self._op.push(event)

    def log(self, text: str) -> None:
        """A line for the timeline: pushed now, kept with the end of the step (the last 200 lines)."""
        self.lines.append(text)
        del self.lines[:-200]
        self._op.push(self._op.event("note", text, step=self._name))


@dataclasses.dataclass
class _Undo:
    seq: int
    name: str
    key: str | None
    fn: Undo
    deadline: float
    retry: Retry
    result: Any = None


class Op:
    """One operation, told by its workflow."""

    def __init__(self, engine: Engine, claim: Claim) -> None:
        row = claim.operation
        self.claim = claim
        self.id = row.id
        self.kind = row.kind
        self.version = row.version
        self.subject = row.subject
        self.profile = row.profile
        self.project_id = row.project_id
        self.request_id = row.request_id
        self.requested_by = row.requested_by
        self.group = row.group
        self.clock: Clock = engine.clock
        self.input: Any = row.input
        self.undos: list[_Undo] = []
        self.lost = False
        self._engine = engine
        self._records = claim.steps
        self._interrupted = claim.interrupted
        self._abort: str | None = row.abort_reason
        self._undoing = row.state == "undoing"
        self._seq = 0
        self._labels: set[str] = set()
        self._active: Limited | None = None
        self._abortable = True
        self._in_call = False

    # -- the story ---------------------------------------------------------------------------

    async def step(
        self,
        name: str,
        fn: Work,
        *,
        key: str | None = None,
        deadline: float = 60,
        max_deadline: float | None = None,
        retry: Retry = DEFAULT,
        undo: Undo | None = None,
        commit: Callable[[sa.Connection, Any], None] | None = None,
        result_type: Any = None,
        abortable: bool = True,
    ) -> Any:
        """Do `fn(StepContext)` once (at least: it may be repeated after a crash) and give its result.

        The result must be JSON-able; it comes back as `result_type` (msgspec), also in the first run.
        commit(conn, result): runs in the transaction that records the step.
        A transient fault is tried again until the deadline (seconds); other faults end the step at once.
        undo(StepContext, result or None): run in reverse order when the operation fails or is aborted, also
        for the step that failed. The author may catch a step's Fault and go on.
        """
        record, seq = self._enter(name, key, "step")
        if undo is not None:
            self.undos.append(_Undo(seq, name, key, undo, deadline, retry))
        if record is not None and record.state in ("done", "failed"):
            value = self._replay(record, result_type)
            if undo is not None:
                self.undos[-1].result = value
            return value
        if self._abort is not None and record is not None:
            await self.fail_step(record, self.aborted())
            raise self.aborted()
        known = await self._engine.estimates.get(self.kind, name, self.profile)
        runner = _Runner(self, record, seq, name, key, "step", retry)
        runner.limit = learned_deadline(deadline, max_deadline, known)
        runner.expected = known.p50 if known else None
        runner.abortable = abortable
        value = await runner.run(fn, commit, result_type)
        if undo is not None:
            self.undos[-1].result = value
        return value

    async def commit(
        self,
        name: str,
        fn: Callable[[sa.Connection], Any],
        key: str | None = None,
        result_type: Any = None,
    ) -> Any:
        """A step that is only a database transaction: exactly once. A Fault fails it, rolled back."""
        record, seq = self._enter(name, key, "commit")
        if record is not None:
            return self._replay(record, result_type)
        started = self.clock.now()
        row = self.row(seq, name, key, "commit", "done", started)
        outcome: list[str] = []

        def first(conn: sa.Connection) -> None:
            outcome[:] = [to_json(fn(conn))]

        try:
            await self.transact(lambda conn: self._finish_commit(conn, first, outcome, row))
        except Fault as fault:
            await self.fail_step(row, fault)
            raise fault from None
        except Exception as error:
            fault = self.bug(row.label, error)
            await self.fail_step(row, fault)
            raise fault from error
        return _decode(outcome[0], result_type)

    def _finish_commit(
        self,
        conn: sa.Connection,
        first: Callable[[sa.Connection], None],
        outcome: list[str],
        row: StepRow,
    ) -> None:
        first(conn)
        self.fence(conn)
        done = self.ended(row, "done", result=outcome[0])
        store.save_steps(conn, [done])
        data = {"duration": done.duration}
        events.record_all(conn, [self.event("step.done", row.label, step=row.label, data=data)])

    async def wait(
        self,
        signal: str,
        *,
        deadline: float,
        name: str | None = None,
        key: str | None = None,
        what: str = "",
        commit_waiting: Callable[[sa.Connection], None] | None = None,
        commit_resumed: Callable[[sa.Connection, Any], None] | None = None,
        latest: bool = False,
        fresh: bool = False,
        result_type: Any = None,
        next_action: str = "",
    ) -> Any:
        """Park until a signal comes and give its payload; TimedOut after `deadline` seconds.

        what: what is waited for, in words for people ("the agent's first call").
        commit_waiting / commit_resumed: run in the transaction that parks / that consumes the signal. When
        the signal is there already both run in one transaction, in this order.
        latest: take the newest signal of that name and drop the older ones. fresh: drop those that came
        before the wait began.
        """
        record, seq = self._enter(name or f"wait for {signal}", key, "wait")
        if record is not None and record.state in ("done", "failed"):
            return self._replay(record, result_type)
        if self._abort is not None and record is not None:
            await self.fail_step(record, self.aborted())
            raise self.aborted()
        started = self.clock.now()
        waiter = _Waiter(self, signal, what, latest, commit_waiting, commit_resumed)
        if record is None:
            waiter.entering = True
            waiter.fresh = fresh
            until = timestamp(started + timedelta(seconds=deadline))
            label_name = name or f"wait for {signal}"
            record = self.row(seq, label_name, key, "wait", "waiting", started, deadline_at=until)
        remaining = self._remaining(record, deadline, started)
        payload = await waiter.settle(record, remaining)
        if payload is None:
            if remaining <= 0:
                wanted = what or f"signal '{signal}'"
                fault = TimedOut(
                    f"Step '{record.label}': {wanted} did not come within {_span(deadline)}.",
                    next_action=next_action,
                    details={"step": record.label},
                )
                await self.fail_step(record, fault)
                raise fault
            raise Parked
        return _decode(payload, result_type)

    async def sleep(self, seconds: float, *, name: str, key: str | None = None) -> None:
        """Let time pass; costs a row."""
        record, seq = self._enter(name, key, "sleep")
        if record is not None and record.state in ("done", "failed"):
            self._replay(record, None)
            return
        if self._abort is not None and record is not None:
            await self.fail_step(record, self.aborted())
            raise self.aborted()
        moment = self.clock.now()
        if record is None:
            until = timestamp(moment + timedelta(seconds=seconds))
            record = self.row(seq, name, key, "sleep", "waiting", moment, deadline_at=until)
        remaining = self._remaining(record, seconds, moment)
        if remaining > 0:
            await self.park(record, remaining, waiting_for=None, what=name)
            raise Parked
        await self.save(Save(self.id, self.epoch, steps=[self.ended(record, "done")]))

    async def forget(self, signal: str, *, name: str, key: str | None = None) -> None:
        """Drop signals of a name that came until now (before a reboot: calls of the old agent)."""
        await self.commit(name, lambda conn: store.forget_signals(conn, self.id, signal), key=key)

    def check_aborted(self) -> None:
        """Raise Aborted when an abort was asked for."""
        if self._abort is not None:
            raise self.aborted()

    @property
    def epoch(self) -> int:
        return self.claim.operation.epoch

    # -- recorded calls ------------------------------------------------------------------------

    def _enter(self, name: str, key: str | None, sort: str) -> tuple[StepRow | None, int]:
        """The record at this place of the story, if there is one, and the place's number."""
        if self._active is not None:
            raise Changed(
                f"'{name}' was called while another step is running; steps do not overlap"
            )
        seq = self._seq
        self._seq += 1
        wanted = label(name, key)
        record = self._records.get(seq)
        if record is not None and (record.label, record.sort) != (wanted, sort):
            raise Changed(f"the record has '{record.label}' where the workflow tells '{wanted}'")
        if wanted in self._labels:
            raise Changed(f"step '{wanted}' is told twice; give repeated steps a key")
        self._labels.add(wanted)
        finished = record is not None and record.state in ("done", "failed")
        if self._undoing and record is None:
            fault = self.claim.operation.fault
            raise fault.fault() if fault else self.aborted()
        if self._undoing and not finished:
            assert record is not None
            fault = self.claim.operation.fault
            self._records[seq] = dataclasses.replace(record, state="failed", fault=fault)
            return self._records[seq], seq
        if self._engine.stopping and not finished:
            raise Stopped
        if self.lost:
            raise Lost
        if self._abort is not None and record is None:
            raise self.aborted()
        return record, seq

    def _replay(self, record: StepRow, result_type: Any) -> Any:
        if record.state == "failed":
            assert record.fault is not None
            raise record.fault.fault()
        return _decode(record.result or "null", result_type)

    def _remaining(self, record: StepRow, seconds: float, moment: datetime) -> float:
        """Seconds left of a wait. A wall clock that jumped back never makes it longer than it was."""
        until = when(record.deadline_at)
        if until is None:
            return seconds
        return min((until - moment).total_seconds(), seconds)

    # -- used by the engine and the helpers below ---------------------------------------------

    def aborted(self) -> Aborted:
        by = self.claim.operation.abort_by
        return Aborted(self._abort or "Aborted.", details={"by": by} if by else {})

    def engine_stopping(self) -> bool:
        return self._engine.stopping

    def ask_abort(self, reason: str) -> None:
        """Called from outside while the operation runs here."""
        if self._abort is None and not self._undoing:
            self._abort = reason
            if self._active is not None and self._abortable:
                self._active.cancel()

    def stop(self) -> None:
        """The process goes down: end the step under way; the operation is given back."""
        if self._active is not None:
            self._active.cancel()

    def give_up(self) -> None:
        """The lease is lost: stop quietly."""
        self.lost = True
        if self._active is not None:
            self._active.cancel()

    def begin_undo(self) -> None:
        self._undoing = True
        self._abort = None

    def take_interruption(self) -> bool:
        was, self._interrupted = self._interrupted, False
        return was

    async def within(self, seconds: float, work: Any, abortable: bool) -> Any:
        self._active = active = Limited(self.clock, seconds, work)
        self._abortable = abortable
        self._engine.working += 1
        try:
            return await active.result()
        finally:
            self._engine.working -= 1
            self._active = None

    def event(
        self,
        kind: str,
        title: str,
        *,
        step: str | None = None,
        data: dict[str, Any] | None = None,
        severity: str = "info",
    ) -> events.Event:
        return events.Event(
            at=timestamp(self.clock.now()),
            subject=self.subject,
            kind=kind,
            title=title,
            operation_id=self.id,
            step=step,
            data={"operation": self.kind, **(data or {})},
            project_id=self.project_id,
            severity=severity,
        )

    def push(self, event: events.Event) -> None:
        self._engine.push(event)

    async def save(self, save: Save) -> None:
        self._noted(await self._engine.saver.save(save))

    async def save_alone(
        self, save: Save, first: Callable[[sa.Connection], None] | None = None
    ) -> None:
        self._noted(await self._engine.saver.save_alone(save, first))

    async def transact(self, run: Callable[[sa.Connection], Any]) -> Any:
        """A transaction of the engine's; faults of a stale worker become Lost."""
        try:
            return await self._engine.saver.write(run)
        except Exception:
            held = await self._engine.db.read(lambda conn: store.fence(conn, {self.id: self.epoch}))
            if self.id not in held:
                raise Lost from None
            raise

    def fence(self, conn: sa.Connection) -> None:
        held = store.fence(conn, {self.id: self.epoch})
        if self.id not in held:
            raise Lost
        self._noted(held[self.id])

    def _noted(self, abort: str | None) -> None:
        if abort is not None and not self._undoing:
            self._abort = abort

    def row(
        self,
        seq: int,
        name: str,
        key: str | None,
        sort: str,
        state: str,
        started: datetime,
        *,
        attempt: int = 1,
        deadline_at: str | None = None,
    ) -> StepRow:
        return StepRow(
            operation_id=self.id,
            seq=seq,
            name=name,
            key=key,
            sort=sort,
            state=state,
            attempt=attempt,
            result=None,
            fault=None,
            started_at=timestamp(started),
            deadline_at=deadline_at,
            ended_at=None,
            duration=None,
        )

    def ended(
        self,
        row: StepRow,
        state: str,
        *,
        result: str | None = None,
        fault: FaultRecord | None = None,
    ) -> StepRow:
        moment = self.clock.now()
        started = when(row.started_at) or moment
        return dataclasses.replace(
            row,
            state=state,
            result=result,
            fault=fault,
            ended_at=timestamp(moment),
            duration=max(0.0, (moment - started).total_seconds()),
        )

    async def fail_step(
        self, row: StepRow, fault: Fault, told: list[events.Event] | None = None
    ) -> None:
        """Record that a step failed, with its cause."""
        fault.details.setdefault("step", row.label)
        failed = self.ended(row, "failed", fault=FaultRecord.of(fault))
        data = {
            "cause": fault.text,
            "next_action": fault.next_action,
            "duration": failed.duration,
            "attempt": row.attempt,
        }
        end = self.event("step.failed", row.label, step=row.label, data=data, severity="error")
        pushed = set(range(len(told or [])))
        save = Save(self.id, self.epoch, [failed], [*(told or []), end], pushed)
        await self.save(save)
        self._records[row.seq] = failed

    def bug(self, name: str, error: Exception) -> Failed:
        """An exception that is no Fault: ours to repair, told with a reference into the log."""
        reference = new_hex()[:12]
        log.error(
            "internal error in step %r of %s %s (reference %s)",
            name,
            self.kind,
            self.id,
            reference,
            exc_info=error,
        )
        return Failed(
            f"Internal error in step '{name}' (reference {reference}).",
            next_action="Look for the reference in the service's log, and try again.",
            internal=repr(error),
            details={"step": name, "reference": reference},
        )

    async def park(
        self, row: StepRow, seconds: float, *, waiting_for: str | None, what: str | None
    ) -> None:
        """Save a row that waits and give the operation back until `seconds` have passed."""
        moment = self.clock.now()
        changes = self.parked(moment, seconds, row.label, waiting_for, what)
        await self.save_alone(Save(self.id, self.epoch, steps=[row], changes=changes))
        self._engine.remember_park(self.id, seconds)

    def parked(
        self,
        moment: datetime,
        seconds: float,
        step: str,
        waiting_for: str | None,
        what: str | None,
    ) -> dict[str, Any]:
        # An abort that was asked for meanwhile must not be slept over.
        wake = AT_ONCE if self._abort else timestamp(moment + timedelta(seconds=seconds))
        return {
            "state": "undoing" if self._undoing else "waiting",
            "step": step,
            "waiting_for": waiting_for,
            "what": what,
            "wake_at": wake,
            "parked_at": timestamp(moment),
            "owner": None,
        }

    def note_parked(self, seconds: float) -> None:
        self._engine.remember_park(self.id, seconds)

    def replayed_undo(self, seq: int) -> StepRow | None:
        return self._records.get(UNDO + seq)


class _Again(Exception):
    """A signal came between our look and our lock: run the transaction again."""


class _Waiter:
    """The transaction that enters, ends or continues a wait."""

    def __init__(
        self,
        op: Op,
        signal: str,
        what: str,
        latest: bool,
        commit_waiting: Callable[[sa.Connection], None] | None,
        commit_resumed: Callable[[sa.Connection, Any], None] | None,
    ) -> None:
        self.op = op
        self.signal = signal
        self.what = what
        self.latest = latest
        self.entering = False
        self.fresh = False
        self._commit_waiting = commit_waiting
        self._commit_resumed = commit_resumed

    async def settle(self, row: StepRow, remaining: float) -> str | None:
        """The payload as JSON when the signal is there; else the wait is saved (if time is left)."""
        op = self.op
        while True:
            try:
                payload = await op.transact(lambda conn: self._run(conn, row, remaining))
            except _Again:
                continue
            except Fault as fault:
                await op.fail_step(row, fault)
                raise
            except Exception as error:
                fault = op.bug(row.label, error)
                await op.fail_step(row, fault)
                raise fault from error
            if payload is None and remaining > 0:
                op.note_parked(remaining)
            return payload

    def _run(self, conn: sa.Connection, row: StepRow, remaining: float) -> str | None:
        op = self.op
        if self.entering and self.fresh:
            store.forget_signals(conn, op.id, self.signal)
        found = store.find_signal(conn, op.id, self.signal, newest=self.latest)
        if self.entering and self._commit_waiting is not None:
            self._commit_waiting(conn)
        if found is not None and self._commit_resumed is not None:
            self._commit_resumed(conn, from_json(found[1]))
        op.fence(conn)
        if found is None:
            if store.find_signal(conn, op.id, self.signal, newest=self.latest) is not None:
                if self.fresh and self.entering:
                    self.fresh = False  # it came after the wait had begun
                raise _Again
            if remaining > 0:
                self._park(conn, row, remaining)
            return None
        number, payload = found
        store.take_signal(conn, op.id, self.signal, number, older=self.latest)
        done = op.ended(row, "done", result=payload)
        store.save_steps(conn, [done])
        store.change(conn, op.id, {"state": "running", "waiting_for": None, "what": None})
        data = {"duration": done.duration, "signal": self.signal}
        events.record_all(conn, [op.event("wait.done", row.label, step=row.label, data=data)])
        return payload

    def _park(self, conn: sa.Connection, row: StepRow, remaining: float) -> None:
        op = self.op
        store.save_steps(conn, [row])
        moment = op.clock.now()
        store.change(
            conn, op.id, op.parked(moment, remaining, row.label, self.signal, self.what or None)
        )
        if self.entering:
            data = {"signal": self.signal, "what": self.what, "deadline_at": row.deadline_at}
            told = op.event("wait.started", self.what or row.label, step=row.label, data=data)
            events.record_all(conn, [told])


class _Runner:
    """One step (or undo) from its first attempt to its end."""

    def __init__(
        self,
        op: Op,
        record: StepRow | None,
        seq: int,
        name: str,
        key: str | None,
        sort: str,
        retry: Retry,
    ) -> None:
        self.op = op
        self.record = record
        self.seq = seq
        self.name = name
        self.key = key
        self.label = label(name, key)
        self.sort = sort
        self.retry = retry
        self.limit = 60.0
        self.expected: float | None = None
        self.abortable = True
        self._told: list[events.Event] = []  # the start, pushed but not yet written
        self._handle: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    async def run(
        self,
        fn: Work,
        commit: Callable[[sa.Connection, Any], None] | None,
        result_type: Any,
    ) -> Any:
        op = self.op
        moment = op.clock.now()
        interrupted = op.take_interruption()
        attempt, began, remaining = self._resume(moment, interrupted)
        ends = op.clock.monotonic() + remaining
        row = op.row(self.seq, self.name, self.key, self.sort, "running", began, attempt=attempt)
        deadline_at = timestamp(moment + timedelta(seconds=max(remaining, 0)))
        row = dataclasses.replace(row, deadline_at=deadline_at)
        self._begin(row)
        try:
            while True:
                context = StepContext(op, self.label, row.attempt)
                try:
                    value = await self._attempt(fn, context, ends, row)
                    return await self._done(row, value, commit, result_type, context)
                except Fault as fault:
                    left = ends - op.clock.monotonic()
                    delay = self._delay(fault, row.attempt, left)
                    if delay is None:
                        await self._fail(row, self._final(fault, row.attempt), context)
                    else:
                        row = await self._again(row, fault, delay, context)
        finally:
            if self._handle is not None:
                self._handle.cancel()

    def _resume(self, moment: datetime, interrupted: bool) -> tuple[int, datetime, float]:
        """Attempt number, first start and seconds left, from what is recorded of the step."""
        record = self.record
        if record is None:
            return (2 if interrupted else 1), moment, self.limit
        began = when(record.started_at) or moment
        if record.state == "retry":
            until = when(record.deadline_at)
            left = (until - moment).total_seconds() if until else self.limit
            # Woken in time for one more attempt, even when the machine was slow to wake us.
            return record.attempt + 1, began, min(max(left, 1.0), self.limit)
        # A crash in the middle: the time spent then does not count against this attempt.
        return record.attempt + 1, moment, self.limit

    def _begin(self, row: StepRow) -> None:
        """Show the start at once; write it with the end of the step, or after a moment."""
        data: dict[str, Any] = {"attempt": row.attempt, "expected": self.expected}
        data["deadline_at"] = row.deadline_at
        event = self.op.event("step.started", self.label, step=self.label, data=data)
        self.op.push(event)
        self._told = [event]
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._writing = loop.create_task(self._write_start(row))

        self._handle = loop.call_later(WRITE_START_AFTER, fire)

    async def _write_start(self, row: StepRow) -> None:
        told, self._told = self._told, []
        changes = {"state": "undoing" if self.sort == "undo" else "running", "step": self.label}
        changes["waiting_for"] = changes["what"] = None
        save = Save(self.op.id, self.op.epoch, [row], told, set(range(len(told))), changes)
        try:
            await self.op.save(save)
        except Lost:
            self.op.give_up()
        except Exception:
            log.exception("the start of step %r could not be written", self.label)

    async def _written(self) -> list[events.Event]:
        """Make sure that the start is written, or will be with the next save; gives its events."""
        if self._handle is not None:
            self._handle.cancel()
        if self._writing is not None:
            await self._writing
            self._writing = None
        told, self._told = self._told, []
        return told

    async def _attempt(self, fn: Work, context: StepContext, ends: float, row: StepRow) -> Any:
        op = self.op
        left = max(ends - op.clock.monotonic(), 0.001)
        try:
            return await op.within(left, _call(fn, context), self.abortable)
        except Expired:
            raise TimedOut(
                f"Step '{self.label}' did not finish within {_span(self.limit)}.",
                details={"step": self.label},
            ) from None
        except asyncio.CancelledError:
            if op.lost:
                raise Lost from None
            if op.engine_stopping():
                await self._give_back(row)
                raise Stopped from None
            if self.sort != "undo":
                op.check_aborted()
            raise
        except (Fault, Lost):
            raise
        except Exception as error:
            raise op.bug(self.label, error) from error

    async def _give_back(self, row: StepRow) -> None:
        told = await self._written()
        await self.op.save(Save(self.op.id, self.op.epoch, [row], told, set(range(len(told)))))

    async def _done(
        self,
        row: StepRow,
        value: Any,
        commit: Callable[[sa.Connection, Any], None] | None,
        result_type: Any,
        context: StepContext,
    ) -> Any:
        op = self.op
        try:
            text = to_json(value)
            result = _decode(text, result_type)
        except Exception as error:
            raise op.bug(self.label, error) from error
        told = await self._written()
        done = op.ended(row, "done", result=text)
        data: dict[str, Any] = {"duration": done.duration, "attempt": row.attempt}
        if context.lines:
            data["log"] = list(context.lines)
        end = op.event("step.done", self.label, step=self.label, data=data)
        save = Save(op.id, op.epoch, [done], [*told, end], set(range(len(told))))
        if commit is None:
            await op.save(save)
            return result
        try:
            await op.save_alone(save, lambda conn: commit(conn, result))
        except Fault:
            raise
        except Exception as error:
            self._told = told
            raise op.bug(self.label, error) from error
        return result

    def _delay(self, fault: Fault, attempt: int, left: float) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        if not fault.transient:
            return None
        if self.retry.attempts is not None and attempt >= self.retry.attempts:
            return None
        delay = self.retry.delay(attempt, fault.retry_after)
        return delay if delay < left else None

    def _final(self, fault: Fault, attempt: int) -> Fault:
        """A transient fault that lasted until the deadline says so."""
        fault.details.setdefault("step", self.label)
        if not fault.transient or self.retry.attempts is not None:
            return fault
        return TimedOut(
            f"Step '{self.label}' did not succeed within {_span(self.limit)} "
            f"({attempt} attempts). Last cause: {fault.text}",
            next_action=fault.next_action,
            internal=fault.internal,
            details={**fault.details, "last_kind": str(fault.kind)},
        )

    async def _fail(self, row: StepRow, fault: Fault, context: StepContext) -> None:
        if context.lines:
            fault.details["log"] = list(context.lines)
        await self.op.fail_step(row, fault, await self._written())
        raise fault

    async def _again(
        self, row: StepRow, fault: Fault, delay: float, context: StepContext
    ) -> StepRow:
        """Tell of the failed attempt and wait for the next: here when it is near, else as a row."""
        op = self.op
        data: dict[str, Any] = {"cause": fault.text, "attempt": row.attempt, "delay": delay}
        if context.lines:
            data["log"] = list(context.lines)
        told = await self._written()
        event = op.event("step.retry", self.label, step=self.label, data=data, severity="warning")
        tried = dataclasses.replace(row, state="retry")
        save = Save(op.id, op.epoch, [tried], [*told, event], set(range(len(told))))
        if delay > PARK_RETRY_AFTER:
            save.changes = op.parked(op.clock.now(), delay, self.label, None, fault.text)
            await op.save_alone(save)
            op.note_parked(delay)
            raise Parked
        await op.save(save)
        try:
            await op.within(delay + 60, op.clock.sleep(delay), True)
        except asyncio.CancelledError:
            if op.lost:
                raise Lost from None
            if op.engine_stopping():
                raise Stopped from None
            if self.sort == "undo":
                raise
        if self.sort != "undo":
            op.check_aborted()
        return dataclasses.replace(row, attempt=row.attempt + 1)


async def run_undo(op: Op, undo: _Undo) -> Fault | None:
    """Run or continue one undo; gives the fault when it failed for good."""
    record = op.replayed_undo(undo.seq)
    if record is not None and record.state == "done":
        return None
    if record is not None and record.state == "failed":
        return record.fault.fault() if record.fault else None
    name = f"undo {undo.name}"
    runner = _Runner(op, record, UNDO + undo.seq, name, undo.key, "undo", undo.retry)
    runner.limit = undo.deadline
    runner.abortable = False

    async def work(context: StepContext) -> None:
        await undo.fn(context, undo.result)

    try:
        await runner.run(work, None, None)
    except Fault as fault:
        return fault
    return None


async def _call(fn: Work, context: StepContext) -> Any:
    return await fn(context)


def _decode(text: str, result_type: Any) -> Any:
    if result_type is None:
        return from_json(text)
    return msgspec.json.decode(text, type=result_type)


def _span(seconds: float) -> str:
    """Seconds in words for people."""
    if seconds < 120:
        return f"{seconds:g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


__all__ = ["Kind", "Op", "StepContext", "run_undo"]
