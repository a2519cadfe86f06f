"""What a workflow's author holds in hand.

The workflow runs from the top at every advance. Calls that are recorded give their record; the first one
that is not is the front, where work is really done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import DatabaseUnavailable, timestamp, to_json, when
from ingot.kit.faults import Aborted, Failed, Fault, TimedOut
from ingot.kit.ids import new_hex
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock

from . import signal_store, store
from .recording import OperationHost
from .running import Runner, StepContext, Undoing, UndoWork, Work
from .saver import Save
from .tables import AT_ONCE, UNDO
from .timing import Estimate, Rule, TimeLimitedTask, span
from .types import (
    DEFAULT,
    Claim,
    FaultRecord,
    Interrupted,
    LeaseLost,
    Parked,
    Retry,
    StepRow,
    Stopped,
    WorkflowChanged,
    decode,
    label,
)
from .waiting import Waiter

log = logging.getLogger(__name__)


class Op:
    """One operation, told by its workflow."""

    def __init__(self, engine: OperationHost, claim: Claim) -> None:
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
        self.undos: list[Undoing] = []
        self.lost = False
        self._engine = engine
        self._records = claim.steps
        self._interrupted = claim.interrupted
        self._abort: str | None = row.abort_reason
        self._undoing = row.state == "undoing"
        self._seq = 0
        self._labels: set[str] = set()
        self._active: TimeLimitedTask | None = None
        self._abortable = True
        self._in_call = False

    # -- what authors call -------------------------------------------------------------------

    async def step(
        self,
        name: str,
        fn: Work,
        *,
        key: str | None = None,
        deadline: float = 60,
        max_deadline: float | None = None,
        min_deadline: float | None = None,
        similar: str = "",
        amount: float | None = None,
        retry: Retry = DEFAULT,
        undo: UndoWork | None = None,
        commit: Callable[[sa.Connection, Any], None] | None = None,
        result_type: Any = None,
        abortable: bool = True,
    ) -> Any:
        """Do `fn(StepContext)` once (at least: it may be repeated after a crash) and give its result.

        The result must be JSON-able; it comes back as `result_type` (msgspec), also in the first run.
        commit(conn, result): runs in the transaction that records the step.
        deadline: seconds, until history says better, within min_deadline (where the work has a patience of
        its own that must not be cut short) and max_deadline; see `timing`. similar: only runs with this word in
        their key are history. amount: bytes to be done, where results tell theirs: history counts per byte.
        A transient fault is tried again until the deadline; other faults end the step at once.
        undo(StepContext, result or None): run in reverse order when the operation fails or is aborted, also
        for the step that failed. The author may catch a step's Fault and go on.
        """
        record, seq = self._enter(name, key, "step")
        if undo is not None:
            self.undos.append(Undoing(seq, name, key, undo, deadline, retry))
        if record is not None and record.state in ("done", "failed"):
            value = self._replay(record, result_type)
            if undo is not None:
                self.undos[-1].result = value
            return value
        if self._abort is not None and record is not None:
            await self.fail_step(record, self.aborted())
            raise self.aborted()
        with interrupting():
            known = await self._engine.estimates.get(self.kind, name, self.profile, similar, amount)
        runner = Runner(self, record, seq, name, key, "step", retry)
        runner.rule = Rule(deadline, max_deadline, min_deadline, similar, amount)
        runner.limit = runner.rule.limit(known)
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
        await self.reach("before", row)
        outcome: list[str] = []
        save = Save(self.id, self.epoch)

        def first(conn: sa.Connection) -> None:
            outcome[:] = [to_json(fn(conn))]
            done = self.ended(row, "done", result=outcome[0])
            data = {"duration": done.duration}
            save.steps = [done]
            save.events = [self.event("step.done", row.label, step=row.label, data=data)]

        save.first = first
        try:
            await self.save(save)
        except Fault as fault:
            await self.fail_step(row, fault)
            raise fault from None
        except Exception as error:
            fault = self.bug(row.label, error)
            await self.fail_step(row, fault)
            raise fault from error
        await self.reach("saved", row)
        return decode(outcome[0], result_type)

    @property
    def recorded(self) -> bool:
        """Whether the step that is told next has been begun before: what only prepares it may be left out."""
        return self._seq in self._records

    async def usual(self, name: str) -> Estimate | None:
        """How long steps or waits of this name have taken in operations of this kind, on such machines."""
        return await self._engine.estimates.get(self.kind, name, self.profile)

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
        expected: float | None = None,
        rule: Rule | None = None,
        result_type: Any = None,
        next_action: str = "",
    ) -> Any:
        """Park until a signal comes and give its payload; TimedOut after `deadline` seconds.

        what: what is waited for, in words for people ("the agent's first call").
        commit_waiting / commit_resumed: run in the transaction that parks / that consumes the signal. When
        the signal is there already both run in one transaction, in this order.
        latest: take the newest signal of that name and drop the older ones. fresh: drop those that came
        before the wait began. expected: seconds that it usually takes, for people; rule: where history says
        them, so that it can be listed.
        """
        record, seq = self._enter(name or f"wait for {signal}", key, "wait")
        if record is not None and record.state in ("done", "failed"):
            return self._replay(record, result_type)
        if self._abort is not None and record is not None:
            await self.fail_step(record, self.aborted())
            raise self.aborted()
        started = self.clock.now()
        waiter = Waiter(self, signal, what, latest, commit_waiting, commit_resumed)
        waiter.expected, waiter.rule = expected, rule
        if record is None:
            waiter.entering = True
            waiter.fresh = fresh
            until = timestamp(started + timedelta(seconds=deadline))
            label_name = name or f"wait for {signal}"
            record = self.row(seq, label_name, key, "wait", "waiting", started, deadline_at=until)
        remaining = self._remaining(record, deadline, started)
        await self.reach("before", record)
        payload = await waiter.settle(record, remaining)
        if payload is None:
            if remaining <= 0 and self._abort is not None:
                await self.fail_step(record, self.aborted())
                raise self.aborted()
            if remaining <= 0:
                wanted = what or f"signal '{signal}'"
                fault = TimedOut(
                    f"Step '{record.label}': {wanted} did not come within {span(deadline)}.",
                    next_action=next_action,
                    details={"step": record.label},
                )
                await self.fail_step(record, fault)
                raise fault
            await self.reach("parked", record)
            raise Parked
        await self.reach("saved", record)
        return decode(payload, result_type)

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
            await self.reach("before", record)
            await self.park(record, remaining, waiting_for=None, what=name)
            await self.reach("parked", record)
            raise Parked
        await self.save(Save(self.id, self.epoch, steps=[self.ended(record, "done")]))
        await self.reach("saved", record)

    async def forget(self, signal: str, *, name: str, key: str | None = None) -> None:
        """Drop signals of a name that came until now (before a reboot: calls of the old agent)."""
        await self.commit(
            name, lambda conn: signal_store.forget_signals(conn, self.id, signal), key=key
        )

    def check_aborted(self) -> None:
        """Raise Aborted when an abort was asked for."""
        if self._abort is not None:
            raise self.aborted()

    @property
    def epoch(self) -> int:
        return self.claim.operation.epoch

    # -- recorded calls ------------------------------------------------------------------------

    def _enter(self, name: str, key: str | None, sort: str) -> tuple[StepRow | None, int]:
        """The record at this place of the workflow, if there is one, and the place's number."""
        if self._active is not None:
            raise WorkflowChanged(
                f"'{name}' was called while another step is running; steps do not overlap"
            )
        seq = self._seq
        self._seq += 1
        wanted = label(name, key)
        record = self._records.get(seq)
        if record is not None and (record.label, record.sort) != (wanted, sort):
            raise WorkflowChanged(
                f"the record has '{record.label}' where the workflow tells '{wanted}'"
            )
        if wanted in self._labels:
            raise WorkflowChanged(f"step '{wanted}' is told twice; give repeated steps a key")
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
            raise LeaseLost
        if self._abort is not None and record is None:
            raise self.aborted()
        return record, seq

    def _replay(self, record: StepRow, result_type: Any) -> Any:
        if record.state == "failed":
            assert record.fault is not None
            raise record.fault.fault()
        return decode(record.result or "null", result_type)

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

    def confirm(self) -> None:
        """Asked in the moment before an order leaves for hardware; raises Lost when it is not ours to give."""
        if self.lost or self._engine.lease_over:
            raise LeaseLost

    def begin_undo(self) -> None:
        self._undoing = True
        self._abort = None

    def take_interruption(self) -> bool:
        was, self._interrupted = self._interrupted, False
        return was

    async def reach(self, point: str, row: StepRow) -> None:
        await self._engine.reach(point, self, row.label, row.sort)

    async def within(self, seconds: float, work: Any, abortable: bool) -> Any:
        self._active = active = TimeLimitedTask(self.clock, seconds, work)
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
        """Write it with what other operations save. Faults of a stale worker become Lost."""
        with interrupting():
            async with self._ours():
                self._noted(await self._engine.saver.save(save))

    async def transact(self, run: Callable[[sa.Connection], Any]) -> Any:
        """A transaction of its own; faults of a stale worker become Lost."""
        with interrupting():
            async with self._ours():
                return await self._engine.saver.write(run)

    @contextlib.asynccontextmanager
    async def _ours(self) -> AsyncGenerator[None]:
        try:
            yield
        except DatabaseUnavailable:
            raise
        except Exception:
            held = await self._engine.saver.read(
                lambda conn: store.fence(conn, {self.id: self.epoch})
            )
            if self.id not in held:
                raise LeaseLost from None
            raise

    def fence(self, conn: sa.Connection) -> None:
        held = store.fence(conn, {self.id: self.epoch})
        if self.id not in held:
            raise LeaseLost
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
        await self.save(Save(self.id, self.epoch, steps=[row], changes=changes))
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


@contextlib.contextmanager
def interrupting() -> Generator[None]:
    """A database that is away is no fault of a step: the operation stands still until it is back."""
    try:
        yield
    except DatabaseUnavailable as away:
        raise Interrupted from away


__all__ = ["Op", "StepContext"]
