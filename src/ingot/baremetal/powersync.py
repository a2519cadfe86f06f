"""Power as it really is: what machines' controllers say, read once a period from each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import sqlalchemy as sa

from ingot.baremetal import editing, listing, machine, store
from ingot.baremetal.context import Context
from ingot.baremetal.rota import SLOW_SECONDS, Rota
from ingot.baremetal.tables import nodes
from ingot.baremetal.types import Node
from ingot.drivers.types import Access, PowerState
from ingot.kit import events
from ingot.kit.faults import Fault, Kind
from ingot.kit.log import get as get_log

_log = get_log("baremetal")

POWER_FAILURE = "power failure"
#: How often it is looked whose turn has come.
LOOK_SECONDS = 0.5
#: One reading takes at most so many seconds, waiting for the controller's gate included.
READ_SECONDS = 60.0
_RESTING = tuple(
    name
    for name, state in machine.STATES.items()
    if state.kind in ("stable", "failed") and name != machine.ENROLL
)


@dataclass(frozen=True, slots=True)
class Idle:
    """A node whose power nobody is changing."""

    uuid: str
    group: str
    power_state: str | None
    fault: str | None


@dataclass(slots=True)
class Report:
    """What was found. latest: seconds by which a reading of a healthy controller began late, at the most."""

    read: int = 0
    changed: int = 0
    failed: int = 0
    given_up: int = 0
    recovered: int = 0
    latest: float = 0.0


class PowerSync:
    """Reads the power of idle nodes and records what changed without us.

    A node whose controller fails several times in a row goes into maintenance with the fault
    "power failure", and comes back by itself when the controller answers again. Every controller has its
    own moment of the period (`Rota`), and those that are dead or slow queue among themselves: they delay no
    other. That a controller gets one call at a time is the drivers' own gate.

    report: what was found since the start. The app calls `look` every `LOOK_SECONDS`.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._period = ctx.settings.power_sync_interval
        self._failures: dict[str, int] = {}
        self._rota = Rota(self._period)
        self._idle: dict[str, Idle] = {}
        self._read_again = float("-inf")
        self._quick = asyncio.Semaphore(ctx.settings.power_sync_workers)
        self._slow = asyncio.Semaphore(ctx.settings.power_sync_slow_workers)
        self._tasks: set[asyncio.Task[None]] = set()
        self.report = Report()

    async def look(self) -> int:
        """Ask the controllers whose turn has come, without waiting for them; how many."""
        now = self._ctx.clock.monotonic()
        if now >= self._read_again:
            self._read_again = now + self._period / 4
            await self._refresh(now)
        due = self._rota.due(now)
        for uuid, since in due:
            task = asyncio.create_task(self._turn(self._idle[uuid], since))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(due)

    async def run(self) -> Report:
        """One round over all nodes that this process cares for, now."""
        await self._refresh(self._ctx.clock.monotonic())
        before, self.report = self.report, Report()
        await asyncio.gather(*(self._turn(node, None) for node in self._idle.values()))
        found, self.report = self.report, before
        return found

    async def stop(self) -> None:
        """End the readings under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)

    async def _refresh(self, now: float) -> None:
        self._idle = {node.uuid: node for node in await self._ctx.db.scan(self._find_idle)}
        self._failures = {u: n for u, n in self._failures.items() if u in self._idle}
        self._rota.keep(self._idle.keys(), now)

    async def _turn(self, node: Idle, since: float | None) -> None:
        slow = self._rota.is_slow(node.uuid)
        good, began = False, None
        try:
            async with self._slow if slow else self._quick:
                began = self._ctx.clock.monotonic()
                if since is not None and not slow:
                    self.report.latest = max(self.report.latest, began - since)
                reading = asyncio.ensure_future(self._one(node, self.report))
                # One that turns out to be slow gives its place to the quick ones.
                await _until_done(reading, None if slow else SLOW_SECONDS)
            good = await reading
        finally:
            took = 0.0 if began is None else self._ctx.clock.monotonic() - began
            self._rota.ended(node.uuid, took=took, good=good)

    def _find_idle(self, conn: sa.Connection) -> list[Idle]:
        columns = (nodes.c.uuid, nodes.c.conductor_group, nodes.c.power_state, nodes.c.fault)
        rows = conn.execute(
            sa.select(*columns)
            .where(
                nodes.c.provision_state.in_(_RESTING),
                nodes.c.reservation.is_(None),
                nodes.c.target_power_state.is_(None),
                sa.or_(nodes.c.maintenance.is_(sa.false()), nodes.c.fault == POWER_FAILURE),
            )
            .order_by(nodes.c.id)
        )
        idle = [Idle(*row) for row in rows]
        hosts = listing.Conductors(listing.live_conductors(self._ctx, conn))
        mine = (self._ctx.host, None)
        return [node for node in idle if hosts.of(node.uuid, node.group) in mine]

    async def _one(self, idle: Idle, report: Report) -> bool:
        """Whether the controller answered."""
        report.read += 1
        try:
            async with asyncio.timeout(READ_SECONDS):
                state = await self._read(idle.uuid)
        except TimeoutError:
            trouble = Fault(f"no answer within {READ_SECONDS:g} s", kind=Kind.TIMEOUT)
            await self._failed(idle, trouble, report)
        except Fault as fault:
            await self._failed(idle, fault, report)
        except Exception as error:
            # One driver's bug must not end the round for the others.
            _log.error("power could not be read", node=idle.uuid, error=repr(error))
            await self._failed(idle, Fault(f"internal error: {error!r}"), report)
        else:
            self._failures.pop(idle.uuid, None)
            if idle.fault == POWER_FAILURE or state != idle.power_state:
                await self._ctx.db.write(lambda conn: self._seen(conn, idle, state, report))
            return True
        return False

    async def _read(self, uuid: str) -> str:
        def query(conn: sa.Connection) -> tuple[Node, Access]:
            node = store.get_node(conn, uuid)
            return node, self._ctx.access(conn, node, "power")

        node, access = await self._ctx.db.read(query)
        driver = self._ctx.registry.power(node.driver, node.interfaces.get("power"))
        state = await driver.get(access)
        if state is PowerState.ERROR:
            raise Fault("the controller reports neither on nor off", kind=Kind.REFUSED)
        return str(state)

    # -- what was found ----------------------------------------------------------------------

    def _seen(self, conn: sa.Connection, idle: Idle, state: str, report: Report) -> None:
        if not self._still_idle(conn, idle):
            return
        if idle.fault == POWER_FAILURE:
            report.recovered += 1
            editing.set_maintenance(self._ctx, conn, idle.uuid, False)
            self._note(conn, idle.uuid, "The controller answers again.", "INFO")
        if state == idle.power_state:
            return
        store.update_node(conn, idle.uuid, power_state=state, updated_at=self._ctx.now())
        if idle.power_state is None:
            return
        report.changed += 1
        text = f"Power changed from {idle.power_state} to {state} without a request."
        self._note(conn, idle.uuid, text, "INFO")
        events.record(
            conn,
            f"node:{idle.uuid}",
            "power changed",
            text,
            data={"before": idle.power_state, "after": state},
            severity="warning",
        )

    async def _failed(self, idle: Idle, fault: Fault, report: Report) -> None:
        report.failed += 1
        count = self._failures[idle.uuid] = self._failures.get(idle.uuid, 0) + 1
        if idle.fault == POWER_FAILURE or count < self._ctx.settings.power_sync_retries:
            return
        reason = (
            f"Power state could not be read {count} times in a row: {fault.sentence()} The node "
            "leaves maintenance by itself when its controller answers again."
        )

        def give_up(conn: sa.Connection) -> None:
            if not self._still_idle(conn, idle):
                return
            report.given_up += 1
            editing.set_maintenance(self._ctx, conn, idle.uuid, True, reason, fault=POWER_FAILURE)
            store.update_node(conn, idle.uuid, last_error=reason)
            self._note(conn, idle.uuid, reason, "ERROR")

        await self._ctx.db.write(give_up)

    def _still_idle(self, conn: sa.Connection, idle: Idle) -> bool:
        """Whether nobody has begun something, or set the state, since the round began."""
        row = conn.execute(
            sa.select(
                nodes.c.reservation,
                nodes.c.target_power_state,
                nodes.c.power_state,
                nodes.c.maintenance,
                nodes.c.fault,
            ).where(nodes.c.uuid == idle.uuid)
        ).first()
        if row is None or row.reservation is not None or row.target_power_state is not None:
            return False
        by_operator = row.maintenance and row.fault != POWER_FAILURE
        return not by_operator and row.power_state == idle.power_state and row.fault == idle.fault

    def _note(self, conn: sa.Connection, uuid: str, text: str, severity: str) -> None:
        store.add_history(
            conn,
            uuid,
            self._ctx.now(),
            text,
            severity=severity,
            event_type="power",
            conductor=self._ctx.host,
        )


async def _until_done(task: asyncio.Future[bool], seconds: float | None) -> None:
    """Wait for it so long; when we are cancelled, it is too."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
