"""The engine: claims operations, tells their workflows, ends them, and keeps the lease.

Who calls it is a dispatcher (`local`, `cluster`). The engine itself holds nothing that a crash could lose:
its dictionaries only say what runs in this process right now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ingot.kit.db.database import Database, DatabaseUnavailable, timestamp, to_json, when
from ingot.kit.faults import Conflict, Failed, Fault, Kind
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock, SystemClock
from ingot.kit.tasks.processes import Processes

from . import store
from .definition import Workflow
from .membership import Membership
from .op import Op
from .running import run_undo
from .saver import Save, Saver
from .tables import AT_ONCE
from .timing import Estimates
from .types import (
    Claim,
    FaultRecord,
    Interrupted,
    LeaseLost,
    OperationRow,
    Parked,
    Stopped,
    WorkflowChanged,
)

log = logging.getLogger(__name__)

#: After a start, waits whose deadline passed while nobody was there get so many seconds more; so do waits during
#: which another process was lost.
GRACE = 60.0
#: How often the transaction that ends an operation is tried when on_failure itself breaks.
END_ATTEMPTS = 4


Probe = Callable[[str, Op, str, str], Awaitable[None]]


class Engine:
    """Runs workflows of one database.

    host: the name under which a restart finds its own work again. groups: conductor groups whose operations
    it takes (None: all). beat, dead: seconds between beats and until a silent process is expelled.
    fenced: give no orders to hardware when our own beats fail to reach the database; by default where other
    processes could take over (PostgreSQL) and time is real (virtual time runs ahead of any beat).
    processes: how to see that an earlier process of this host has ended; by default as this machine tells it.
    on_expelled: called when others have taken over what this process had, before it joins anew.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        workflows: Sequence[Workflow],
        host: str,
        groups: Sequence[str] | None = ("",),
        *,
        beat: float = 10,
        dead: float = 30,
        roles: Sequence[str] = (),
        info: dict[str, Any] | None = None,
        fenced: bool | None = None,
        processes: Processes | None = None,
        on_expelled: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.db = db
        self.clock = clock
        self.workflows = {workflow.kind: workflow for workflow in workflows}
        self.groups = groups
        self.host = host
        self.stopping = False
        self.on_expelled = on_expelled
        real = not db.is_sqlite and isinstance(clock, SystemClock)
        self.fenced = real if fenced is None else fenced
        #: Set while closing: what is under way gets no more time.
        self.hurry = asyncio.Event()
        self.working = 0  # coroutines of steps that are under way
        self.saver = Saver(db)
        self.estimates = Estimates(db, clock)
        self.running: dict[str, Op] = {}
        self.membership = Membership(
            db,
            clock,
            host,
            (groups or ("",))[0],
            beat=beat,
            dead=dead,
            roles=roles,
            info=info or {},
            processes=processes,
        )
        #: The harness stands here: called at "before", "done", "saved", "parked", "ending" and "ended" of
        #: every call that is not a replay. None in production.
        self.probe: Probe | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._parks: dict[str, float] = {}
        self._binding: events.Binding | None = None
        self._opened = 0.0
        #: Since when signals are heard here, and since when they had not been.
        self._opened_at = self._away_at = datetime.min.replace(tzinfo=UTC)

    def add(self, *workflows: Workflow) -> None:
        """Teach more workflows (before `open`)."""
        self.workflows.update({workflow.kind: workflow for workflow in workflows})

    async def open(self) -> None:
        """Join the conductors. Operations of an earlier life of this host become free.

        Raises Conflict while another process lives under this host's name.
        """
        await self.bind()
        self.stopping = False
        await self.membership.join()
        self._back(0)

    async def bind(self) -> None:
        """Attach the clock and the event hubs of this process, without taking part in the work."""
        self._binding = await events.bind(self.db, self.clock)

    async def close(self, grace: float = 0) -> None:
        """Stop: no step begins any more; those under way get `grace` seconds, then are given back."""
        self.stopping = True
        tasks = list(self._tasks.values())
        # Still a member meanwhile: others must not take over what is about to end.
        beating = asyncio.create_task(self.keep(lambda: None))
        try:
            if tasks and grace > 0:
                all_done = asyncio.ensure_future(asyncio.wait(tasks))
                hurry = asyncio.ensure_future(self.hurry.wait())
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait({all_done, hurry}, timeout=grace, return_when=first)
                all_done.cancel()
                hurry.cancel()
            for op in list(self.running.values()):
                op.stop()
            if tasks:
                await asyncio.wait(tasks, timeout=30)
        finally:
            beating.cancel()
        try:
            await self.membership.leave()
        except DatabaseUnavailable as away:
            log.warning(
                "the database does not answer; others will see that this one is gone: %s",
                away.internal,
            )

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The operations that run here."""
        return list(self._tasks.values())

    @property
    def me(self) -> str:
        return self.membership.incarnation

    @property
    def lease_over(self) -> bool:
        """Whether our operations may be in other hands by now, or soon."""
        return self.fenced and self.membership.stale

    @property
    def busy(self) -> bool:
        """Whether anything happens in this process apart from waiting for time or the world."""
        return self.saver.busy > 0 or self.estimates.busy > 0

    def push(self, event: events.Event) -> None:
        if self._binding is not None:
            for publisher in list(self._binding.publishers):
                publisher(event)

    async def reach(self, point: str, op: Op, label: str, sort: str) -> None:
        """A point in a step's life; lets the harness break things there."""
        if self.probe is not None:
            await self.probe(point, op, label, sort)

    def remember_park(self, op_id: str, seconds: float) -> None:
        self._parks[op_id] = self.clock.monotonic() + seconds

    # -- claiming ------------------------------------------------------------------------------

    async def claim(self, limit: int = 100, only: Sequence[str] | None = None) -> list[Claim]:
        """Take operations (of these) that are due, orphaned, or ours without anybody working on them."""
        if self.stopping or self.lease_over:
            return []
        if only is not None:
            abandoned = [op_id for op_id in only if op_id not in self._tasks]
        else:
            abandoned = [row["id"] for row in await self.abandoned()]
        moment = timestamp(self.clock.now())
        return await self.saver.single(
            lambda conn: store.claim(
                conn,
                self.me,
                moment,
                limit=limit,
                groups=self.groups,
                only=only,
                abandoned=abandoned,
                kinds=list(self.workflows),
            )
        )

    async def abandoned(self) -> list[store.Row]:
        """Operations that this incarnation owns without working on them: their task died."""
        mine = await self.saver.read(lambda conn: store.owned(conn, self.me))
        ids = [op_id for op_id in mine if op_id not in self._tasks]
        return await self.saver.read(lambda conn: store.rows_of(conn, ids)) if ids else []

    async def advance(self, op_id: str) -> bool:
        """Claim one operation and run it until it parks or ends; False when it could not be claimed."""
        claims = await self.claim(1, only=[op_id])
        for claim in claims:
            await self.spawn(claim)
        return bool(claims)

    def spawn(self, claim: Claim) -> asyncio.Task[None]:
        """Run a claimed operation in a task of its own."""
        op_id = claim.operation.id
        task = asyncio.get_running_loop().create_task(self._run(claim), name=f"operation {op_id}")
        self._tasks[op_id] = task

        def forget(done: asyncio.Task[None]) -> None:
            if self._tasks.get(op_id) is done:
                del self._tasks[op_id]
            if not done.cancelled() and (end := done.exception()) is not None:
                log.warning("the task of operation %s died: %r; another goes on", op_id, end)

        task.add_done_callback(forget)
        return task

    async def _run(self, claim: Claim) -> None:
        op = Op(self, claim)
        self.running[op.id] = op
        try:
            if not await self._too_early(claim):
                await self._tell(op)
        except Parked:
            pass
        except LeaseLost:
            op.lost = True
            log.warning("operation %s is not ours any more, or may not be: stopping here", op.id)
        except Stopped:
            await self._give_back(op)
        except (Interrupted, DatabaseUnavailable):
            # The scan finds the operation as abandoned when the database is back, and goes on.
            log.warning("operation %s stands still until the database takes changes again", op.id)
        except Exception:
            log.exception("operation %s was interrupted; it will be continued", op.id)
        finally:
            if self.running.get(op.id) is op:
                del self.running[op.id]

    async def _give_back(self, op: Op) -> None:
        save = Save(op.id, op.epoch, changes={"owner": None, "wake_at": AT_ONCE})
        try:
            await self.saver.save(save)
        except LeaseLost:
            pass

    async def _too_early(self, claim: Claim) -> bool:
        """Park again what was woken only by a jump of the wall clock or by our own absence."""
        row = claim.operation
        due = self._parks.pop(row.id, None)
        if not row.wake_at or row.abort_reason is not None:
            return False
        left = (due - self.clock.monotonic()) if due is not None else 0.0
        moment = self.clock.now()
        if row.waiting_for is not None:
            left = max(left, self._missed(row, moment))
        if left < 1.0:
            return False
        wake_at = timestamp(moment + timedelta(seconds=left))
        changes = {"owner": None, "wake_at": wake_at, "parked_at": timestamp(moment)}
        shift = moment + timedelta(seconds=left) - (when(row.wake_at) or moment)
        waiting = [
            store.moved_deadline(step, shift)
            for step in claim.steps.values()
            if step.ended_at is None
        ]
        # A signal that came meanwhile did not wake the operation, because it was ours: look again.
        await self.saver.save(Save(row.id, row.epoch, steps=waiting, changes=changes))
        self.remember_park(row.id, left)
        if row.waiting_for is not None:
            await self.db.write(
                lambda conn: store.wake_if_signalled(conn, row.id, row.waiting_for),
                serializable=False,
            )
        return True

    def _missed(self, row: OperationRow, moment: datetime) -> float:
        """Seconds that a wait still has, since nobody could hear what it waits for while we or another were away."""
        wake, parked = when(row.wake_at) or moment, when(row.parked_at) or moment
        left = 0.0
        if wake < self._opened_at:
            left = GRACE - (self.clock.monotonic() - self._opened)
        if parked < self._opened_at:
            unheard = self._opened_at - max(parked, self._away_at)
            left = max(left, (wake - moment + unheard).total_seconds())
        lost_at = self.membership.lost_at
        if lost_at is not None and parked < lost_at:
            # What it waits for may hang in the one that is lost, until its own patience ends.
            left = max(left, (wake - moment).total_seconds() + GRACE)
        return left

    def _back(self, silent: float) -> None:
        """From now on signals are heard here, which were not for so many seconds."""
        self._opened, self._opened_at = self.clock.monotonic(), self.clock.now()
        self._away_at = self._opened_at - timedelta(seconds=silent)

    # -- telling -------------------------------------------------------------------------------

    async def _tell(self, op: Op) -> None:
        workflow = self.workflows.get(op.kind)
        before = op.claim.operation.fault
        fault: Fault
        try:
            if workflow is None:
                raise Failed(f"No process here knows the workflow '{op.kind}'.")
            if workflow.input is not None:
                op.input = msgspec.convert(op.input, workflow.input)
            result = await workflow.run(op, op.input)
            if before is None:
                await self._succeed(op, workflow, result)
                return
            fault = before.fault()
        except DatabaseUnavailable:
            raise
        except Fault as error:
            fault = before.fault() if before is not None else error
        except WorkflowChanged as error:
            fault = before.fault() if before is not None else _changed(op, error)
        except Exception as error:
            fault = before.fault() if before is not None else op.bug(f"workflow {op.kind}", error)
        await self._fail(op, workflow, fault, again=before is not None)

    async def _succeed(self, op: Op, workflow: Workflow, result: Any) -> None:
        text = to_json(result)
        told = op.event("operation.done", workflow.label, data=_duration(op))

        save = self._ending(op, {"state": "done", "result": text}, told)
        await self.reach("ending", op, "end", "end")
        on_success = workflow.on_success
        if on_success is not None:
            save.first = lambda conn: on_success(conn, op, result)
        await op.save(save)
        await self.reach("ended", op, "end", "end")

    async def _fail(self, op: Op, workflow: Workflow | None, fault: Fault, again: bool) -> None:
        op.begin_undo()
        if op.undos and not again:
            changes = {"state": "undoing", "fault": to_json(FaultRecord.of(fault))}
            await op.save(Save(op.id, op.epoch, changes=changes))
        broken: list[str] = []
        for undo in reversed(op.undos):
            if self.stopping:
                raise Stopped
            failed = await run_undo(op, undo)
            if failed is not None:
                broken.append(f"undo {undo.name}: {failed.text}")
        if broken:
            fault.details["undo_failed"] = broken
        await self._end_failed(op, workflow, fault)

    async def _end_failed(self, op: Op, workflow: Workflow | None, fault: Fault) -> None:
        state = "aborted" if fault.kind == Kind.ABORTED else "failed"
        title = workflow.label if workflow is not None else op.kind
        data = {"cause": fault.text, "next_action": fault.next_action, "kind": str(fault.kind)}
        data |= {"step": fault.details.get("step"), **_duration(op)}
        severity = "warning" if state == "aborted" else "error"
        told = op.event("operation.failed", title, data=data, severity=severity)
        values = {"state": state, "fault": to_json(FaultRecord.of(fault))}
        who = f" (for {op.requested_by})" if op.requested_by else ""
        log.warning("%s of %s %s%s: %s", op.kind, op.subject, state, who, fault.sentence())
        on_failure = workflow.on_failure if workflow is not None else None

        save = self._ending(op, values, told)
        if on_failure is not None:
            save.first = lambda conn: on_failure(conn, op, fault)
        await self.reach("ending", op, "end", "end")
        broken: Exception | None = None
        for attempt in range(END_ATTEMPTS):
            try:
                await op.save(save)
                await self.reach("ended", op, "end", "end")
                return
            except Exception as error:
                broken = error
                log.warning("the end of %s %s is tried again: %r", op.kind, op.id, error)
                await self.clock.sleep(2.0 ** (attempt - 1))
        assert broken is not None
        bug = op.bug("on_failure", broken)
        # Better an ended operation whose subject was not told than a lock that nobody can open.
        save.events.append(op.event("note", bug.text, severity="error", data={"cause": bug.text}))
        save.first = None
        await op.save(save)

    def _ending(self, op: Op, values: dict[str, Any], told: events.Event) -> Save:
        changes = {
            "owner": None,
            "wake_at": None,
            "waiting_for": None,
            "what": None,
            "ended_at": timestamp(self.clock.now()),
            **values,
        }
        return Save(op.id, op.epoch, events=[told], changes=changes, ends=True)

    # -- keeping up ------------------------------------------------------------------------------

    async def beat(self) -> bool:
        """One beat; True when work of others may have become free. Joins anew after being expelled."""
        silent = self.membership.silent_for()
        member, expelled = await self.membership.tick()
        # The database was away, or we stood still.
        if silent > max(2 * self.membership.beat, self.membership.dead / 2):
            self._back(silent)
        if not member:
            log.error("this process was expelled (it was silent too long); joining anew")
            self.drop_all()
            for tell in self.on_expelled:
                tell()
            await self.membership.join()
            return True
        return expelled > 0

    def drop_all(self) -> None:
        """Stop everything quietly: the lease is lost."""
        for op in list(self.running.values()):
            op.give_up()

    async def keep(self, freed: Callable[[], None]) -> None:
        """Beat for ever; calls `freed` when operations may have become free."""
        while True:
            await self.clock.sleep(self.membership.beat)
            try:
                if await self.beat():
                    freed()
            except Conflict as conflict:
                log.error("this process is no member: %s", conflict.sentence())
            except Exception as error:
                log.error("the beat did not reach the database: %r", error)
                if self.membership.silent_for() > self.membership.dead * 2 / 3:
                    # Others may take over soon: no command to hardware from here any more.
                    self.drop_all()

    async def check_aborts(self) -> None:
        """Tell running operations of aborts that were asked for."""
        if not self.running:
            return
        for op_id, reason in (
            await self.saver.read(lambda conn: store.owned(conn, self.me))
        ).items():
            op = self.running.get(op_id)
            if reason is not None and op is not None:
                op.ask_abort(reason)

    async def check_abort(self, op_id: str) -> None:
        """The same for one of them."""
        reason = await self.saver.read(lambda conn: store.abort_of(conn, op_id))
        op = self.running.get(op_id)
        if reason is not None and op is not None:
            op.ask_abort(reason)

    async def mend_clock_jumps(self) -> None:
        """The wall clock jumped back: waits must not last longer than they should."""
        moment = self.clock.now()
        limit = timestamp(moment + timedelta(seconds=5))
        for row in await self.saver.read(lambda conn: store.parked_in_future(conn, limit)):
            parked, wake = when(row["parked_at"]), when(row["wake_at"])
            assert parked is not None
            assert wake is not None
            wake_at = moment + max(wake - parked, timedelta(0))
            await self.db.write(
                lambda conn, row=row, wake_at=wake_at: store.move_wake(
                    conn,
                    row["id"],
                    row["wake_at"],
                    wake_at=wake_at,
                    parked_at=moment,
                ),
                serializable=False,
            )


def _changed(op: Op, error: WorkflowChanged) -> Failed:
    log.error("workflow %s changed under operation %s: %s", op.kind, op.id, error)
    return Failed(
        f"The workflow '{op.kind}' changed while this operation was under way: {error}.",
        next_action="Start the operation again.",
    )


def _duration(op: Op) -> dict[str, Any]:
    began = when(op.claim.operation.created_at)
    if began is None:
        return {}
    return {"duration": max(0.0, (op.clock.now() - began).total_seconds())}
