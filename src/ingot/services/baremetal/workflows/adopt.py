"""Adopt: manageable -> adopting -> active, without touching the disk."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    AdoptOrder,
)
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.workflows import netboot, proofs, steps
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


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
    agent_store.forget_agent(conn, task.uuid)  # one that was kept
    task.finish(conn, "done", "Adopted.")
