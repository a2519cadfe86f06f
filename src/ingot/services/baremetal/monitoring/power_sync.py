"""Machines as they really are: what their controllers say, read once a period from each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from ingot.drivers.machine import base
from ingot.drivers.machine.types import Access, PowerState
from ingot.drivers.pace import probing
from ingot.kit.faults import Fault, Kind
from ingot.kit.log import get as get_log
from ingot.kit.tasks.events import Event
from ingot.services.baremetal import store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.monitoring.controller_events import KIND, EventSources
from ingot.services.baremetal.monitoring.readings import (
    HEALTH,
    POWER_FAILURE,
    Findings,
    IdleNode,
    Report,
    find_idle,
)
from ingot.services.baremetal.monitoring.scheduler import (
    DEAD,
    QUICK,
    SLOW,
    SLOW_SECONDS,
    PollScheduler,
)
from ingot.services.baremetal.monitoring.sensors import Sensors

__all__ = ["LOOK_SECONDS", "POWER_FAILURE", "PowerSync", "Report"]

_log = get_log("baremetal")

#: How often it is looked whose turn has come.
LOOK_SECONDS = 0.5
#: One reading takes at most so many seconds, waiting for the controller's gate included.
READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Line:
    """How a node's controller is asked, as of the node's `updated_at`."""

    updated_at: str | None
    access: Access
    power: base.Power
    glancing: base.StatusPower | None
    management: base.Management


class PowerSync:
    """Reads power and health of idle nodes and records what changed without us.

    A node whose controller fails several times in a row goes into maintenance with the fault
    "power failure", and comes back by itself when the controller answers again. Every controller has its
    own moment of the period (`PollScheduler`), and those that are dead or slow queue among themselves: they delay no
    other. That a controller gets one call at a time is the drivers' own gate. A reading that changes nothing
    touches no database: how to reach a controller is kept until its node changes.

    report: what was found since the start. The app calls `look` every `LOOK_SECONDS`.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._period = ctx.settings.power_sync_interval
        self._failures: dict[str, int] = {}
        self._rota = PollScheduler(self._period)
        self._idle: dict[str, IdleNode] = {}
        self._lines: dict[str, _Line] = {}
        self._refresh_at = float("-inf")
        slow = ctx.settings.power_sync_slow_workers
        workers = {QUICK: ctx.settings.power_sync_workers, SLOW: slow, DEAD: slow}
        self._queues = {kind: asyncio.Semaphore(count) for kind, count in workers.items()}
        self._tasks: set[asyncio.Task[None]] = set()
        self._findings = Findings(ctx)
        self.sensors = Sensors(ctx)
        self.sources = EventSources(ctx, self._pace)
        self._stale: set[str] = set()

    @property
    def report(self) -> Report:
        return self._findings.report

    def text(self) -> bytes:
        """Counts and sensors in Prometheus's text format."""
        return self.report.text() + self.sensors.text()

    async def look(self) -> int:
        """Ask the controllers whose turn has come, without waiting for them; how many."""
        now = self._ctx.clock.monotonic()
        if now >= self._refresh_at:
            self._refresh_at = now + self._period / 4
            await self._refresh(now)
        due = self._rota.due(now)
        for uuid, since in due:
            task = asyncio.create_task(self._turn(uuid, since))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(due)

    async def run(self) -> Report:
        """One round over all nodes that this process cares for, now."""
        await self._refresh(self._ctx.clock.monotonic())
        before, self._findings.report = self.report, Report()
        await asyncio.gather(*(self._turn(uuid, None) for uuid in self._idle))
        found, self._findings.report = self.report, before
        return found

    async def stop(self) -> None:
        """End the readings under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        await self.sources.close()
        await self._findings.close()

    async def _refresh(self, now: float) -> None:
        self._idle = await self._ctx.db.scan(lambda conn: find_idle(self._ctx, conn))
        for known in (self._failures, self._lines):
            for uuid in known.keys() - self._idle.keys():
                del known[uuid]
        self._rota.keep(self._idle.keys(), now)
        self.sensors.keep(self._idle.keys())
        await self.sources.keep(self._idle.keys())

    def hear(self, event: Event) -> None:
        """Of the timeline: what a controller sent lets its machine be asked at the next look."""
        _, _, uuid = event.subject.partition("node:")
        if event.kind == KIND and uuid in self._idle:
            self._stale.add(uuid)
            self.sources.arrived(uuid)
            self._rota.hurry(uuid, self._ctx.clock.monotonic())

    def _pace(self, uuid: str, events_arrive: bool) -> None:
        settings = self._ctx.settings
        # Sensors are read in the same turns.
        seldom = min(settings.event_poll_interval, settings.sensor_interval or float("inf"))
        period = max(self._period, seldom) if events_arrive else self._period
        self._rota.pace(uuid, period, self._ctx.clock.monotonic())

    # -- one turn ----------------------------------------------------------------------------------

    async def _turn(self, uuid: str, since: float | None) -> None:
        """Power and health, then the sensors where it is time: one thing after the other."""
        good, took = False, 0.0
        try:
            good, took = await self._reading(uuid, since)
            idle, line = self._idle.get(uuid), self._lines.get(uuid)
            if good and idle is not None and line is not None:
                await self.sources.turn(idle, line.access, line.management)
                await self.sensors.turn(idle, line.access, line.management)
        finally:
            now = self._ctx.clock.monotonic()
            self._rota.ended(uuid, took=took, good=good, now=now)

    async def _reading(self, uuid: str, since: float | None) -> tuple[bool, float]:
        """Whether the controller answered, and in how many seconds."""
        kind, clock = self._rota.kind(uuid), self._ctx.clock
        async with self._queues[kind]:
            began = clock.monotonic()
            if since is not None and kind == QUICK:
                self.report.latest = max(self.report.latest, began - since)
            reading = asyncio.ensure_future(self._one(uuid))
            # One that turns out to be slow gives its place to the quick ones.
            await _until_done(reading, SLOW_SECONDS if kind == QUICK else None)
        good = await reading
        return good, clock.monotonic() - began

    async def _one(self, uuid: str) -> bool:
        """Whether the controller answered."""
        if uuid in self._stale:
            self._stale.discard(uuid)
            await self._read_again_of(uuid)
        idle = self._idle.get(uuid)
        if idle is None:
            return True  # not idle any more
        self.report.read += 1
        try:
            with probing():
                async with asyncio.timeout(READ_SECONDS):
                    state, health = await self._read(idle)
        except TimeoutError:
            trouble = Fault(f"no answer within {READ_SECONDS:g} s", kind=Kind.TIMEOUT)
            await self._failed(idle, trouble)
        except Fault as fault:
            line = self._lines.get(uuid)
            if line is not None and not line.power.supported():
                return True  # a human switches it; nobody can be asked
            await self._failed(idle, fault)
        except Exception as error:
            # One driver's bug must not end the round for the others.
            _log.error("power could not be read", node=uuid, error=repr(error))
            await self._failed(idle, Fault(f"internal error: {error!r}"))
        else:
            self._failures.pop(uuid, None)
            self._know(await self._findings.record_reading(idle, state, health))
            return True
        return False

    async def _read_again_of(self, uuid: str) -> None:
        """What is known of a node is up to a quarter of a period old: too old for one that sent an event."""
        found = await self._ctx.db.read(lambda conn: find_idle(self._ctx, conn, uuid))
        self._idle.pop(uuid, None)
        self._idle.update(found)

    async def _read(self, idle: IdleNode) -> tuple[str, str | None]:
        """Power and health; the health is what it was where the controller is not asked for it."""
        line = self._lines.get(idle.uuid)
        if line is None or line.updated_at != idle.updated_at:
            line = self._lines[idle.uuid] = await self._ctx.db.read(self._line_of(idle))
        if line.glancing is None:
            state, health = await line.power.get(line.access), idle.health
        else:
            glance = await line.glancing.read_status(line.access)
            state, health = glance.power, HEALTH.get(glance.health)
            if not self._ctx.settings.watch_health:
                health = idle.health
        if state is PowerState.ERROR:
            raise Fault("the controller reports neither on nor off", kind=Kind.REFUSED)
        return str(state), health

    def _line_of(self, idle: IdleNode) -> Callable[[sa.Connection], _Line]:
        def query(conn: sa.Connection) -> _Line:
            node = store.get_node(conn, idle.uuid)
            access = self._ctx.access(conn, node, "power")
            power = self._ctx.registry.power(node.driver, node.interfaces.get("power"))
            glancing = power if isinstance(power, base.StatusPower) else None
            name = node.interfaces.get("management")
            management = self._ctx.registry.management(node.driver, name)
            return _Line(idle.updated_at, access, power, glancing, management)

        return query

    async def _failed(self, idle: IdleNode, fault: Fault) -> None:
        self.report.failed += 1
        self.sources.doubt(idle.uuid)
        count = self._failures[idle.uuid] = self._failures.get(idle.uuid, 0) + 1
        if idle.fault == POWER_FAILURE or count < self._ctx.settings.power_sync_retries:
            return
        reason = (
            f"Power state could not be read {count} times in a row: {fault.sentence()} The node "
            "leaves maintenance by itself when its controller answers again."
        )
        self._know(await self._findings.unreadable(idle, reason))

    def _know(self, idle: IdleNode) -> None:
        if idle.uuid in self._idle:
            self._idle[idle.uuid] = idle


async def _until_done(task: asyncio.Future[bool], seconds: float | None) -> None:
    """Wait for it so long; when we are cancelled, it is too."""
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
