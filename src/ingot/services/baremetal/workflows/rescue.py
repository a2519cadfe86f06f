"""Rescue and unrescue: an active machine boots the rescue system, and its own disk again."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import PowerTarget
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    RescueOrder,
    UnrescueOrder,
)
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.workflows import netboot, proofs, steps
from ingot.services.baremetal.workflows.agent_retry import patiently
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


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
    agent_store.forget_agent(conn, task.uuid, "rescue_password")


async def _out_of_band(task: NodeTask, verb: str) -> None:
    async def run(_ctx: StepContext) -> None:
        node, access = await task.reach("power")
        hand = task.deps.registry.rescue(node.driver, node.interfaces.get("rescue"))
        await (hand.rescue(access) if verb == "rescue" else hand.unrescue(access))

    await task.controller_step(verb, run)
