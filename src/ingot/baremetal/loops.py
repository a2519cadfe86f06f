"""Reconcilers of the bare-metal room: power as it really is, and verbs that wait for an operation's end.

The app runs `PowerSync.run` and `FollowUps.run` in a `workflow.Loop` each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.baremetal import editing, listing, machine, store, verbs
from ingot.baremetal.context import Context
from ingot.baremetal.tables import nodes
from ingot.baremetal.types import Node
from ingot.drivers.types import Access, PowerState
from ingot.kit import events
from ingot.kit.faults import Fault, Kind
from ingot.kit.log import get as get_log

_log = get_log("baremetal")

POWER_FAILURE = "power failure"
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
    """What one round found."""

    read: int = 0
    changed: int = 0
    failed: int = 0
    given_up: int = 0
    recovered: int = 0


class PowerSync:
    """Reads the power of idle nodes and records what changed without us.

    A node whose controller fails several rounds in a row goes into maintenance with the fault
    "power failure", and comes back by itself when the controller answers again. A round is bounded in
    its concurrency; that a controller gets one call at a time is the drivers' own gate.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._failures: dict[str, int] = {}

    async def run(self) -> Report:
        """One round over all nodes that this process cares for."""
        report = Report()
        idle = await self._ctx.db.scan(self._idle)
        known = {node.uuid for node in idle}
        self._failures = {uuid: n for uuid, n in self._failures.items() if uuid in known}
        slots = asyncio.Semaphore(self._ctx.settings.power_sync_workers)

        async def one(node: Idle) -> None:
            async with slots:
                await self._one(node, report)

        await asyncio.gather(*(one(node) for node in idle))
        return report

    def _idle(self, conn: sa.Connection) -> list[Idle]:
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

    async def _one(self, idle: Idle, report: Report) -> None:
        report.read += 1
        try:
            state = await asyncio.wait_for(self._read(idle.uuid), READ_SECONDS)
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


class FollowUps:
    """Does verbs that waited for the end of an operation (a deletion during a deploy's wait)."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def run(self) -> int:
        """How many verbs were begun."""
        begun = 0
        for uuid in await self._ctx.db.read(verbs.followers):
            try:
                done = await self._ctx.db.write(self._begin(uuid))
                begun += done is not None
            except Fault as fault:
                _log.warning("a verb that waited was refused", node=uuid, fault=fault.text)
                await self._ctx.db.write(self._refused(uuid, fault))
        return begun

    def _begin(self, uuid: str) -> Callable[[sa.Connection], str | None]:
        return lambda conn: verbs.follow_up(self._ctx, conn, uuid)

    def _refused(self, uuid: str, fault: Fault) -> Callable[[sa.Connection], None]:
        def change(conn: sa.Connection) -> None:
            if fault.kind is Kind.LOCKED:
                return  # Somebody was faster; the next round looks again.
            verbs.forget_follow_up(conn, uuid)
            text = f"A request that waited could not begin: {fault.sentence()}"
            store.add_history(
                conn, uuid, self._ctx.now(), text, severity="ERROR", conductor=self._ctx.host
            )
            node = store.get_node(conn, uuid)
            failure = machine.STATES[node.provision_state].failure or node.provision_state
            store.update_node(
                conn, uuid, provision_state=failure, reservation=None, last_error=text
            )

        return change

    @staticmethod
    def concerns(event: Any) -> bool:
        """Whether an event may let a waiting verb begin: the app kicks the loop then."""
        return str(event.subject).startswith("node:") and event.kind in _ENDS


_ENDS = frozenset({"operation.done", "operation.failed", "operation.aborted"})
