"""Rebuild: an image again on the server's own machine."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.services.compute import states
from ingot.services.compute.workflows import machines
from ingot.services.compute.workflows.power import server_machine, set_power
from ingot.services.compute.workflows.server_task import ServerTask


async def rebuild(task: ServerTask, order: dict[str, Any]) -> None:
    """The image (the same or another) again on the same machine."""

    await task.image((await task.server()).image_id or "")

    def begin(conn: sa.Connection) -> dict[str, str]:
        machine = server_machine(task, conn)
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
        await set_power(task, "power off")


def rebuilt(task: ServerTask, conn: sa.Connection) -> None:
    off = task.here(conn).vm_state == states.STOPPED
    task.settle(
        conn,
        vm_state=states.STOPPED if off else states.ACTIVE,
        power_state=states.SHUTDOWN if off else states.RUNNING,
        launched_at=task.compute.now(),
        fault=None,
    )


def failed_to_error(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """What was on the machine is not sure to be there any more."""
    if fault.kind is not Kind.ABORTED:
        task.compute.set_fault(conn, task.uuid, fault)
    task.settle(conn, vm_state=states.ERROR)
