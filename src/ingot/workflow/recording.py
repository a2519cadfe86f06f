"""What steps, undos and waits use of their operation, and what an operation uses of the engine that runs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from ingot.kit.faults import Failed, Fault
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock

from .saver import Save, Saver
from .timing import Estimates
from .types import FaultRecord, StepRow


class RecordedOperation(Protocol):
    """An operation whose steps are recorded. `Op` is the one."""

    id: str
    clock: Clock
    lost: bool

    @property
    def epoch(self) -> int: ...

    def engine_stopping(self) -> bool:
        """Whether this process goes down."""
        ...

    def take_interruption(self) -> bool:
        """Whether the step under way was cut off by a crash; True only once."""
        ...

    def check_aborted(self) -> None:
        """Raise Aborted when an abort was asked for."""
        ...

    def confirm(self) -> None:
        """Raise Lost when orders to hardware are not this process's to give (any more)."""
        ...

    def give_up(self) -> None:
        """Stop quietly: the lease is lost."""
        ...

    async def reach(self, point: str, row: StepRow) -> None: ...

    async def within(self, seconds: float, work: Any, abortable: bool) -> Any:
        """Await `work` for at most `seconds` of the clock."""
        ...

    def event(
        self,
        kind: str,
        title: str,
        *,
        step: str | None = None,
        data: dict[str, Any] | None = None,
        severity: str = "info",
    ) -> events.Event: ...

    def push(self, event: events.Event) -> None:
        """Publish an event in this process at once; it is not stored by this."""
        ...

    async def save(self, save: Save) -> None: ...

    async def transact(self, run: Callable[[sa.Connection], Any]) -> Any: ...

    def fence(self, conn: sa.Connection) -> None:
        """Raise Lost when the operation is another process's meanwhile."""
        ...

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
    ) -> StepRow: ...

    def ended(
        self,
        row: StepRow,
        state: str,
        *,
        result: str | None = None,
        fault: FaultRecord | None = None,
    ) -> StepRow: ...

    async def fail_step(
        self, row: StepRow, fault: Fault, told: list[events.Event] | None = None
    ) -> None: ...

    def bug(self, name: str, error: Exception) -> Failed: ...

    def parked(
        self,
        moment: datetime,
        seconds: float,
        step: str,
        waiting_for: str | None,
        what: str | None,
    ) -> dict[str, Any]:
        """Columns of an operation that waits for `seconds`."""
        ...

    def note_parked(self, seconds: float) -> None: ...

    def replayed_undo(self, seq: int) -> StepRow | None: ...


class OperationHost(Protocol):
    """What an operation uses of the engine. working: coroutines of steps that are under way."""

    clock: Clock
    stopping: bool
    working: int
    saver: Saver
    estimates: Estimates

    @property
    def lease_over(self) -> bool:
        """Whether other processes may count this one as dead by now."""
        ...

    def push(self, event: events.Event) -> None: ...

    async def reach(self, point: str, op: Any, label: str, sort: str) -> None: ...

    def remember_park(self, op_id: str, seconds: float) -> None: ...
