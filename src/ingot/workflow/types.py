"""Shapes that workflow authors and their callers meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from ingot.kit.db.database import from_json
from ingot.kit.faults import Fault, Kind


@dataclass(frozen=True)
class Retry:
    """How a step that met a transient fault is tried again: first, first*factor, ... up to most, seconds.

    attempts: at most so many; None leaves it to the deadline. A fault's own retry_after overrides the delay
    (it is never shortened).
    """

    first: float = 1.0
    factor: float = 2.0
    most: float = 30.0
    attempts: int | None = None

    def delay(self, attempt: int, retry_after: float | None) -> float:
        computed = min(self.first * self.factor ** min(attempt - 1, 30), self.most)
        return max(computed, retry_after or 0.0)


DEFAULT = Retry()
#: For steps whose author knows that trying again is useless.
ONCE = Retry(attempts=1)


@dataclass(frozen=True)
class OperationRow:
    """An operation as others see it. state: running, waiting, undoing, done, failed or aborted."""

    id: str
    kind: str
    version: int
    subject: str
    input: Any
    profile: str
    group: str
    project_id: str | None
    request_id: str | None
    requested_by: str
    state: str
    step: str | None
    waiting_for: str | None
    what: str | None
    wake_at: str | None
    parked_at: str | None
    owner: str | None
    epoch: int
    abort_reason: str | None
    abort_by: str | None
    fault: FaultRecord | None
    result: Any
    created_at: str
    ended_at: str | None

    @property
    def live(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True)
class StepRow:
    """A recorded step. sort: step, commit, wait, sleep or undo; state: running, retry, waiting, done, failed."""

    operation_id: str
    seq: int
    name: str
    key: str | None
    sort: str
    state: str
    attempt: int
    result: str | None
    fault: FaultRecord | None
    started_at: str
    deadline_at: str | None
    ended_at: str | None
    duration: float | None

    @property
    def label(self) -> str:
        return label(self.name, self.key)


def label(name: str, key: str | None) -> str:
    return name if key is None else f"{name} [{key}]"


def decode(text: str, result_type: Any) -> Any:
    """A recorded result as its author sees it, in the first run as in every later one."""
    if result_type is None:
        return from_json(text)
    return msgspec.json.decode(text, type=result_type)


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it is stored with a step or an operation; never holds the internal text."""

    kind: str
    text: str
    next_action: str = ""
    details: dict[str, Any] = {}

    @classmethod
    def of(cls, fault: Fault) -> FaultRecord:
        details = msgspec.to_builtins(fault.details, enc_hook=str)
        return cls(
            kind=str(fault.kind), text=fault.text, next_action=fault.next_action, details=details
        )

    def fault(self) -> Fault:
        return Fault(
            self.text,
            kind=Kind(self.kind),
            next_action=self.next_action,
            details=dict(self.details),
        )


@dataclass(frozen=True)
class Claim:
    """An operation that this process owns until it parks, ends or loses its lease.

    interrupted: another worker (or an earlier life of this one) owned it and did not give it back, so the
    step at the front may have been run before.
    """

    operation: OperationRow
    steps: dict[int, StepRow] = field(default_factory=dict[int, StepRow])
    interrupted: bool = False


class Parked(BaseException):
    """The workflow waits: its row is saved and the coroutine ends. Not an Exception, so that authors cannot
    catch it by accident."""


class LeaseLost(BaseException):
    """Another worker owns the operation now; this one stops quietly."""


class Interrupted(BaseException):
    """The database was away: the operation is continued where it was, by whoever finds it."""


class Stopped(BaseException):
    """The process is going down; the operation is given back."""


class WorkflowChanged(Exception):
    """The workflow reached another step than the record has at this place: its code has changed."""


def operation_from(row: dict[str, Any]) -> OperationRow:
    fault = row["fault"]
    return OperationRow(
        id=row["id"],
        kind=row["kind"],
        version=row["version"],
        subject=row["subject"],
        input=from_json(row["input"]),
        profile=row["profile"],
        group=row["group_name"],
        project_id=row["project_id"],
        request_id=row["request_id"],
        requested_by=row["requested_by"],
        state=row["state"],
        step=row["step"],
        waiting_for=row["waiting_for"],
        what=row["what"],
        wake_at=row["wake_at"],
        parked_at=row["parked_at"],
        owner=row["owner"],
        epoch=row["epoch"],
        abort_reason=row["abort_reason"],
        abort_by=row["abort_by"],
        fault=msgspec.json.decode(fault, type=FaultRecord) if fault else None,
        result=from_json(row["result"]),
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )


def step_from(row: dict[str, Any]) -> StepRow:
    fault = row["fault"]
    decoded = msgspec.json.decode(fault, type=FaultRecord) if fault else None
    whole: Any = {**row, "fault": decoded}
    return StepRow(**whole)
