"""One wait for a signal: the transaction that enters, ends or continues it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import from_json
from ingot.kit.faults import Fault
from ingot.kit.tasks import events

from . import signal_store, store
from .recording import RecordedOperation
from .timing import Rule
from .types import StepRow


class _SignalArrived(Exception):
    """A signal came between our look and our lock: run the transaction again."""


class Waiter:
    """The transaction that enters, ends or continues a wait."""

    def __init__(
        self,
        op: RecordedOperation,
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
        self.expected: float | None = None
        self.rule: Rule | None = None
        self._commit_waiting = commit_waiting
        self._commit_resumed = commit_resumed

    async def settle(self, row: StepRow, remaining: float) -> str | None:
        """The payload as JSON when the signal is there; else the wait is saved (if time is left)."""
        op = self.op
        while True:
            try:
                payload = await op.transact(lambda conn: self._run(conn, row, remaining))
            except _SignalArrived:
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
            signal_store.forget_signals(conn, op.id, self.signal)
        found = signal_store.find_signal(conn, op.id, self.signal, newest=self.latest)
        if self.entering and self._commit_waiting is not None:
            self._commit_waiting(conn)
        if found is not None and self._commit_resumed is not None:
            self._commit_resumed(conn, from_json(found[1]))
        op.fence(conn)
        if found is None:
            if signal_store.find_signal(conn, op.id, self.signal, newest=self.latest) is not None:
                if self.fresh and self.entering:
                    self.fresh = False  # it came after the wait had begun
                raise _SignalArrived
            if remaining > 0:
                self._park(conn, row, remaining)
            return None
        number, payload = found
        signal_store.take_signal(conn, op.id, self.signal, number, older=self.latest)
        done = op.ended(row, "done", result=payload)
        store.save_steps(conn, [done])
        changes = {"state": "running", "waiting_for": None, "what": None}
        store.change(conn, [(op.id, changes)])
        data = {"duration": done.duration, "signal": self.signal}
        events.record_all(conn, [op.event("wait.done", row.label, step=row.label, data=data)])
        return payload

    def _park(self, conn: sa.Connection, row: StepRow, remaining: float) -> None:
        op = self.op
        store.save_steps(conn, [row])
        moment = op.clock.now()
        parked = op.parked(moment, remaining, row.label, self.signal, self.what or None)
        store.change(conn, [(op.id, parked)])
        if self.entering:
            data: dict[str, Any] = {"signal": self.signal, "what": self.what}
            data |= {"deadline_at": row.deadline_at, "expected": self.expected}
            if self.rule is not None:
                data["rule"] = self.rule.as_data()
            told = op.event("wait.started", self.what or row.label, step=row.label, data=data)
            events.record_all(conn, [told])
