"""Delete: the machine lets go of the server, then ports, addresses and the server itself go.

The server is gone as soon as the instance is off the machine; the cleaning goes on without it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.faults import Failed, Fault, Kind
from ingot.services.baremetal import HeldNode, Node
from ingot.services.compute.workflows import machines
from ingot.services.compute.workflows.server_task import ServerTask
from ingot.workflow import StepContext

#: Operations of a machine that lead away from its server by themselves.
_LEAVING = frozenset({"undeploy", "clean"})
_FIRST_LOOK = 0.05
_LONGEST_PAUSE = 2.0


async def delete(task: ServerTask, _order: Any) -> None:
    """-> deleting -> deleted."""
    if not await task.op.commit("take the machine back", lambda conn: _begin(task, conn)):
        await task.op.step(
            "wait for the machine to let go",
            lambda ctx: _wait(task, ctx),
            deadline=task.compute.settings.release_seconds,
            # The machine's own work has deadlines of its own.
            min_deadline=task.compute.settings.release_seconds,
        )
    await task.op.commit("free the network ports", lambda conn: _free(task, conn))


def _begin(task: ServerTask, conn: sa.Connection) -> bool:
    """Ask for the end of the instance; True when the machine is free already."""
    server = task.here(conn)
    held = task.compute.baremetal.hold_any(conn, server.uuid)
    if held is None:
        return True
    node = held.node
    live = workflow.live_operation(conn, node.subject)
    if live is None:
        if node.provision_state in machines.CLEAN:
            return _release(conn, held)
        held.undeploy(by=task.by)
    elif live.kind not in _LEAVING:
        # A deploy, rescue or power change under way is of no use any more.
        workflow.cancel(conn, node.subject, "The server is being deleted.", by=task.op.requested_by)
    return False


async def _wait(task: ServerTask, _ctx: StepContext) -> None:
    """Until the instance is off the machine; what had to end first ends meanwhile."""
    pause, begun = _FIRST_LOOK, False
    while True:
        node, busy = await task.compute.db.read(lambda conn: _look(task, conn))
        if node is None:
            return
        leaving = busy in _LEAVING
        if node.provision_state in machines.CLEAN and (busy is None or leaving):
            await task.compute.db.write(lambda conn: _released(task, conn))
            continue
        if busy is None:
            if begun:
                raise await _refused(task, node)
            begun = await _undeploy(task)
        begun = begun or leaving
        await task.op.clock.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _look(task: ServerTask, conn: sa.Connection) -> tuple[Node | None, str | None]:
    """The server's machine, and the kind of operation that works on it."""
    node = task.compute.baremetal.by_instance(conn, task.uuid)
    live = workflow.live_operation(conn, node.subject) if node is not None else None
    return node, live.kind if live is not None else None


def _released(task: ServerTask, conn: sa.Connection) -> bool:
    held = task.compute.baremetal.hold_any(conn, task.uuid)
    return held is None or _release(conn, held)


async def _undeploy(task: ServerTask) -> bool:
    def undeploy(conn: sa.Connection) -> None:
        held = task.compute.baremetal.hold_any(conn, task.uuid)
        if held is not None:
            held.undeploy(by=task.by)

    try:
        await task.compute.db.write(undeploy)
    except Fault as fault:
        if fault.kind is Kind.LOCKED:
            return False
        raise
    return True


async def _refused(task: ServerTask, node: Node) -> Fault:
    error = await task.compute.db.read(
        lambda conn: task.compute.baremetal.last_error(conn, node.uuid)
    )
    return Failed(
        f"Machine {node.label} could not let go of the server: {error or node.provision_state}",
        next_action="Repair the machine and delete the server again.",
    )


def _release(conn: sa.Connection, held: HeldNode) -> bool:
    for vif in held.vifs() if _at_rest(conn, held.node) else ():
        held.detach_vif(vif)
    return held.release()


def _at_rest(conn: sa.Connection, node: Node) -> bool:
    return workflow.live_operation(conn, node.subject) is None


def _free(task: ServerTask, conn: sa.Connection) -> None:
    machines.free_ports(task.compute, conn, task.here(conn))


def deleted(task: ServerTask, conn: sa.Connection) -> None:
    task.compute.gone(conn, task.uuid)


def not_deleted(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """The server stays, says why, and can be deleted again."""
    task.compute.not_deleted(conn, task.uuid, fault)
