"""Start, stop and reboot a server; interrupt its machine for a crash dump."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import HeldNode
from ingot.services.compute import states
from ingot.services.compute.workflows.server_task import ServerTask
from ingot.workflow import StepContext

#: Causes that lie with the controller itself, whatever it is asked.
_NO_CONTROLLER = frozenset({Kind.UNREACHABLE, Kind.BAD_CREDENTIALS, Kind.WRONG_MACHINE})


async def start(task: ServerTask, _order: Any) -> None:
    await set_power(task, "power on")


async def stop(task: ServerTask, _order: Any) -> None:
    """The operating system first; the machine is switched off when it does not listen."""
    await _softly(task, "soft power off", "power off")


async def reboot(task: ServerTask, order: dict[str, Any]) -> None:
    if order.get("type") == "SOFT":
        await _softly(task, "soft rebooting", "rebooting")
    else:
        await set_power(task, "rebooting")


async def _softly(task: ServerTask, soft: str, hard: str) -> None:
    try:
        await set_power(task, soft, timeout=task.compute.settings.soft_seconds)
    except Fault as fault:
        if fault.kind is Kind.ABORTED or fault.details.get("machine") in _NO_CONTROLLER:
            # Whoever does not answer, or does not know us, will not switch it off by force either.
            raise
        await set_power(task, hard)


async def set_power(task: ServerTask, target: str, timeout: int | None = None) -> None:
    def order(conn: sa.Connection) -> dict[str, str]:
        started = server_machine(task, conn).power(
            target, timeout, notify=task.op.subject, by=task.by
        )
        return {"operation": started}

    await task.order(f"order: {target}", order)
    await task.ended("power", task.compute.settings.power_seconds, f"the machine: {target}", target)


def server_machine(task: ServerTask, conn: sa.Connection) -> HeldNode:
    """The server's machine, if it still is the server's own."""
    return task.compute.machine(conn, task.here(conn))


def ended_active(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn, vm_state=states.ACTIVE, power_state=states.RUNNING)


def ended_stopped(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn, vm_state=states.STOPPED, power_state=states.SHUTDOWN)


def ended_unchanged(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn)


def failed_unchanged(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """The server is as it was; the action's record says why."""
    task.settle(conn)


async def crash_dump(task: ServerTask, _order: Any) -> None:
    """A non-maskable interrupt: the operating system writes its dump, if it is told to."""

    async def interrupt(_ctx: StepContext) -> None:
        node_uuid = (await task.server()).node_uuid or ""
        await task.compute.baremetal.interrupt(node_uuid, task.uuid)

    seconds = task.compute.settings.power_seconds
    await task.op.step("interrupt the machine", interrupt, deadline=seconds)
