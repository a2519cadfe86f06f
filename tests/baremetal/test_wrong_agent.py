"""That it is another machine is told at once: nobody waits for that machine's agent to collect its logs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ingot.kit.faults import Failed, Fault, Kind
from ingot.services.baremetal.workflows import agentlogs, node_task, proofs

pytestmark = pytest.mark.anyio


async def _steps_after(fault: Fault) -> list[str]:
    """Names of the steps that an inspection begins after such an end."""
    begun: list[str] = []

    async def step(name: str, *_: Any, **__: Any) -> None:
        begun.append(name)

    rules = agentlogs.AgentLogOptions(node_task.ON_FAILURE, Path("/nowhere"), 1)
    case: Any = SimpleNamespace(
        deps=SimpleNamespace(agent_logs=rules), op=SimpleNamespace(step=step, kind="inspect")
    )
    await agentlogs.keep_after(case, fault)
    return begun


async def test_another_machines_agent_is_not_waited_for() -> None:
    fault = proofs.wrong_machine("serial differs")
    assert fault.kind is Kind.WRONG_MACHINE
    assert await _steps_after(fault) == []
    assert await _steps_after(Failed("anything else")) == ["keep the agent's logs"]
