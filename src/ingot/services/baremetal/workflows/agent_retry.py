"""Patience with agents: how long silence is borne, and when an agent counts as lost.

A machine that writes a large image may not answer for a while; one that has lost power never will. After
`Timing.agent_silence` seconds without an answer the agent is lost. So it is at once when it has forgotten
what we know of it, because then it has started anew. A lost agent is worth one more boot (`with_agent`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ingot.drivers.machine.agent.client import CommandLost
from ingot.kit.faults import Failed, Fault, Kind
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext

T = TypeVar("T")
_LOST = "agent_lost"


async def patiently(task: NodeTask, ctx: StepContext, call: Callable[[], Awaitable[T]]) -> T:
    """The call's answer, asked for again while the agent is silent; a fault `is_lost` in the end."""
    since = ctx.clock.monotonic()
    while True:
        try:
            return await call()
        except Fault as fault:
            if isinstance(fault, CommandLost) or fault.kind is Kind.BAD_CREDENTIALS:
                raise lost(f"The agent has started anew: {fault.text}") from None
            if fault.kind is not Kind.UNREACHABLE:
                raise
            silence = task.deps.timing.agent_silence
            if ctx.clock.monotonic() - since > silence:
                raise lost(f"The agent has not answered for {silence:g} s: {fault.text}") from None
        await ctx.clock.sleep(task.deps.timing.poll)


def lost(text: str) -> Fault:
    """The agent is gone. Marked in the details, since a recorded fault comes back without its class."""
    return Failed(
        text,
        next_action="Look at the machine's console: it may have lost power, network or its agent.",
        details={_LOST: True},
    )


def is_lost(fault: Fault) -> bool:
    return bool(fault.details.get(_LOST))
