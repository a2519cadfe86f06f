"""The agent's logs, kept: a machine that failed at night is off in the morning, and its memory gone.

One archive for each operation, in a folder of this conductor; the newest of each node are kept. That logs could
not be had never changes how an operation ends.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from ingot.drivers.machine.agent.commands import Agent
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows.agent_retry import is_lost
from ingot.services.baremetal.workflows.node_task import (
    ALWAYS,
    NEVER,
    AgentLogOptions,
    NodeTask,
)
from ingot.workflow import StepContext

SECONDS = 180.0
#: How long an agent that has posted its inspection data may take for its first call: it goes on to that at once.
FIRST_CALL = 90.0


async def keep_after(task: NodeTask, fault: Fault) -> None:
    """The operation is about to fail while its agent may still be there."""
    rules = task.deps.agent_logs
    # The agent of another machine is not waited for: its owner is to know at once.
    silent = is_lost(fault) or fault.kind in (Kind.ABORTED, Kind.WRONG_MACHINE)
    if rules is not None and rules.collect != NEVER and not silent:
        await _keep(task, rules, None)


async def keep_at_end(task: NodeTask) -> None:
    """All went well and the agent is about to go."""
    rules = task.deps.agent_logs
    if rules is not None and rules.collect == ALWAYS:
        await _keep(task, rules, "at the end")


async def _keep(task: NodeTask, rules: AgentLogOptions, key: str | None) -> None:
    async def keep(ctx: StepContext) -> dict[str, Any]:
        try:
            node = await task.node()
            data = await (await _agent(task, ctx)).collect_logs()
            path = rules.folder / _name(task, node)
            await asyncio.to_thread(_write, path, data, rules.most, node.uuid)
        except (Fault, OSError) as trouble:
            text = trouble.text if isinstance(trouble, Fault) else str(trouble)
            ctx.log(f"the agent's logs are not kept: {text}")
            return {"error": text}
        ctx.log(f"the agent's logs are in {path.name}")
        return {"file": path.name, "bytes": len(data)}

    try:
        await task.op.step(
            "keep the agent's logs", keep, key=key, deadline=SECONDS, min_deadline=SECONDS
        )
    except Fault as fault:
        if fault.kind is Kind.ABORTED:
            raise


async def _agent(task: NodeTask, ctx: StepContext) -> Agent:
    """The agent, which after an inspection has not called yet."""
    patience = FIRST_CALL if task.op.kind == "inspect" else 0.0
    while True:
        try:
            return await task.agent()
        except Fault as fault:
            if fault.kind is not Kind.UNREACHABLE or patience <= 0:
                raise
        await ctx.clock.sleep(task.deps.timing.poll)
        patience -= task.deps.timing.poll


def _name(task: NodeTask, node: Node) -> str:
    """As upstream's files, with the operation in the place of the time: a repeated step writes the same one."""
    parts = (node.uuid, node.instance_uuid, task.op.kind, task.op.id)
    return "_".join(str(part).replace(" ", "-") for part in parts if part) + ".tar.gz"


def _write(path: Path, data: bytes, most: int, node: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)
    kept = sorted(path.parent.glob(f"{node}_*.tar.gz"), key=lambda file: file.stat().st_mtime)
    for old in kept[:-most]:
        old.unlink(missing_ok=True)
