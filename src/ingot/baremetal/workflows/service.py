"""Service: steps on a machine that is in use, such as new firmware; its instance runs again afterwards.

Steps that are done from outside leave the instance running. As soon as one needs the agent, the instance is
stopped, the agent booted, and in the end the machine's own disk again.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import netboot, proofs, steps
from ingot.baremetal.workflows.agentwork import agent_steps
from ingot.baremetal.workflows.orders import RestoreOrder, ServiceOrder
from ingot.baremetal.workflows.room import Case, release
from ingot.baremetal.workflows.stepping import Steps, completed, needs_agent, offered_by_driver
from ingot.drivers.types import PowerTarget


async def service(case: Case, order: ServiceOrder) -> None:
    """active -> servicing -> service wait -> servicing -> active."""
    node = await case.node()
    wanted, outside = order.steps, offered_by_driver(case, node, "service")
    in_band = [step for step in wanted if needs_agent(step, outside)]
    if order.disable_ramdisk or not in_band or not _uses_agent(case, node):
        await proofs.prove_controller(case)
        chosen = completed(wanted, (), outside, "service")
        await Steps(case, "service", agent=False).run(chosen, outside)
        return
    runner = Steps(case, "service", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(case, "service", again)
        await runner.run(completed(wanted, offered, outside, "service"), outside, again)

    await steps.with_agent(case, work)
    await steps.stop_agent(case, restart=False)
    await _start_instance(case)


async def _start_instance(case: Case) -> None:
    await netboot.prepare_boot(case)
    await steps.attach_instance_networks(case)
    await steps.start_instance(case)


def serviced(case: Case, conn: sa.Connection) -> None:
    runs(conn, case)
    case.finish(conn, "done", "Serviced.", service_step={})


async def restore(case: Case, _order: RestoreOrder) -> None:
    """After a service that was given up: the instance runs again. The node is active all the while."""
    await proofs.prove_controller(case)
    await steps.set_power(case, "power off", PowerTarget.OFF)
    await _start_instance(case)


def restored(case: Case, conn: sa.Connection) -> None:
    runs(conn, case)
    case.note(conn, "The instance was started again.")
    release(conn, case.uuid, target_power_state=None)


def runs(conn: sa.Connection, case: Case) -> None:
    """The instance is not stopped for a service (any more)."""
    store.merge_internal_info(conn, case.uuid, {"instance_stopped": None})


def _uses_agent(case: Case, node: Node) -> bool:
    return case.room.registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent
