"""The harness: breaks every step of a workflow, one thing per run, and looks whether all is well after it.

`exercise` tells a workflow once without faults to learn its steps. Then it tells it again and again in
virtual time, each time with one thing broken at one place: the step fails for a while, for ever or by a bug;
the process is killed before the step, between its work and its commit, or after the commit; the lease is lost
in the middle; the operation is aborted; an awaited signal comes twice or never. Each run must end, done or
failed with a cause, leave no lock, and hold the author's invariants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.faults import Fault, Kind
from ingot.kit.tasks.clock import VirtualClock

from . import store
from .definition import Workflow
from .engine import Engine
from .local import LocalDispatcher
from .op import Op
from .tables import conductors
from .types import OperationRow

log = logging.getLogger(__name__)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Scenario:
    """One fresh world with the workflow that is to be broken.

    prepare(conn): the domain's rows; runs in the transaction that starts the operation.
    answer(signal): the payload that the world sends when the operation waits for `signal`; raise LookupError
    when the world has nothing to say. It is called again when the wait is entered anew.
    invariants(conn, operation): asserts what must hold when the operation has ended, however it ended.
    """

    workflows: Sequence[Workflow]
    kind: str
    subject: str = "thing:1"
    input: Any = None
    prepare: Callable[[sa.Connection], None] | None = None
    answer: Callable[[str], Any] = lambda signal: {}
    invariants: Callable[[sa.Connection, OperationRow], None] | None = None


@dataclass(frozen=True)
class Case:
    """What is broken, and where. `point` is a point of `Engine.probe`."""

    what: str
    point: str = ""
    label: str = ""

    def __str__(self) -> str:
        return f"{self.what} at '{self.label}' ({self.point})" if self.label else self.what


@dataclass(frozen=True)
class Outcome:
    case: Case
    operation: OperationRow
    took: float  # virtual seconds


MakeScenario = Callable[[VirtualClock], Scenario]
MakeDatabase = Callable[[], AbstractAsyncContextManager[Database]]


async def exercise(
    make_database: MakeDatabase,
    make_scenario: MakeScenario,
    *,
    skip: Callable[[Case], bool] = lambda case: False,
    limit: float = 6 * 3600,
) -> list[Outcome]:
    """Run the workflow clean, then once for every case; gives all outcomes, the clean one first.

    Raises AssertionError, naming the case, when a run does not end within `limit` virtual seconds, ends
    without a cause, or breaks an invariant.
    """
    clean = await _run(make_database, make_scenario, Case("nothing"), limit)
    outcome, seen = clean
    assert outcome.operation.state == "done", f"the clean run failed: {outcome.operation.fault}"
    outcomes = [outcome]
    for case in _cases(seen):
        if not skip(case):
            outcomes.append((await _run(make_database, make_scenario, case, limit))[0])
    return outcomes


def _cases(seen: Sequence[tuple[str, str, str]]) -> list[Case]:
    """Everything that can be broken, from the points that the clean run passed."""
    cases: list[Case] = []
    for point, label, sort in seen:
        cases.append(Case("killed", point, label))
        if sort == "step" and point == "before":
            names = ("transient fault", "lasting transient fault", "permanent fault", "bug")
            cases.extend(Case(name, point, label) for name in names)
            cases.append(Case("aborted", point, label))
        if sort == "step" and point == "done":
            cases.append(Case("lease lost", point, label))
        if sort == "wait" and point == "parked":
            names = ("aborted", "no signal", "doubled signal", "killed and silent")
            cases.extend(Case(name, point, label) for name in names)
        if sort == "sleep" and point == "parked":
            cases.append(Case("aborted", point, label))
    # The undo is only seen in failing runs: kill those in their undo too.
    for point, label, sort in seen:
        if sort == "step" and point == "before":
            cases.extend(Case("killed in undo", at, label) for at in ("before", "done", "saved"))
    return list(dict.fromkeys(cases))


async def _run(
    make_database: MakeDatabase, make_scenario: MakeScenario, case: Case, limit: float
) -> tuple[Outcome, list[tuple[str, str, str]]]:
    async with make_database() as db:
        clock = VirtualClock()
        runner = _Run(db, clock, make_scenario(clock), case)
        try:
            operation = await runner.run(limit)
            _judge(case, operation)
            await db.read(lambda conn: runner.check(conn, operation))
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error
        finally:
            await runner.close()
        return Outcome(case, operation, clock.monotonic()), runner.seen


def _judge(case: Case, operation: OperationRow) -> None:
    assert operation.owner is None, "an ended operation still has an owner"
    if operation.state != "done":
        assert operation.fault is not None, "the operation failed without a cause"
        assert operation.fault.text, "the cause has no text"
    healed = ("nothing", "killed", "lease lost", "doubled signal", "transient fault")
    if case.what in healed:
        assert operation.state == "done", (
            f"the operation should have reached its end, but {operation.state}: {operation.fault}"
        )


@dataclass
class _Run:
    db: Database
    clock: VirtualClock
    scenario: Scenario
    case: Case
    seen: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])

    def __post_init__(self) -> None:
        self._dispatchers: list[LocalDispatcher] = []
        self._engines: list[Engine] = []
        self._fired = False
        self._kill = asyncio.Event()
        self._answered: set[tuple[str, str]] = set()
        self._op_id = ""

    # -- the run -----------------------------------------------------------------------------

    async def run(self, limit: float) -> OperationRow:
        await self._boot("host-a")
        if self.case.what == "lease lost":
            await self._boot("host-b")
        scenario = self.scenario

        def begin(conn: sa.Connection) -> str:
            if scenario.prepare is not None:
                scenario.prepare(conn)
            return store.start(conn, scenario.kind, scenario.subject, scenario.input)

        self._op_id = await self.db.write(begin)
        while True:
            await settle(self.db, self._engines)
            if self._kill.is_set():
                self._kill.clear()
                await self._reboot()
                continue
            row = await self.db.read(lambda conn: store.operation(conn, self._op_id))
            assert row is not None
            if not row.live:
                return row
            if await self._answer(row):
                continue
            pause = self.clock.next_wake()
            assert pause is not None, f"stuck: nobody waits for anything; {row}"
            assert self.clock.monotonic() < limit, f"stuck after {limit:g} s: {row}"
            self.clock.advance(max(pause, 0.001))

    async def _boot(self, host: str) -> None:
        # Rare beats and scans: everything here is woken by commits and timers, and virtual time goes
        # from sleeper to sleeper.
        engine = Engine(self.db, self.clock, self.scenario.workflows, host, beat=300, dead=900)
        engine.probe = self._probe
        dispatcher = LocalDispatcher(engine, poll=120, scan=120)
        await dispatcher.start()
        self._engines.append(engine)
        self._dispatchers.append(dispatcher)

    async def _reboot(self) -> None:
        """kill -9 and a new start under the same name."""
        for dispatcher in self._dispatchers:
            await dispatcher.kill()
        self._dispatchers.clear()
        self._engines.clear()
        await self._boot("host-a")

    async def close(self) -> None:
        for dispatcher in self._dispatchers:
            await dispatcher.kill()

    def check(self, conn: sa.Connection, operation: OperationRow) -> None:
        held = store.live_operation(conn, self.scenario.subject)
        assert held is None, "the subject is still locked"
        if self.scenario.invariants is not None:
            self.scenario.invariants(conn, operation)

    # -- the world ---------------------------------------------------------------------------

    async def _answer(self, row: OperationRow) -> bool:
        """Let the world send the signal that the operation waits for."""
        name = row.waiting_for
        key = (row.step or "", name or "")
        if row.state != "waiting" or name is None or row.owner is not None or key in self._answered:
            return False
        here = self.case.label == row.step
        if here and self.case.what in ("no signal", "killed and silent"):
            return False
        if here and self.case.what == "aborted" and not self._fired:
            return False
        try:
            payload = self.scenario.answer(name)
        except LookupError:
            return False
        self._answered.add(key)
        times = 2 if here and self.case.what == "doubled signal" else 1
        for _ in range(times):
            await self.db.write(
                lambda conn: store.signal(conn, self.scenario.subject, name, payload)
            )
        return True

    # -- breaking ----------------------------------------------------------------------------

    async def _probe(self, point: str, op: Op, label: str, sort: str) -> None:
        if self.case.what == "nothing" and (point, label, sort) not in self.seen:
            self.seen.append((point, label, sort))
        case = self.case
        if case.what == "killed in undo":
            await self._in_undo(point, label, sort)
            return
        if (point, label) != (case.point, case.label):
            return
        if case.what == "lasting transient fault":
            raise Fault("it is still unreachable", kind=Kind.UNREACHABLE)
        if self._fired:
            return
        self._fired = True
        match case.what:
            case "killed" | "killed and silent":
                self._kill.set()
                raise Killed
            case "transient fault":
                raise Fault("it is unreachable", kind=Kind.UNREACHABLE)
            case "permanent fault":
                raise Fault("it was refused", kind=Kind.REFUSED)
            case "bug":
                raise RuntimeError("a bug")
            case "aborted":
                await self._abort(op)
            case "lease lost":
                await self._lose_lease(op)
            case _:
                pass

    async def _in_undo(self, point: str, label: str, sort: str) -> None:
        """The step of the case fails for good; then the first undo meets a kill."""
        if sort == "step" and label == self.case.label and point == "before":
            raise Fault("it was refused", kind=Kind.REFUSED)
        if sort == "undo" and point == self.case.point and not self._fired:
            self._fired = True
            self._kill.set()
            raise Killed

    async def _abort(self, op: Op) -> None:
        # Counted as work: the step's deadline must not pass while the database takes its time.
        await op.transact(
            lambda conn: store.cancel(conn, self.scenario.subject, "aborted by the test", by="test")
        )

    async def _lose_lease(self, op: Op) -> None:
        """Another host takes the operation over and goes on, while this one hangs before its save."""
        me = op.claim.operation.owner
        await self.db.write(
            lambda conn: (
                conn.execute(sa.delete(conductors).where(conductors.c.incarnation == me)).rowcount
            )
        )
        for dispatcher in self._dispatchers:
            if dispatcher.engine.me != me:
                dispatcher.free()
        for _ in range(30_000):
            row = await self.db.read(lambda conn: store.operation(conn, op.id))
            assert row is not None
            if row.epoch != op.epoch:
                return
            await asyncio.sleep(0.001)
        raise AssertionError("nobody took the operation over")


async def settle(db: Database, engines: Sequence[Engine]) -> None:
    """Wait until nothing happens any more without time passing (virtual time only).

    Steps that do real input and output are given real milliseconds; a step that needs more than those
    should have a deadline well above its virtual sleeps.
    """
    quiet = 0
    while quiet < 3:
        # Seen at every turn of the loop: one save after the other could end just when we look.
        busy = False
        for _ in range(5):
            await asyncio.sleep(0)
            busy = busy or any(engine.busy for engine in engines)
        await db.write(lambda conn: None)  # on SQLite all earlier writes are done after this one
        if not db.is_sqlite:
            await asyncio.sleep(0.002)
        busy = busy or any(engine.busy for engine in engines)
        quiet = 0 if busy else quiet + 1


async def drive(
    db: Database,
    clock: VirtualClock,
    engines: Sequence[Engine],
    done: Callable[[], Awaitable[bool]],
    *,
    limit: float = 86400,
) -> None:
    """Move virtual time on, from sleeper to sleeper, until `done()`; AssertionError after `limit` seconds."""
    end = clock.monotonic() + limit
    while True:
        await settle(db, engines)
        if await done():
            return
        pause = clock.next_wake()
        assert pause is not None, "nobody waits for time and it is not done"
        assert clock.monotonic() < end, f"not done after {limit:g} virtual seconds"
        clock.advance(max(pause, 0.001))
