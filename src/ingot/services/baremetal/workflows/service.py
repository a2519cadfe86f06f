"""Service: steps on a machine that is in use, such as new firmware; its instance runs again afterwards.

Steps that are done from outside leave the instance running. As soon as one needs the agent, the instance is
stopped, the agent booted, and in the end the machine's own disk again.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import PowerTarget
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import RestoreOrder, ServiceOrder
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import netboot, proofs, steps
from ingot.services.baremetal.workflows.agentwork import agent_steps
from ingot.services.baremetal.workflows.node_task import NodeTask, release
from ingot.services.baremetal.workflows.stepping import (
    Steps,
    completed,
    needs_agent,
    offered_by_driver,
)


async def service(task: NodeTask, order: ServiceOrder) -> None:
    """active -> servicing -> service wait -> servicing -> active."""
    node = await task.node()
    wanted, outside = order.steps, offered_by_driver(task, node, "service")
    in_band = [step for step in wanted if needs_agent(step, outside)]
    if order.disable_ramdisk or not in_band or not _uses_agent(task, node):
        await proofs.prove_controller(task)
        chosen = completed(wanted, (), outside, "service")
        await Steps(task, "service", agent=False).run(chosen, outside)
        return
    runner = Steps(task, "service", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(task, "service", again)
        await runner.run(completed(wanted, offered, outside, "service"), outside, again)

    await steps.with_agent(task, work)
    await steps.stop_agent(task, restart=False)
    await _start_instance(task)


async def _start_instance(task: NodeTask) -> None:
    await netboot.prepare_boot(task)
    await steps.attach_instance_networks(task)
    await steps.start_instance(task)


def serviced(task: NodeTask, conn: sa.Connection) -> None:
    runs(conn, task)
    task.finish(conn, "done", "Serviced.", service_step={})


async def restore(task: NodeTask, _order: RestoreOrder) -> None:
    """After a service that was given up: the instance runs again. The node is active all the while."""
    await proofs.prove_controller(task)
    await steps.set_power(task, "power off", PowerTarget.OFF)
    await _start_instance(task)


def restored(task: NodeTask, conn: sa.Connection) -> None:
    runs(conn, task)
    task.note(conn, "The instance was started again.")
    release(conn, task.uuid, target_power_state=None)


def runs(conn: sa.Connection, task: NodeTask) -> None:
    """The instance is not stopped for a service (any more)."""
    store.update_node(conn, task.uuid, instance_stopped=False)


def _uses_agent(task: NodeTask, node: Node) -> bool:
    return task.deps.registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent
