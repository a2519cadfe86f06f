"""Clean: give a machine back without its last user's data.

Automated cleaning erases the metadata of all disks (partition tables, file system and RAID headers) by
default, and the whole disks when the operator asks for it. Manual cleaning runs the client's own steps.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import proofs, steps
from ingot.baremetal.workflows.agentwork import agent_steps, run_agent_step
from ingot.baremetal.workflows.driverwork import run_driver_step
from ingot.baremetal.workflows.orders import CleanOrder
from ingot.baremetal.workflows.room import Case
from ingot.kit.faults import Invalid

#: Capabilities whose steps run out of band, by the driver.
_OUT_OF_BAND = ("raid", "bios", "firmware")


async def clean(case: Case, order: CleanOrder) -> None:
    """manageable -> cleaning -> clean wait -> cleaning -> available (or manageable)."""
    if order.steps is None:
        await clean_automatically(case)
    else:
        await _clean_manually(case, order.steps, order.disable_ramdisk)


def cleaned(case: Case, conn: sa.Connection) -> None:
    """In the commit that ends the operation: where to is the target's and the retired flag's matter."""
    node = store.get_node(conn, case.uuid)
    case.show_step(conn, "clean_step", None)
    manual = getattr(case.op.input, "steps", None) is not None
    case.note(conn, "Cleaned.")
    case.finish(conn, "manage" if manual or node.retired else "done")


async def clean_automatically(case: Case) -> None:
    """All steps with a priority, highest first."""
    node = await case.node()
    if node.automated_clean is False or not _uses_agent(case, node):
        await proofs.prove_controller(case)
        return

    async def work(again: str | None) -> None:
        offered = await agent_steps(case, "clean", again)
        chosen = [step for step in offered if _wanted(case, step)]
        await _run(case, sorted(chosen, key=lambda step: -step["priority"]), again)

    await steps.with_agent(case, work)
    await _leave(case)


async def _clean_manually(case: Case, wanted: list[dict[str, Any]], no_ramdisk: bool) -> None:
    node = await case.node()
    in_band = [step for step in wanted if step["interface"] not in _OUT_OF_BAND]
    if not in_band or no_ramdisk or not _uses_agent(case, node):
        await proofs.prove_controller(case)
        await _run(case, wanted)
        return
    done: set[int] = set()

    async def work(again: str | None) -> None:
        offered = await agent_steps(case, "clean", again)
        await _run(case, [_known(step, offered) for step in wanted], again, done)

    await steps.with_agent(case, work)
    await _leave(case)


def _wanted(case: Case, step: dict[str, Any]) -> bool:
    """Whether automated cleaning runs a step that the agent offers."""
    if step["step"] == "erase_devices":
        return case.room.clean_whole_disks
    return int(step.get("priority") or 0) > 0


def _known(wanted: dict[str, Any], offered: list[dict[str, Any]]) -> dict[str, Any]:
    """A client's step with what the agent says of it; refused when nobody offers it."""
    if wanted["interface"] in _OUT_OF_BAND:
        return wanted
    for step in offered:
        if (step["interface"], step["step"]) == (wanted["interface"], wanted["step"]):
            return {**step, "args": wanted.get("args") or {}}
    names = ", ".join(sorted({f"{s['interface']}.{s['step']}" for s in offered}))
    raise Invalid(
        f"Nobody offers the clean step {wanted['interface']}.{wanted['step']} on this machine.",
        next_action=f"Offered are: {names}.",
    )


async def _run(
    case: Case,
    chosen: list[dict[str, Any]],
    again: str | None = None,
    done: set[int] | None = None,
) -> None:
    """Run the steps in their order. done: numbers of those that an earlier boot has ended well."""
    finished = set[int]() if done is None else done
    for number, step in enumerate(chosen, 1):
        if number in finished:
            continue
        key = f"{number} {step['interface']}.{step['step']}" + (f" {again}" if again else "")
        await case.op.commit(
            "show the clean step",
            lambda conn, shown=step: case.show_step(conn, "clean_step", shown),
            key=key,
        )
        if step["interface"] in _OUT_OF_BAND:
            await run_driver_step(case, "clean", step, key)
        else:
            await run_agent_step(case, "clean", step, key)
        finished.add(number)


async def _leave(case: Case) -> None:
    await steps.stop_agent(case)
    await case.op.commit(
        "detach the provisioning network", lambda conn: steps.unplug_provisioning(case, conn)
    )


def _uses_agent(case: Case, node: Node) -> bool:
    return case.room.registry.deploy(node.driver, node.interfaces.get("deploy")).uses_agent
