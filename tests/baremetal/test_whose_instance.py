"""A machine is not given to somebody else with an instance on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api_support import World, project, system, world

from ingot.services.baremetal.nodes import states

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def lease(api: World, project_id: str | None) -> int:
    change = {"op": "add", "path": "/lessee", "value": project_id}
    if project_id is None:
        change = {"op": "remove", "path": "/lessee"}
    return (await api.ask("PATCH", "/v1/nodes/n1", [change])).status


@pytest.mark.parametrize("state", sorted(states.STATES))
async def test_a_lease_passes_on_only_with_an_empty_machine(api: World, state: str) -> None:
    await api.node(name="n1", owner="p1", lessee="a", instance_info={"ssh": "a's"})
    await api.force("n1", provision_state=state)
    api.become(project("member"))
    taken = state in states.OCCUPIED
    busy = state == "inspecting"  # as upstream nothing is changed then
    assert await lease(api, "b") == (409 if taken or busy else 200)
    if taken:
        assert await lease(api, "a") == 200
    # Nor by way of nobody.
    assert await lease(api, None) == (409 if busy else 200)
    assert await lease(api, "b") == (409 if taken or busy else 200)
    api.become(system())
    assert await lease(api, "b") == (409 if busy else 200)
