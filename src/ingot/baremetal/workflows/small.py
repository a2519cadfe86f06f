"""The short stories: verify, adopt, rescue and unrescue, power."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.workflows import netboot, proofs, steps
from ingot.baremetal.workflows.caching import read_settings
from ingot.baremetal.workflows.driverwork import run_driver_step
from ingot.baremetal.workflows.orders import (
    AdoptOrder,
    PowerOrder,
    RescueOrder,
    UnrescueOrder,
    VerifyOrder,
)
from ingot.baremetal.workflows.patience import patiently
from ingot.baremetal.workflows.room import Case, release
from ingot.baremetal.workflows.stepping import (
    VERIFY_INTERFACES,
    offered_by_driver,
    ordered,
    step_id,
)
from ingot.drivers.faults import Unreachable
from ingot.drivers.types import PowerTarget
from ingot.kit import serverevents
from ingot.kit.faults import Failed, Fault, Invalid
from ingot.workflow import StepContext

# -- verify --------------------------------------------------------------------------------------

#: Seconds of silence that are borne where somebody has just said where the controller is: it may be starting
#: anew, but whoever has mistyped its address should soon know.
FIRST_CONTACT = 30.0


async def verify(case: Case, _order: VerifyOrder) -> None:
    """enroll -> verifying -> manageable: the controller answers, and we learn who it is."""

    async def ask(ctx: StepContext) -> str:
        node, access = await case.reach()
        power = case.room.registry.power(node.driver, node.interfaces.get("power"))
        try:
            state = await power.get(access)
        except Unreachable as fault:
            raise _silent(ctx, fault) or fault from None
        ctx.log(f"the controller answers: {state}")
        return str(state)

    await case.controller_step(
        "ask the controller",
        ask,
        commit=lambda conn, state: store.update_node(conn, case.uuid, power_state=state),
    )
    # Coming from enroll, whoever answers now is the machine that the operator means.
    await case.op.commit(
        "forget the old identity",
        lambda conn: store.merge_internal_info(conn, case.uuid, {"bmc_identity": None}),
    )
    await proofs.prove_controller(case)
    # What the driver wants to be true of every machine in its care, such as the controller's clock.
    offered = offered_by_driver(case, await case.node(), "verify")
    wanted = ordered([step for step in offered if step["priority"] > 0], VERIFY_INTERFACES)
    for number, step in enumerate(wanted, 1):
        await run_driver_step(case, "verify", step, f"{number} {'.'.join(step_id(step))}")
    await read_settings(case)


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


def verified(case: Case, conn: sa.Connection) -> None:
    case.finish(conn, "done", "The controller was verified.")


# -- adopt ---------------------------------------------------------------------------------------


async def adopt(case: Case, _order: AdoptOrder) -> None:
    """manageable -> adopting -> active, without touching the disk."""
    node = await case.node()
    if not node.instance_info.get("image_source") and _writes_disk(case, node.driver, node):
        raise Invalid(
            "instance_info.image_source is missing: it names what runs on the machine.",
            next_action="Set instance_info.image_source, then adopt again.",
        )
    await proofs.prove_controller(case)
    await netboot.prepare_boot(case)
    await steps.attach_instance_networks(case)

    async def read(_ctx: StepContext) -> str:
        fresh, access = await case.reach("power")
        power = case.room.registry.power(fresh.driver, fresh.interfaces.get("power"))
        return str(await power.get(access))

    await case.controller_step(
        "read the power state",
        read,
        commit=lambda conn, state: store.update_node(conn, case.uuid, power_state=state),
    )


def _writes_disk(case: Case, driver: str, node: Any) -> bool:
    return case.room.registry.deploy(driver, node.interfaces.get("deploy")).writes_disk


def adopted(case: Case, conn: sa.Connection) -> None:
    store.forget_agent(conn, case.uuid)  # one that was kept
    case.finish(conn, "done", "Adopted.")


# -- rescue --------------------------------------------------------------------------------------


async def rescue(case: Case, _order: RescueOrder) -> None:
    """active -> rescuing -> rescue wait -> rescuing -> rescue: the agent with a login."""
    node = await case.node()
    way = case.room.registry.rescue(node.driver, node.interfaces.get("rescue"))
    if not way.uses_agent:
        await _out_of_band(case, "rescue")
        return

    async def work(again: str | None) -> None:
        await case.agent_step(
            "set the rescue password", lambda ctx: _set_password(case, ctx), key=again
        )

    await steps.with_agent(case, work)


async def _set_password(case: Case, ctx: StepContext) -> None:
    from oslo_utils import secretutils

    password = await case.room.db.read(
        lambda conn: store.read_secret(conn, case.room.vault, case.uuid, "rescue_password")
    )

    # The agent takes it hashed, as crypt(3) has it; the plain text never leaves us.
    hashed = secretutils.crypt_password(str(password), secretutils.crypt_mksalt("SHA-512"))

    async def finalize() -> None:
        await (await case.agent()).finalize_rescue(hashed)

    await patiently(case, ctx, finalize)


def rescued(case: Case, conn: sa.Connection) -> None:
    """The password is in the machine now; here it is not needed any more."""
    store.write_secret(conn, case.room.vault, case.uuid, "rescue_password", None)
    case.finish(conn, "done", "In rescue.")


async def unrescue(case: Case, _order: UnrescueOrder) -> None:
    """rescue -> unrescuing -> active: the machine's own disk again."""
    node = await case.node()
    way = case.room.registry.rescue(node.driver, node.interfaces.get("rescue"))
    if not way.uses_agent:
        await _out_of_band(case, "unrescue")
        return
    await proofs.prove_controller(case)
    await steps.set_power(case, "power off", PowerTarget.OFF)
    await case.op.commit("forget the agent", lambda conn: _forget(case, conn))
    await netboot.prepare_boot(case)
    await steps.attach_instance_networks(case)
    await steps.start_instance(case)


def unrescued(case: Case, conn: sa.Connection) -> None:
    case.finish(conn, "done", "Out of rescue.")


def _forget(case: Case, conn: sa.Connection) -> None:
    store.forget_agent(conn, case.uuid, "rescue_password")


async def _out_of_band(case: Case, verb: str) -> None:
    async def run(_ctx: StepContext) -> None:
        node, access = await case.reach("power")
        hand = case.room.registry.rescue(node.driver, node.interfaces.get("rescue"))
        await (hand.rescue(access) if verb == "rescue" else hand.unrescue(access))

    await case.controller_step(verb, run)


# -- power ---------------------------------------------------------------------------------------


async def power(case: Case, order: PowerOrder) -> str:
    """PUT states/power, with the soft targets' own time limit."""
    target = PowerTarget(order.target)
    if target in (PowerTarget.OFF, PowerTarget.REBOOT):
        await proofs.prove_controller(case)
    return await steps.set_power(case, str(target), target, timeout=order.timeout, last=True)


def powered(case: Case, conn: sa.Connection) -> None:
    release(conn, case.uuid, power_state=case.result, target_power_state=None, last_error=None)
    if case.room.servers is not serverevents.UNTOLD:
        instance = store.get_node(conn, case.uuid).instance_uuid
        serverevents.power(case.room.servers, conn, instance, str(case.result))
    case.tell(conn, {"ok": True})
