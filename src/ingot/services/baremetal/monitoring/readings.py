"""What controllers told about idle machines, written to the nodes: power, health, failure and recovery.

A reading that changes nothing writes nothing. Those that do are written together: one transaction for all
that came up while the last one ran.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import Clock
from ingot.services import server_events
from ingot.services.baremetal import store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.monitoring import store as monitoring_store
from ingot.services.baremetal.monitoring.store import POWER_FAILURE, IdleNode
from ingot.services.baremetal.nodes import conductors, editing, hash_ring, history_store

#: So long changes wait for company.
GATHER_SECONDS = 0.05
#: The API's words for what drivers say; everything else is told as null.
HEALTH = {"ok": "OK", "warning": "Warning", "critical": "Critical"}
_SEVERITY = {"Warning": "warning", "Critical": "error"}


def find_idle(ctx: Context, conn: sa.Connection, only: str | None = None) -> dict[str, IdleNode]:
    """The idle nodes that this process cares for (or one of them), by uuid."""
    hosts = hash_ring.HashRing(conductors.live_conductors(ctx, conn))
    mine = (ctx.host, None)
    idle = monitoring_store.idle_nodes(conn, only)
    return {node.uuid: node for node in idle if hosts.of(node.uuid, node.group) in mine}


@dataclass(slots=True)
class Report:
    """What was found. latest: seconds by which a reading of a healthy controller began late, at the most."""

    read: int = 0
    changed: int = 0
    failed: int = 0
    given_up: int = 0
    recovered: int = 0
    latest: float = 0.0

    def text(self) -> bytes:
        """In Prometheus's text format."""
        told = (
            ("polls_total", "counter", "Controllers asked for power and health", self.read),
            ("poll_failures_total", "counter", "Of them without an answer", self.failed),
            ("power_changes_total", "counter", "Power changed without a request", self.changed),
            ("late_seconds", "gauge", "By so much a healthy one was asked late, most", self.latest),
        )
        return "".join(
            f"# HELP ingot_bmc_{name} {help}\n# TYPE ingot_bmc_{name} {kind}\n"
            f"ingot_bmc_{name} {value:.10g}\n"
            for name, kind, help, value in told
        ).encode()


class Batches:
    """Small changes of many, written in groups. One that fails does not take the others with it."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._waiting: list[tuple[Callable[[sa.Connection], None], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def write(self, change: Callable[[sa.Connection], None]) -> None:
        """Returns after the commit; raises what `change` raises."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await done

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=10)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                await self._clock.sleep(GATHER_SECONDS)
                batch, self._waiting = self._waiting, []
                await self._one_batch(batch)
        finally:
            self._writer = None

    async def _one_batch(
        self, batch: list[tuple[Callable[[sa.Connection], None], asyncio.Future[None]]]
    ) -> None:
        def together(conn: sa.Connection) -> None:
            for change, _ in batch:
                change(conn)

        try:
            await self._db.write(together, serializable=False)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._one_batch([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for _, done in batch:
            if not done.done():
                done.set_result(None)


class Findings:
    """Writes what readings mean. report: counts of all that was found."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._batches = Batches(ctx.db, ctx.clock)
        self.report = Report()

    async def record_reading(self, idle: IdleNode, state: str, health: str | None) -> IdleNode:
        """A controller answered; gives the node as it is known now."""
        if not self._differs(idle, state, health):
            return idle
        now = self._ctx.now()
        held: list[bool] = []

        def change(conn: sa.Connection) -> None:
            held[:] = [monitoring_store.still_idle(conn, idle)]
            if held[0]:
                self._write(conn, idle, state, health, now)

        await self._batches.write(change)
        if not held[0]:
            return idle
        self.report.recovered += idle.fault == POWER_FAILURE
        self.report.changed += state != idle.power_state and idle.power_state is not None
        fault = None if idle.fault == POWER_FAILURE else idle.fault
        return dataclasses.replace(idle, power_state=state, health=health, fault=fault)

    async def unreadable(self, idle: IdleNode, reason: str) -> IdleNode:
        """Its controller failed too often: into maintenance until it answers."""
        held: list[bool] = []

        def give_up(conn: sa.Connection) -> None:
            held[:] = [monitoring_store.still_idle(conn, idle)]
            if not held[0]:
                return
            editing.set_maintenance(self._ctx, conn, idle.uuid, True, reason, fault=POWER_FAILURE)
            store.update_node(conn, idle.uuid, last_error=reason)
            self._note(conn, idle.uuid, reason, "ERROR")

        await self._batches.write(give_up)
        if not held[0]:
            return idle
        self.report.given_up += 1
        return dataclasses.replace(idle, fault=POWER_FAILURE)

    async def close(self) -> None:
        await self._batches.close()

    # -- inside ------------------------------------------------------------------------------------

    def _differs(self, idle: IdleNode, state: str, health: str | None) -> bool:
        return idle.fault == POWER_FAILURE or state != idle.power_state or health != idle.health

    def _write(
        self, conn: sa.Connection, idle: IdleNode, state: str, health: str | None, now: str
    ) -> None:
        uuid = idle.uuid
        if idle.fault == POWER_FAILURE:
            editing.set_maintenance(self._ctx, conn, uuid, False)
            self._note(conn, uuid, "The controller answers again.", "INFO")
        store.update_node(conn, uuid, power_state=state, health=health, updated_at=now)
        if state != idle.power_state and idle.power_state is not None:
            text = f"Power changed from {idle.power_state} to {state} without a request."
            self._note(conn, uuid, text, "INFO")
            server_events.power(self._ctx.servers, conn, idle.instance_uuid, state)
            data = {"before": idle.power_state, "after": state}
            events.record(
                conn, f"node:{uuid}", "power changed", text, data=data, severity="warning"
            )
        if health != idle.health and not (idle.health is None and health == "OK"):
            text = f"Health changed from {idle.health or 'unknown'} to {health or 'unknown'}."
            self._note(conn, uuid, text, "INFO", "monitoring")
            data = {"before": idle.health, "after": health}
            severity = _SEVERITY.get(health or "", "info")
            events.record(
                conn, f"node:{uuid}", "health changed", text, data=data, severity=severity
            )

    def _note(
        self, conn: sa.Connection, uuid: str, text: str, severity: str, kind: str = "power"
    ) -> None:
        history_store.add(
            conn,
            uuid,
            self._ctx.now(),
            text,
            severity=severity,
            event_type=kind,
            conductor=self._ctx.host,
        )
