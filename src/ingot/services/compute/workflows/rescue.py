"""Rescue and unrescue a server."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.services.compute import states
from ingot.services.compute.workflows.power import server_machine
from ingot.services.compute.workflows.server_task import ServerTask


async def rescue(task: ServerTask, order: dict[str, Any]) -> None:
    """A system from the network with a log-in, the disk beside it: the agent's own, whatever image was named."""
    if order.get("image"):
        await task.image(order["image"])

    def begin(conn: sa.Connection) -> dict[str, str]:
        password = task.compute.secrets_of(task.here(conn)).admin_pass
        started = server_machine(task, conn).rescue(
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
        started = server_machine(task, conn).unrescue(notify=task.op.subject, by=task.by)
        return {"operation": started}

    await task.order("end the rescue", begin)
    await task.ended("unrescue", task.compute.settings.build_seconds, "the machine's own system")
