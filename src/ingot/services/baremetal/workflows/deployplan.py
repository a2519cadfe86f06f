"""Which deploy steps are run, and in what order. Pure.

A deploy is the sum of the deploy style's own steps, what the driver and the agent offer with a priority, and
what the client (or a deploy template) asks for, which overrides both by interface and name. Priority 0
switches a step off. The borders are those of the Bare Metal API: above 100 the machine does not run the agent
yet, down to 41 it does, from 40 on the instance is made ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingot.kit.faults import Invalid
from ingot.services.baremetal.workflows.stepping import (
    RESERVED,
    completed,
    needs_agent,
    ordered,
    step_id,
)

Step = dict[str, Any]
AGENT_ON = 100
AGENT_OFF = 40


def core(step: str, priority: int) -> Step:
    """One of our own steps, which the workflow runs itself."""
    return {"interface": "deploy", "step": step, "priority": priority, "args": {}}


WRITE = "write_image"
LOADER = "prepare_instance_boot"
LEAVE = "tear_down_agent"
NETWORKS = "switch_to_tenant_network"
START = "boot_instance"
#: What the workflow does itself with the agent: (step, priority).
CORE = (core(WRITE, 80), core(LOADER, 60), core(LEAVE, 40), core(NETWORKS, 30), core(START, 20))
CORE_NAMES = frozenset(step["step"] for step in CORE)


@dataclass(frozen=True)
class Plan:
    """before: without the agent. inside: with it. after: the agent has gone."""

    before: tuple[Step, ...] = ()
    inside: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


def merge(
    own: Sequence[Step],
    offered: Sequence[Step],
    from_outside: Sequence[Step],
    wanted: Sequence[Step],
) -> list[Step]:
    """All steps with a priority, highest first. Invalid for what nobody offers, or is asked for twice."""
    asked: dict[tuple[str, str], Step] = {}
    free: list[Step] = []
    for step in wanted:
        if step["step"] in RESERVED:
            free.append({"abortable": True, **step, "priority": int(step["priority"])})
            continue
        if step_id(step) in asked:
            raise Invalid(f"The deploy step {'.'.join(step_id(step))} is asked for twice.")
        if step_id(step) == ("deploy", "deploy") and int(step["priority"]) > 0:
            raise Invalid(
                "deploy step deploy on interface deploy is a core step and cannot be overridden by user "
                "steps. It may be disabled by setting the priority to 0"
            )
        asked[step_id(step)] = {**step, "priority": int(step["priority"])}
    known = [*own, *offered]
    completed_ones = completed(list(asked.values()), known, from_outside, "deploy")
    chosen = {step_id(step): step for step in (*from_outside, *offered, *own)}
    chosen.update({step_id(step): step for step in completed_ones})
    steps = [*chosen.values(), *free]
    return ordered([step for step in steps if int(step.get("priority") or 0) > 0])


def before_agent(merged: Sequence[Step], from_outside: Sequence[Step]) -> tuple[Step, ...]:
    """What runs before the machine is taken over by the agent."""
    early = [step for step in merged if step["priority"] > AGENT_ON]
    return tuple(step for step in early if not needs_agent(step, from_outside))


def split(merged: Sequence[Step], from_outside: Sequence[Step]) -> Plan:
    """The three parts of a deploy that uses the agent."""
    before = before_agent(merged, from_outside)
    rest = [step for step in merged if step not in before]
    inside = tuple(step for step in rest if step["priority"] > AGENT_OFF)
    return Plan(before, inside, tuple(step for step in rest if step["priority"] <= AGENT_OFF))
