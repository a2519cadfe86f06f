"""Verify: enroll -> verifying -> manageable."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.faults import Unreachable
from ingot.kit.faults import Failed, Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    VerifyOrder,
)
from ingot.services.baremetal.workflows import proofs
from ingot.services.baremetal.workflows.caching import read_settings
from ingot.services.baremetal.workflows.driverwork import run_driver_step
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.services.baremetal.workflows.stepping import (
    VERIFY_INTERFACES,
    offered_by_driver,
    ordered,
    step_id,
)
from ingot.workflow import StepContext

#: Seconds of silence that are borne where somebody has just said where the controller is: it may be starting
#: anew, but whoever has mistyped its address should soon know.
FIRST_CONTACT = 30.0


async def verify(task: NodeTask, _order: VerifyOrder) -> None:
    """enroll -> verifying -> manageable: the controller answers, and we learn who it is."""

    async def ask(ctx: StepContext) -> str:
        node, access = await task.reach()
        power = task.deps.registry.power(node.driver, node.interfaces.get("power"))
        try:
            state = await power.get(access)
        except Unreachable as fault:
            raise _silent(ctx, fault) or fault from None
        ctx.log(f"the controller answers: {state}")
        return str(state)

    await task.controller_step(
        "ask the controller",
        ask,
        commit=lambda conn, state: store.update_node(conn, task.uuid, power_state=state),
    )
    # Coming from enroll, whoever answers now is the machine that the operator means.
    await task.op.commit(
        "forget the old identity",
        lambda conn: store.update_node(conn, task.uuid, bmc_identity=None),
    )
    await proofs.prove_controller(task)
    # What the driver wants to be true of every machine in its care, such as the controller's clock.
    offered = offered_by_driver(task, await task.node(), "verify")
    wanted = ordered([step for step in offered if step["priority"] > 0], VERIFY_INTERFACES)
    for number, step in enumerate(wanted, 1):
        await run_driver_step(task, "verify", step, f"{number} {'.'.join(step_id(step))}")
    await read_settings(task)


def _silent(ctx: StepContext, fault: Unreachable) -> Fault | None:
    """That it is over, where one more attempt would come too late."""
    waited = (ctx.clock.now() - ctx.began).total_seconds()
    if waited + (fault.retry_after or 0) <= FIRST_CONTACT:
        return None
    times = "once" if ctx.attempt == 1 else f"{ctx.attempt} times"
    return Failed(
        f"The controller was asked {times} in {waited:.0f} s and did not answer: {fault.text}",
        next_action=fault.next_action,
        internal=fault.internal,
        details=fault.details,
    )


def verified(task: NodeTask, conn: sa.Connection) -> None:
    task.finish(conn, "done", "The controller was verified.")
