"""Fast track: agents that stay up between two operations, so that the next one saves a whole boot.

Where it is on (`baremetal.fast_track`, or a node's driver_info.fast_track), inspection and cleaning leave the
machine running with its agent, its provisioning address and its boot order. The next cleaning or deploy takes
the agent over if it still answers, and proves anew that it runs on the right machine; else the machine is
started as ever. A server's firmware takes minutes for each boot that is saved.
Source: the Bare Metal API's fast track ([deploy]fast_track).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from ingot.drivers.machine.agent.client import AgentAddress
from ingot.drivers.machine.types import PowerState
from ingot.kit.db.database import when
from ingot.kit.faults import Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import plan as boot_plan
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.types import Agent, Node
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext

#: Kinds of operation that may begin with the agent of an earlier one.
TAKERS = frozenset({"clean", "deploy"})
#: What the step that stops the agent gives when it was left running.
KEPT = "left running"
#: An agent that has not called for so many seconds is not relied on.
FRESH = 300.0
#: After an inspection the agent looks itself up and calls within seconds.
FIRST_CALL = 60.0
_ANSWER = 10.0
#: One lost packet must not cost a boot.
_TRIES = 3


async def wanted(task: NodeTask) -> bool:
    node, access = await task.reach("deploy")
    return not node.retired and access.flag("fast_track", task.deps.fast_track)


async def stays(task: NodeTask, ctx: StepContext) -> bool:
    """Whether the agent is left running: it must have called, and answer."""
    if not await wanted(task):
        return False
    ends = ctx.clock.monotonic() + FIRST_CALL
    while ctx.clock.monotonic() < ends:
        if await _answers(task, (await _known(task))[1]):
            ctx.log("fast track: the agent is left running for the next operation")
            return True
        await ctx.clock.sleep(task.deps.timing.poll)
    ctx.log(f"fast track: no agent has called within {FIRST_CALL:g} s, so none is left running")
    return False


async def still_there(task: NodeTask, ctx: StepContext) -> bool:
    """Whether an agent of an earlier operation can be taken over."""
    if task.op.kind not in TAKERS or not await wanted(task):
        return False
    node, agent = await _known(task)
    lacking = _lacking(task, node, agent)
    if not lacking and not await _answers_at_last(task, ctx, agent):
        lacking = "the agent of the operation before does not answer any more"
    there = "the agent of the operation before is there, no boot is needed"
    ctx.log(f"fast track: {lacking or there}")
    return not lacking


async def _answers_at_last(task: NodeTask, ctx: StepContext, agent: Agent | None) -> bool:
    for _ in range(_TRIES - 1):
        if await _answers(task, agent):
            return True
        await ctx.clock.sleep(task.deps.timing.poll)
    return await _answers(task, agent)


def _lacking(task: NodeTask, node: Node, agent: Agent | None) -> str:
    """Why nothing is left that could be taken over, as far as the records tell; empty when something may be."""
    intent = boot_plan.intent_of(node.boot_intent)
    if intent is None or intent.boot != "agent":
        return "no operation before has left an agent running"
    if node.power_state != PowerState.ON:
        return f"the machine is not on but {node.power_state or 'in an unknown state'}"
    if not _is_fresh(task, agent):
        return f"the agent of the operation before has not called for {FRESH:g} s"
    return ""


async def _known(task: NodeTask) -> tuple[Node, Agent | None]:
    return await task.deps.db.read(
        lambda conn: (
            store.get_node(conn, task.uuid),
            agent_store.get_agent(conn, task.deps.vault, task.uuid),
        )
    )


def _is_fresh(task: NodeTask, agent: Agent | None) -> bool:
    called = when(agent.last_heartbeat) if agent is not None else None
    return called is not None and task.deps.clock.now() - called < timedelta(seconds=FRESH)


async def _answers(task: NodeTask, agent: Agent | None) -> bool:
    if agent is None or not agent.url or not agent.token:
        return False
    address = AgentAddress(agent.url, agent.token, agent.verify_ca)
    try:
        await asyncio.wait_for(task.deps.agents.status(address), _ANSWER)
    except (Fault, TimeoutError):
        return False
    return True
