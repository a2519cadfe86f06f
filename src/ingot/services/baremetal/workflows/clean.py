"""Clean: give a machine back without its last user's data.

Automated cleaning erases the metadata of all disks (partition tables, file system and RAID headers) by
default, and the whole disks when the operator asks for it; operators may name a runbook that is run instead
(`steprules`). Manual cleaning runs the client's own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.services.baremetal.nodes import history_store
from ingot.services.baremetal.orders import CleanOrder
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import proofs, steps
from ingot.services.baremetal.workflows.agentwork import agent_steps
from ingot.services.baremetal.workflows.caching import BIOS, FIRMWARE, read_settings
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.services.baremetal.workflows.requested_steps import cleaning_runbook
from ingot.services.baremetal.workflows.stepping import (
    Steps,
    completed,
    needs_agent,
    offered_by_driver,
    ordered,
)

Step = dict[str, Any]


async def clean(task: NodeTask, order: CleanOrder) -> None:
    """manageable -> cleaning -> clean wait -> cleaning -> available (or manageable)."""
    if order.steps is None:
        await clean_automatically(task)
    else:
        await _clean_manually(task, order.steps, order.disable_ramdisk)
    await read_settings(task, BIOS, FIRMWARE)


def cleaned(task: NodeTask, conn: sa.Connection) -> None:
    """In the commit that ends the operation: where to is the target's and the retired flag's matter."""
    here = history_store.node_state(conn, task.uuid)
    manual = getattr(task.op.input, "steps", None) is not None
    event = "manage" if manual or here.retired else "done"
    task.finish(conn, event, "Cleaned.", here, clean_step={})


async def clean_automatically(task: NodeTask) -> None:
    """All steps with a priority, highest first."""
    node = await task.node()
    wanted = task.deps.automated_clean if node.automated_clean is None else node.automated_clean
    if not wanted:
        await proofs.prove_controller(task)
        return
    runbook = await cleaning_runbook(task, node)
    if runbook is not None:
        await _clean_manually(task, runbook["steps"], runbook["disable_ramdisk"])
        return
    outside = [
        step for step in offered_by_driver(task, node, "clean") if step["interface"] != "deploy"
    ]
    if not _uses_agent(task, node):
        await proofs.prove_controller(task)
        chosen = ordered(_wanted(task, outside))
        await Steps(task, "clean", agent=False).run(chosen, outside)
        return
    runner = Steps(task, "clean", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(task, "clean", again)
        await runner.run(ordered(_wanted(task, [*offered, *outside])), outside, again)

    await steps.with_agent(task, work)
    await steps.leave_agent(task)


async def _clean_manually(task: NodeTask, wanted: Sequence[Step], no_ramdisk: bool) -> None:
    node = await task.node()
    outside = offered_by_driver(task, node, "clean")
    in_band = [step for step in wanted if needs_agent(step, outside)]
    if no_ramdisk or not in_band or not _uses_agent(task, node):
        await proofs.prove_controller(task)
        chosen = completed(wanted, (), outside, "clean")
        await Steps(task, "clean", agent=False).run(chosen, outside)
        return
    runner = Steps(task, "clean", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(task, "clean", again)
        await runner.run(completed(wanted, offered, outside, "clean"), outside, again)

    await steps.with_agent(task, work)
    await steps.leave_agent(task)


def _wanted(task: NodeTask, offered: Sequence[Step]) -> list[Step]:
    """What automated cleaning runs of the steps that are offered."""
    rules = task.deps.step_rules

    def runs(step: Step) -> bool:
        if step["step"] == "erase_devices" and rules.ranked(step) is step:
            return task.deps.clean_whole_disks
        return int(rules.ranked(step).get("priority") or 0) > 0

    return [rules.ranked(step) for step in rules.allowed("clean", list(offered)) if runs(step)]


def _uses_agent(task: NodeTask, node: Node) -> bool:
    return task.deps.registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent
