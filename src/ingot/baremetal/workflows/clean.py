"""Clean: give a machine back without its last user's data.

Automated cleaning erases the metadata of all disks (partition tables, file system and RAID headers) by
default, and the whole disks when the operator asks for it; operators may name a runbook that is run instead
(`steprules`). Manual cleaning runs the client's own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ingot.baremetal import history
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import proofs, steps
from ingot.baremetal.workflows.agentwork import agent_steps
from ingot.baremetal.workflows.asked import cleaning_runbook
from ingot.baremetal.workflows.caching import BIOS, FIRMWARE, read_settings
from ingot.baremetal.workflows.orders import CleanOrder
from ingot.baremetal.workflows.room import Case
from ingot.baremetal.workflows.stepping import (
    Steps,
    completed,
    needs_agent,
    offered_by_driver,
    ordered,
)

Step = dict[str, Any]


async def clean(case: Case, order: CleanOrder) -> None:
    """manageable -> cleaning -> clean wait -> cleaning -> available (or manageable)."""
    if order.steps is None:
        await clean_automatically(case)
    else:
        await _clean_manually(case, order.steps, order.disable_ramdisk)
    await read_settings(case, BIOS, FIRMWARE)


def cleaned(case: Case, conn: sa.Connection) -> None:
    """In the commit that ends the operation: where to is the target's and the retired flag's matter."""
    here = history.present(conn, case.uuid)
    manual = getattr(case.op.input, "steps", None) is not None
    event = "manage" if manual or here.retired else "done"
    case.finish(conn, event, "Cleaned.", here, clean_step={})


async def clean_automatically(case: Case) -> None:
    """All steps with a priority, highest first."""
    node = await case.node()
    wanted = case.room.automated_clean if node.automated_clean is None else node.automated_clean
    if not wanted:
        await proofs.prove_controller(case)
        return
    runbook = await cleaning_runbook(case, node)
    if runbook is not None:
        await _clean_manually(case, runbook["steps"], runbook["disable_ramdisk"])
        return
    outside = [
        step for step in offered_by_driver(case, node, "clean") if step["interface"] != "deploy"
    ]
    if not _uses_agent(case, node):
        await proofs.prove_controller(case)
        chosen = ordered(_wanted(case, outside))
        await Steps(case, "clean", agent=False).run(chosen, outside)
        return
    runner = Steps(case, "clean", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(case, "clean", again)
        await runner.run(ordered(_wanted(case, [*offered, *outside])), outside, again)

    await steps.with_agent(case, work)
    await steps.leave_agent(case)


async def _clean_manually(case: Case, wanted: Sequence[Step], no_ramdisk: bool) -> None:
    node = await case.node()
    outside = offered_by_driver(case, node, "clean")
    in_band = [step for step in wanted if needs_agent(step, outside)]
    if no_ramdisk or not in_band or not _uses_agent(case, node):
        await proofs.prove_controller(case)
        chosen = completed(wanted, (), outside, "clean")
        await Steps(case, "clean", agent=False).run(chosen, outside)
        return
    runner = Steps(case, "clean", agent=True)

    async def work(again: str | None) -> None:
        offered = await agent_steps(case, "clean", again)
        await runner.run(completed(wanted, offered, outside, "clean"), outside, again)

    await steps.with_agent(case, work)
    await steps.leave_agent(case)


def _wanted(case: Case, offered: Sequence[Step]) -> list[Step]:
    """What automated cleaning runs of the steps that are offered."""
    rules = case.room.step_rules

    def runs(step: Step) -> bool:
        if step["step"] == "erase_devices" and rules.ranked(step) is step:
            return case.room.clean_whole_disks
        return int(rules.ranked(step).get("priority") or 0) > 0

    return [rules.ranked(step) for step in rules.allowed("clean", list(offered)) if runs(step)]


def _uses_agent(case: Case, node: Node) -> bool:
    return case.room.registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent
