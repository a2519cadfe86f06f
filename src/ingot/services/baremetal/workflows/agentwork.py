"""What the agent does for us, told as steps that may be repeated after a crash.

The agent runs one long command at a time and remembers those it has run since it started. So a step that
is run again first looks whether its command is there already, and follows that one: nothing is written
or erased twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.agent.client import AgentCommand
from ingot.drivers.machine.agent.commands import Agent, PartitionIds
from ingot.drivers.machine.agent.image import DeployImage, Partitions
from ingot.drivers.machine.types import BootMode
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.nodes.derived import boot_mode
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import raidfacts
from ingot.services.baremetal.workflows.agent_retry import patiently
from ingot.services.baremetal.workflows.node_task import ImageFacts, NodeTask
from ingot.services.baremetal.workflows.partitions import partitions_of
from ingot.services.baremetal.workflows.requested_steps import remember, whole
from ingot.workflow import StepContext

#: (name of the command, kind of step, step) as the agent lists it.
Work = tuple[str, str, str]


async def write_image(
    task: NodeTask,
    ctx: StepContext,
    facts: ImageFacts,
    drive: str | None,
    partitions: Partitions | None = None,
) -> dict[str, Any]:
    """Write the image to the root disk, and the config drive behind it. Minutes long."""
    node = await task.node()
    image = DeployImage(
        id=facts.id.rsplit("/", 1)[-1] or "image",
        urls=(facts.url,),
        disk_format=facts.disk_format,
        os_hash_algo=facts.hash_algo,
        os_hash_value=facts.hash_value,
        container_format=facts.container_format,
        boot_mode=str(_mode(node)),
        node_id=node.uuid,
        partitions=partitions,
        proxies=_proxies(node),
        no_proxy=str(node.driver_info.get("image_no_proxy") or ""),
    )
    work = ("deploy.execute_deploy_step", "deploy", "write_image")
    command = await _begin(task, ctx, work, lambda agent: agent.write_image(image, drive))
    await _follow(task, ctx, command, facts)
    return {"command": command.id, "image": facts.id, "bytes": facts.size}


def _proxies(node: Node) -> tuple[tuple[str, str], ...]:
    """Proxies for the agent's downloads, as (scheme, URL)."""
    named = (
        (scheme, node.driver_info.get(f"image_{scheme}_proxy")) for scheme in ("http", "https")
    )
    return tuple((scheme, str(url)) for scheme, url in named if url)


async def install_boot_loader(task: NodeTask, key: str | None = None) -> None:
    """UEFI: a boot entry for what was written. BIOS whole-disk images carry their own loader.

    The image of a file system has none yet: the agent installs the image's own, in the image.
    """
    node = await task.node()
    in_partition = partitions_of(node) is not None
    mode = _mode(node)
    if mode is not BootMode.UEFI and not in_partition:
        return

    async def install(ctx: StepContext) -> None:
        ids = PartitionIds()
        if in_partition:

            async def ask() -> PartitionIds:
                return await (await task.agent()).partition_ids()

            ids = await patiently(task, ctx, ask)
        work = ("image.install_bootloader", "", "")
        command = await _begin(
            task, ctx, work, lambda agent: agent.install_bootloader(ids, str(mode))
        )
        await _follow(task, ctx, command, None)

    await task.op.step("install the boot loader", install, key=key, deadline=900, min_deadline=180)


async def agent_steps(task: NodeTask, kind: str, key: str | None = None) -> list[dict[str, Any]]:
    """The steps of a kind that the agent offers on this machine."""

    async def ask(ctx: StepContext) -> list[dict[str, Any]]:
        async def get() -> list[dict[str, Any]]:
            return [dict(step) for step in (await (await task.agent()).get_steps(kind)).steps]

        return await patiently(task, ctx, get)

    return await task.agent_step(
        f"ask for the {kind} steps",
        ask,
        key=key,
        commit=lambda conn, steps: remember(task, kind, conn, steps),
    )


async def run_agent_step(task: NodeTask, kind: str, step: dict[str, Any], key: str) -> None:
    """One in-band step, followed to its end; the node is in the waiting state meanwhile."""

    async def run(ctx: StepContext) -> Any:
        work = (f"{kind}.execute_{kind}_step", kind, str(step["step"]))
        told, facts = await raidfacts.asked(task, await whole(task, step))
        command = await _begin(
            task,
            ctx,
            work,
            lambda agent: agent.execute_step(kind, told, facts=facts),
            # The same step may be asked for twice in a row: only a repeated attempt looks back.
            again=ctx.attempt > 1,
        )
        ended = await _follow(task, ctx, command, None)
        # What it gives may be long; only what RAID steps made is kept.
        return ended.get(f"{kind}_result") if step["interface"] == "raid" else None

    def over(conn: sa.Connection, result: Any) -> None:
        task.shift(conn, "resume")
        raidfacts.keep(task, conn, str(step["step"]), result)

    limit = task.deps.timing.clean_step
    await task.op.step(
        f"{kind} step",
        run,
        key=key,
        deadline=limit,
        # The same step on the same model takes alike, unless its arguments say how long.
        similar=f"{step['interface']}.{step['step']}",
        min_deadline=limit if step.get("args") else 600,
        abortable=bool(step.get("abortable")),
        commit=over,
    )


async def _begin(
    task: NodeTask,
    ctx: StepContext,
    work: Work,
    start: Callable[[Agent], Awaitable[AgentCommand]],
    again: bool = True,
) -> AgentCommand:
    """The agent's command for this work: the one that runs or has ended well already, else a new one."""

    async def begin() -> AgentCommand:
        agent = await task.agent()
        known = await agent.resume(*work) if again or ctx.attempt > 1 or tried else None
        if known is not None and known.status in ("RUNNING", "SUCCEEDED"):
            ctx.log(f"the agent {'has done' if known.done else 'does'} this already; following it")
            return known
        tried.append(True)
        return await start(agent)

    # A start whose answer was lost may have been heard: look before saying it again.
    tried: list[bool] = []
    return await patiently(task, ctx, begin)


async def _follow(
    task: NodeTask, ctx: StepContext, command: AgentCommand, facts: ImageFacts | None
) -> dict[str, Any]:
    """Poll until the command ends, telling progress; its result. An agent that falls silent is lost."""

    async def look() -> AgentCommand:
        try:
            return await (await task.agent()).get(command.id)
        except Fault as fault:
            if fault.kind is not Kind.BUSY:
                raise
            return command

    sent = facts.sent if facts is not None else None
    while not command.done:
        # Followed after a restart, bytes go by the URL of an earlier attempt: better nothing than "0 %".
        if sent is not None and facts is not None and (sent() or ctx.attempt == 1):
            await ctx.progress(sent(), facts.size)
        await ctx.clock.sleep(task.deps.timing.poll)
        command = await patiently(task, ctx, look)
    if sent is not None and facts is not None and facts.size:
        await ctx.progress(facts.size, facts.size)
    try:
        return dict(command.value())
    except Fault as fault:
        raise Fault(
            f"The agent says: {fault.text}",
            kind=Kind.REFUSED,
            next_action="Correct the cause named by the agent, then try again.",
        ) from None


def _mode(node: Node) -> BootMode:
    return boot_mode(node) or BootMode.UEFI
