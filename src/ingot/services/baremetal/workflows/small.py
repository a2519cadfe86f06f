"""The short workflows: verify, adopt, rescue and unrescue, power."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.drivers.faults import Unreachable
from ingot.drivers.machine.types import PowerTarget
from ingot.kit.faults import Failed, Fault, Invalid
from ingot.services import server_events
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    AdoptOrder,
    PowerOrder,
    RescueOrder,
    UnrescueOrder,
    VerifyOrder,
)
from ingot.services.baremetal.workflows import netboot, proofs, steps
from ingot.services.baremetal.workflows.agent_retry import patiently
from ingot.services.baremetal.workflows.caching import read_settings
from ingot.services.baremetal.workflows.driverwork import run_driver_step
from ingot.services.baremetal.workflows.node_task import NodeTask, release
from ingot.services.baremetal.workflows.stepping import (
    VERIFY_INTERFACES,
    offered_by_driver,
    ordered,
    step_id,
)
from ingot.workflow import StepContext

# -- verify --------------------------------------------------------------------------------------

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
        lambda conn: store.merge_internal_info(conn, task.uuid, {"bmc_identity": None}),
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


# -- adopt ---------------------------------------------------------------------------------------


async def adopt(task: NodeTask, _order: AdoptOrder) -> None:
    """manageable -> adopting -> active, without touching the disk."""
    node = await task.node()
    if not node.instance_info.get("image_source") and _writes_disk(task, node.driver, node):
        raise Invalid(
            "instance_info.image_source is missing: it names what runs on the machine.",
            next_action="Set instance_info.image_source, then adopt again.",
        )
    await proofs.prove_controller(task)
    await netboot.prepare_boot(task)
    await steps.attach_instance_networks(task)

    async def read(_ctx: StepContext) -> str:
        fresh, access = await task.reach("power")
        power = task.deps.registry.power(fresh.driver, fresh.interfaces.get("power"))
        return str(await power.get(access))

    await task.controller_step(
        "read the power state",
        read,
        commit=lambda conn, state: store.update_node(conn, task.uuid, power_state=state),
    )


def _writes_disk(task: NodeTask, driver: str, node: Any) -> bool:
    return task.deps.registry.deploy(driver, node.interfaces.get("deploy")).writes_disk


def adopted(task: NodeTask, conn: sa.Connection) -> None:
    store.forget_agent(conn, task.uuid)  # one that was kept
    task.finish(conn, "done", "Adopted.")


# -- rescue --------------------------------------------------------------------------------------


async def rescue(task: NodeTask, _order: RescueOrder) -> None:
    """active -> rescuing -> rescue wait -> rescuing -> rescue: the agent with a login."""
    node = await task.node()
    way = task.deps.registry.rescue(node.driver, node.interfaces.get("rescue"))
    if not way.uses_agent:
        await _out_of_band(task, "rescue")
        return

    async def work(again: str | None) -> None:
        await task.agent_step(
            "set the rescue password", lambda ctx: _set_password(task, ctx), key=again
        )

    await steps.with_agent(task, work)


async def _set_password(task: NodeTask, ctx: StepContext) -> None:
    from oslo_utils import secretutils

    password = await task.deps.db.read(
        lambda conn: store.read_secret(conn, task.deps.vault, task.uuid, "rescue_password")
    )

    # The agent takes it hashed, as crypt(3) has it; the plain text never leaves us.
    hashed = secretutils.crypt_password(str(password), secretutils.crypt_mksalt("SHA-512"))

    async def finalize() -> None:
        await (await task.agent()).finalize_rescue(hashed)

    await patiently(task, ctx, finalize)


def rescued(task: NodeTask, conn: sa.Connection) -> None:
    """The password is in the machine now; here it is not needed any more."""
    store.write_secret(conn, task.deps.vault, task.uuid, "rescue_password", None)
    task.finish(conn, "done", "In rescue.")


async def unrescue(task: NodeTask, _order: UnrescueOrder) -> None:
    """rescue -> unrescuing -> active: the machine's own disk again."""
    node = await task.node()
    way = task.deps.registry.rescue(node.driver, node.interfaces.get("rescue"))
    if not way.uses_agent:
        await _out_of_band(task, "unrescue")
        return
    await proofs.prove_controller(task)
    await steps.set_power(task, "power off", PowerTarget.OFF)
    await task.op.commit("forget the agent", lambda conn: _forget(task, conn))
    await netboot.prepare_boot(task)
    await steps.attach_instance_networks(task)
    await steps.start_instance(task)


def unrescued(task: NodeTask, conn: sa.Connection) -> None:
    task.finish(conn, "done", "Out of rescue.")


def _forget(task: NodeTask, conn: sa.Connection) -> None:
    store.forget_agent(conn, task.uuid, "rescue_password")


async def _out_of_band(task: NodeTask, verb: str) -> None:
    async def run(_ctx: StepContext) -> None:
        node, access = await task.reach("power")
        hand = task.deps.registry.rescue(node.driver, node.interfaces.get("rescue"))
        await (hand.rescue(access) if verb == "rescue" else hand.unrescue(access))

    await task.controller_step(verb, run)


# -- power ---------------------------------------------------------------------------------------


async def power(task: NodeTask, order: PowerOrder) -> str:
    """PUT states/power, with the soft targets' own time limit."""
    target = PowerTarget(order.target)
    if target in (PowerTarget.OFF, PowerTarget.REBOOT):
        await proofs.prove_controller(task)
    return await steps.set_power(task, str(target), target, timeout=order.timeout, last=True)


def powered(task: NodeTask, conn: sa.Connection) -> None:
    release(conn, task.uuid, power_state=task.result, target_power_state=None, last_error=None)
    if task.deps.servers is not server_events.UNTOLD:
        instance = store.get_node(conn, task.uuid).instance_uuid
        server_events.power(task.deps.servers, conn, instance, str(task.result))
    task.tell(conn, {"ok": True})
