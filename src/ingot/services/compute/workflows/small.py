"""Stories of a server that has its machine: power, rebuild, rescue."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import HeldNode
from ingot.services.compute import states
from ingot.services.compute.workflows import machines
from ingot.services.compute.workflows.server_task import ServerTask
from ingot.workflow import StepContext

#: Causes that lie with the controller itself, whatever it is asked.
_NO_CONTROLLER = frozenset({Kind.UNREACHABLE, Kind.BAD_CREDENTIALS, Kind.WRONG_MACHINE})

# -- power ---------------------------------------------------------------------------------------


async def start(task: ServerTask, _order: Any) -> None:
    await _power(task, "power on")


async def stop(task: ServerTask, _order: Any) -> None:
    """The operating system first; the machine is switched off when it does not listen."""
    await _softly(task, "soft power off", "power off")


async def reboot(task: ServerTask, order: dict[str, Any]) -> None:
    if order.get("type") == "SOFT":
        await _softly(task, "soft rebooting", "rebooting")
    else:
        await _power(task, "rebooting")


async def _softly(task: ServerTask, soft: str, hard: str) -> None:
    try:
        await _power(task, soft, timeout=task.compute.settings.soft_seconds)
    except Fault as fault:
        if fault.kind is Kind.ABORTED or fault.details.get("machine") in _NO_CONTROLLER:
            # Whoever does not answer, or does not know us, will not switch it off by force either.
            raise
        await _power(task, hard)


async def _power(task: ServerTask, target: str, timeout: int | None = None) -> None:
    def order(conn: sa.Connection) -> dict[str, str]:
        started = _machine(task, conn).power(target, timeout, notify=task.op.subject, by=task.by)
        return {"operation": started}

    await task.order(f"order: {target}", order)
    await task.ended("power", task.compute.settings.power_seconds, f"the machine: {target}", target)


def _machine(task: ServerTask, conn: sa.Connection) -> HeldNode:
    """The server's machine, if it is its own still."""
    return task.compute.machine(conn, task.here(conn))


def running(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn, vm_state=states.ACTIVE, power_state=states.RUNNING)


def stopped(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn, vm_state=states.STOPPED, power_state=states.SHUTDOWN)


def unchanged_well(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn)


def unchanged(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """The server is as it was; the action's record says why."""
    task.settle(conn)


async def crash_dump(task: ServerTask, _order: Any) -> None:
    """A non-maskable interrupt: the operating system writes its dump, if it is told to."""

    async def interrupt(_ctx: StepContext) -> None:
        node_uuid = (await task.server()).node_uuid or ""
        await task.compute.baremetal.interrupt(node_uuid, task.uuid)

    seconds = task.compute.settings.power_seconds
    await task.op.step("interrupt the machine", interrupt, deadline=seconds)


# -- rebuild -------------------------------------------------------------------------------------


async def rebuild(task: ServerTask, order: dict[str, Any]) -> None:
    """The image (the same or another) again on the same machine."""

    await task.image((await task.server()).image_id or "")

    def begin(conn: sa.Connection) -> dict[str, str]:
        machine = _machine(task, conn)
        off = task.here(conn).vm_state == states.STOPPED
        machines.drop_gone(task.compute, conn, task.here(conn), machine)
        machines.prepare(task.compute, conn, task.here(conn), machine.node.uuid, task.right)
        task.compute.step(conn, task.uuid, states.REBUILD_SPAWNING)
        started = machine.rebuild(
            notify=task.op.subject,
            preserve_ephemeral=bool(order.get("preserve_ephemeral")),
            by=task.by,
        )
        return {"operation": started, "off": "off" if off else ""}

    begun = await task.order("start the rebuild", begin)
    await task.ended("deploy", task.compute.settings.build_seconds, "the machine to be rebuilt")
    if begun.get("off"):
        # A server that was shut off is shut off afterwards.
        await _power(task, "power off")


def rebuilt(task: ServerTask, conn: sa.Connection) -> None:
    off = task.here(conn).vm_state == states.STOPPED
    task.settle(
        conn,
        vm_state=states.STOPPED if off else states.ACTIVE,
        power_state=states.SHUTDOWN if off else states.RUNNING,
        launched_at=task.compute.now(),
        fault=None,
    )


def broken(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """What was on the machine is not sure to be there any more."""
    if fault.kind is not Kind.ABORTED:
        task.compute.set_fault(conn, task.uuid, fault)
    task.settle(conn, vm_state=states.ERROR)


# -- rescue --------------------------------------------------------------------------------------


async def rescue(task: ServerTask, order: dict[str, Any]) -> None:
    """A system from the network with a log-in, the disk beside it: the agent's own, whatever image was named."""
    if order.get("image"):
        await task.image(order["image"])

    def begin(conn: sa.Connection) -> dict[str, str]:
        password = task.compute.secrets_of(task.here(conn)).admin_pass
        started = _machine(task, conn).rescue(
            rescue_password=password, notify=task.op.subject, by=task.by
        )
        return {"operation": started}

    await task.order("start the rescue", begin)
    await task.ended("rescue", task.compute.settings.build_seconds, "the rescue system")


def rescued(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(conn, vm_state=states.RESCUED, power_state=states.RUNNING)


async def unrescue(task: ServerTask, _order: Any) -> None:
    """The machine's own disk again."""

    def begin(conn: sa.Connection) -> dict[str, str]:
        started = _machine(task, conn).unrescue(notify=task.op.subject, by=task.by)
        return {"operation": started}

    await task.order("end the rescue", begin)
    await task.ended("unrescue", task.compute.settings.build_seconds, "the machine's own system")
