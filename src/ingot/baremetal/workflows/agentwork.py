"""What the agent does for us, told as steps that may be repeated after a crash.

The agent runs one long command at a time and remembers those it has run since it started. So a step that
is run again first looks whether its command is there already, and follows that one: nothing is written
or erased twice.
"""

from __future__ import annotations

from typing import Any

from ingot.baremetal.types import Node
from ingot.baremetal.workflows.room import Case, ImageFacts
from ingot.baremetal.workflows.steps import boot_mode
from ingot.drivers.agent.client import AgentCommand
from ingot.drivers.agent.commands import Agent, PartitionIds
from ingot.drivers.agent.image import DeployImage
from ingot.drivers.types import BootMode
from ingot.kit.faults import Failed, Fault, Kind
from ingot.workflow import StepContext


async def write_image(
    case: Case, ctx: StepContext, facts: ImageFacts, drive: str | None
) -> dict[str, Any]:
    """Write the image to the root disk, and the config drive behind it. Minutes long."""
    node, agent = await case.node(), await case.agent()
    known = await _earlier(agent, "deploy.execute_deploy_step", "deploy", "write_image")
    if known is None:
        image = DeployImage(
            id=facts.id.rsplit("/", 1)[-1] or "image",
            urls=(facts.url,),
            disk_format=facts.disk_format,
            os_hash_algo=facts.hash_algo,
            os_hash_value=facts.hash_value,
            container_format=facts.container_format,
            boot_mode=str(_mode(node)),
            node_id=node.uuid,
        )
        known = await agent.write_image(image, drive)
    else:
        ctx.log(f"the agent already {'wrote' if known.done else 'writes'} the image; following it")
    await _follow(case, ctx, agent, known, facts)
    return {"command": known.id, "image": facts.id, "bytes": facts.size}


async def install_boot_loader(case: Case) -> None:
    """UEFI: a boot entry for what was written. BIOS whole-disk images carry their own loader."""
    node = await case.node()
    if _mode(node) is not BootMode.UEFI:
        return

    async def install(ctx: StepContext) -> None:
        agent = await case.agent()
        known = await _earlier(agent, "image.install_bootloader", "", "")
        command = known or await agent.install_bootloader(PartitionIds(), "uefi")
        await _follow(case, ctx, agent, command, None)

    await case.op.step("install the boot loader", install, deadline=900)


async def agent_steps(case: Case, kind: str) -> list[dict[str, Any]]:
    """The steps of a kind that the agent offers on this machine."""

    async def ask(_ctx: StepContext) -> list[dict[str, Any]]:
        agent = await case.agent()
        return [dict(step) for step in (await agent.get_steps(kind)).steps]

    return await case.op.step(f"ask for the {kind} steps", ask, deadline=180)


async def run_agent_step(case: Case, kind: str, step: dict[str, Any], key: str) -> None:
    """One in-band step, followed to its end."""

    async def run(ctx: StepContext) -> None:
        agent = await case.agent()
        name = f"{kind}.execute_{kind}_step"
        known = await _earlier(agent, name, kind, step["step"]) if ctx.attempt > 1 else None
        command = known or await agent.execute_step(kind, step)
        await _follow(case, ctx, agent, command, None)

    await case.op.step(
        f"{kind} step",
        run,
        key=key,
        deadline=case.room.timing.clean_step,
        abortable=bool(step.get("abortable")),
    )


async def _earlier(agent: Agent, name: str, kind: str, step: str) -> AgentCommand | None:
    """The agent's newest command when it is this very work, running or well ended."""
    known = await agent.resume(name, kind, step)
    return known if known is not None and known.status in ("RUNNING", "SUCCEEDED") else None


async def _follow(
    case: Case, ctx: StepContext, agent: Agent, command: AgentCommand, facts: ImageFacts | None
) -> None:
    """Poll until the command ends, telling progress. An agent that falls silent for long has died."""
    silent_since: float | None = None
    clock, timing = ctx.clock, case.room.timing
    while not command.done:
        if facts is not None and facts.sent is not None:
            await ctx.progress(facts.sent(), facts.size)
        await clock.sleep(timing.poll)
        try:
            command = await agent.get(command.id)
            silent_since = None
        except Fault as fault:
            if not fault.transient:
                raise
            silent_since = silent_since if silent_since is not None else clock.monotonic()
            if clock.monotonic() - silent_since > timing.agent_silence:
                raise Failed(
                    f"The agent has not answered for {timing.agent_silence:g} s: {fault.text}",
                    next_action="Look at the machine's console; it may have lost power or crashed.",
                ) from None
    if facts is not None and facts.sent is not None and facts.size:
        await ctx.progress(facts.size, facts.size)
    try:
        command.value()
    except Fault as fault:
        raise Fault(
            f"The agent says: {fault.text}",
            kind=Kind.REFUSED,
            next_action="Correct the cause named by the agent, then try again.",
        ) from None


def _mode(node: Node) -> BootMode:
    return boot_mode(node) or BootMode.UEFI
