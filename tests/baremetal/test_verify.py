"""How long a controller is asked, in virtual time, when somebody has just said where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from working import working

from ingot.kit.tasks.clock import VirtualClock
from ingot.services.baremetal import store
from ingot.services.baremetal.workflows import Timing
from ingot.workflow import live_operation
from ingot.workflow.testing import drive

pytestmark = pytest.mark.anyio


async def verified(folder: Path, **driver_info: str) -> tuple[dict[str, Any], float]:
    """The node after its verify, and the seconds that it took."""
    clock = VirtualClock()
    async with working(folder, clock, Timing()) as api:
        uuid = (await api.node(name="n1", driver_info=driver_info))["uuid"]

        async def over() -> bool:
            return await api.db.read(lambda conn: live_operation(conn, f"node:{uuid}")) is None

        began = clock.monotonic()
        reply = await api.ask("PUT", f"/v1/nodes/{uuid}/states/provision", {"target": "manage"})
        assert reply.status == 202, reply.json
        await drive(api.db, clock, [api.engine], over)
        node = await api.db.read(lambda conn: store.get_node(conn, uuid))
        shown = (await api.ask("GET", f"/v1/nodes/{uuid}")).json
        assert shown["provision_state"] == node.provision_state
        return shown, clock.monotonic() - began


async def test_a_controller_that_does_not_answer_is_told_of_within_half_a_minute(
    tmp_path: Path,
) -> None:
    node, took = await verified(tmp_path, fake_fail="power.get=1:unreachable")
    assert node["provision_state"] == "enroll"
    told: str = node["last_error"]
    assert told.startswith("Verify failed at step 'ask the controller': The controller was asked ")
    assert " times in " in told and "did not answer: " in told and "Check the address" in told
    assert 15 <= took <= 35


async def test_a_refused_password_is_not_tried_again(tmp_path: Path) -> None:
    node, took = await verified(tmp_path, fake_fail="power.get=1:bad_credentials")
    assert node["provision_state"] == "enroll"
    assert "Correct the user name and password" in node["last_error"]
    assert took < 2


async def test_a_busy_controller_has_all_its_time(tmp_path: Path) -> None:
    node, took = await verified(tmp_path, fake_fail="power.get=1:busy")
    assert node["provision_state"] == "enroll"
    assert "did not succeed within 3 min" in node["last_error"]
    assert 150 <= took <= 190
