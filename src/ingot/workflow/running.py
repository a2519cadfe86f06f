"""One step, or one undo, from its first attempt to its end: retries, deadlines, records and events."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import DatabaseUnavailable, timestamp, to_json, when
from ingot.kit.faults import Fault, TimedOut, disk_full
from ingot.kit.tasks import events, fencing
from ingot.kit.tasks.clock import Clock

from .recording import RecordedOperation
from .saver import Save
from .tables import UNDO
from .timing import Expired, Rule, span
from .types import Interrupted, LeaseLost, Parked, Retry, StepRow, Stopped, decode, label

log = logging.getLogger(__name__)

Work = Callable[["StepContext"], Awaitable[Any]]
UndoWork = Callable[["StepContext", Any], Awaitable[None]]

#: A step's start is written with its end, but not later than this (real seconds).
WRITE_START_AFTER = 0.1
#: Retries further away than this are waited for as a row, not as a coroutine.
PARK_RETRY_AFTER = 1.0


class StepContext:
    """Inside one attempt of a step.

    attempt: 1 for the first; higher also after a crash in which the step may have been run.
    epoch: grows with every claim; pass it to whatever can refuse the commands of an older worker.
    began: when the first attempt was made.
    """

    def __init__(self, op: RecordedOperation, name: str, attempt: int, began: datetime) -> None:
        self.attempt = attempt
        self.began = began
        self.epoch = op.epoch
        self.clock: Clock = op.clock
        self.lines: list[str] = []
        self._op = op
        self._name = name
        self._thinner = events.ProgressSampler(op.clock)

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
class Undoing:
    seq: int
    name: str
    key: str | None
    fn: UndoWork
    deadline: float
    retry: Retry
    result: Any = None


class Runner:
    """One step (or undo) from its first attempt to its end."""

    def __init__(
        self,
        op: RecordedOperation,
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
        self.rule: Rule | None = None
        self.abortable = True
        self._unsaved_events: list[events.Event] = []  # the start, pushed but not yet written
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
                context = StepContext(op, self.label, row.attempt, began)
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
        if self.rule is not None:
            data["rule"] = self.rule.as_data()
        event = self.op.event("step.started", self.label, step=self.label, data=data)
        self.op.push(event)
        self._unsaved_events = [event]
        loop = asyncio.get_running_loop()

        def fire() -> None:
            self._writing = loop.create_task(self._write_start(row))

        self._handle = loop.call_later(WRITE_START_AFTER, fire)

    async def _write_start(self, row: StepRow) -> None:
        unsaved, self._unsaved_events = self._unsaved_events, []
        changes = {
            "state": "undoing" if self.sort == "undo" else "running",
            "step": self.label,
            "waiting_for": None,
            "what": None,
        }
        save = Save(self.op.id, self.op.epoch, [row], unsaved, set(range(len(unsaved))), changes)
        try:
            await self.op.save(save)
        except LeaseLost:
            self.op.give_up()
        except Interrupted:
            pass  # the step's end will meet the same
        except Exception:
            log.exception("the start of step %r could not be written", self.label)

    async def _written(self) -> list[events.Event]:
        """Make sure that the start is written, or will be with the next save; gives its events."""
        if self._handle is not None:
            self._handle.cancel()
        if self._writing is not None:
            await self._writing
            self._writing = None
        unsaved, self._unsaved_events = self._unsaved_events, []
        return unsaved

    async def _attempt(self, fn: Work, context: StepContext, ends: float, row: StepRow) -> Any:
        op = self.op
        left = max(ends - op.clock.monotonic(), 0.001)
        try:
            return await op.within(left, self._call(fn, context, row), self.abortable)
        except Expired:
            raise TimedOut(
                f"Step '{self.label}' did not finish within {span(self.limit)}.",
                details={"step": self.label},
            ) from None
        except asyncio.CancelledError:
            if op.lost:
                raise LeaseLost from None
            if op.engine_stopping():
                await self._give_back(row)
                raise Stopped from None
            if self.sort != "undo":
                op.check_aborted()
            raise
        except DatabaseUnavailable as away:
            raise Interrupted from away
        except (Fault, LeaseLost):
            raise
        except Exception as error:
            raise disk_full(error) or op.bug(self.label, error) from error

    async def _call(self, fn: Work, context: StepContext, row: StepRow) -> Any:
        await self.op.reach("before", row)
        fencing.hold(self.op.confirm)
        fencing.check()
        return await fn(context)

    async def _give_back(self, row: StepRow) -> None:
        unsaved = await self._written()
        await self.op.save(
            Save(self.op.id, self.op.epoch, [row], unsaved, set(range(len(unsaved))))
        )

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
            result = decode(text, result_type)
        except Exception as error:
            raise disk_full(error) or op.bug(self.label, error) from error
        await op.reach("done", row)
        unsaved = await self._written()
        done = op.ended(row, "done", result=text)
        data: dict[str, Any] = {"duration": done.duration, "attempt": row.attempt}
        if context.lines:
            data["log"] = list(context.lines)
        end = op.event("step.done", self.label, step=self.label, data=data)
        save = Save(op.id, op.epoch, [done], [*unsaved, end], set(range(len(unsaved))))
        if commit is not None:
            save.first = lambda conn: commit(conn, result)
        try:
            await op.save(save)
        except Fault:
            raise
        except Exception as error:
            self._unsaved_events = unsaved
            raise disk_full(error) or op.bug(self.label, error) from error
        await op.reach("saved", row)
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
            f"Step '{self.label}' did not succeed within {span(self.limit)} "
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
        unsaved = await self._written()
        event = op.event("step.retry", self.label, step=self.label, data=data, severity="warning")
        tried = dataclasses.replace(row, state="retry")
        save = Save(op.id, op.epoch, [tried], [*unsaved, event], set(range(len(unsaved))))
        if delay > PARK_RETRY_AFTER:
            save.changes = op.parked(op.clock.now(), delay, self.label, None, fault.text)
            await op.save(save)
            op.note_parked(delay)
            raise Parked
        await op.save(save)
        try:
            await op.within(delay + 60, op.clock.sleep(delay), True)
        except asyncio.CancelledError:
            if op.lost:
                raise LeaseLost from None
            if op.engine_stopping():
                raise Stopped from None
            if self.sort == "undo":
                raise
        if self.sort != "undo":
            op.check_aborted()
        return dataclasses.replace(row, attempt=row.attempt + 1)


async def run_undo(op: RecordedOperation, undo: Undoing) -> Fault | None:
    """Run or continue one undo; gives the fault when it failed for good."""
    record = op.replayed_undo(undo.seq)
    if record is not None and record.state == "done":
        return None
    if record is not None and record.state == "failed":
        return record.fault.fault() if record.fault else None
    name = f"undo {undo.name}"
    runner = Runner(op, record, UNDO + undo.seq, name, undo.key, "undo", undo.retry)
    runner.limit = undo.deadline
    runner.abortable = False

    async def work(context: StepContext) -> None:
        await undo.fn(context, undo.result)

    try:
        await runner.run(work, None, None)
    except Fault as fault:
        return fault
    return None
