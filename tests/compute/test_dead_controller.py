"""Servers on a machine whose controller is dead: what is told, and how it goes on when the controller is back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ingot.services.compute import ComputeSettings
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio


async def _settled(here: Cloud, uuid: str, deadline: float = 60) -> Any:
    """The server as soon as nothing is done to it."""
    ends = time.monotonic() + deadline
    while True:
        server = (await here.get(f"/servers/{uuid}"))["server"]
        if server["OS-EXT-STS:task_state"] is None:
            return server
        assert time.monotonic() < ends, await here.story(f"server:{uuid}")
        await asyncio.sleep(0.05)


async def _last_action(here: Cloud, uuid: str) -> Any:
    actions = (await here.get(f"/servers/{uuid}/os-instance-actions"))["instanceActions"]
    path = f"/servers/{uuid}/os-instance-actions/{actions[0]['request_id']}"
    return (await here.get(path, version="2.84"))["instanceAction"]


async def test_a_dead_controller_and_back(tmp_path: Path) -> None:
    async with cloud(
        tmp_path, 1, settings=ComputeSettings(soft_seconds=5), protocols=("redfish",)
    ) as here:
        (node,) = await here.enrol()
        uuid = await here.boot(await here.flavor())
        await here.server_is(uuid, "ACTIVE")
        name = (await here.node(node)).name
        await here.fleet.pull_plug(name)

        # It cannot be stopped: told with its cause, and not tried again by force.
        await here.call("POST", f"/servers/{uuid}/action", {"os-stop": None}, status=202)
        server = await _settled(here, uuid)
        assert server["status"] == "ACTIVE"
        action = await _last_action(here, uuid)
        assert action["action"] == "stop" and "Last cause" in action["message"]
        told = str(action["events"])
        assert "soft power off" in told and "order: power off" not in told

        # It cannot be deleted either: in ERROR, with the cause, its machine still its own.
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        server = await _settled(here, uuid)
        assert server["status"] == "ERROR"
        assert "could not let go of the server" in server["fault"]["message"]
        assert "undeploy" in server["fault"]["message"].lower()
        held = await here.node_is(node, "error")
        assert held.instance_uuid == uuid

        # The controller comes back: the same request now goes through.
        await here.fleet.plug_in(name)
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.server_is(uuid, "gone", deadline=60)
        free = await here.node_is(node, "available")
        assert free.instance_uuid is None and await here.claimed() == []
