"""What a client waits for at a controller holds the machine meanwhile: nothing begins in the middle of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import Reply
from working import Working, working

from ingot.kit.faults import TimedOut
from ingot.kit.tasks import fencing
from ingot.services.baremetal import BaremetalSettings, store
from ingot.services.baremetal.context import NOBODY
from ingot.services.baremetal.nodes import acts
from ingot.workflow import live_operation, operations

pytestmark = pytest.mark.anyio

#: Act -> method, path below the node, body, and what it is at the imaginary controller.
ACTS: dict[str, tuple[str, str, Any, str]] = {
    "boot device": (
        "PUT",
        "management/boot_device",
        {"boot_device": "cdrom", "persistent": True},
        "management.set_boot_device",
    ),
    "nmi": ("PUT", "management/inject_nmi", {}, "management.inject_nmi"),
    "indicator": (
        "PUT",
        "management/indicators/led@system",
        {"state": "on"},
        "management.set_indicator",
    ),
    "vendor method": (
        "POST",
        "vendor_passthru/third_method_sync",
        {"bar": "meow"},
        "vendor.third_method_sync",
    ),
    "boot mode": ("PUT", "states/boot_mode", {"target": "bios"}, "management.set_boot_mode"),
    "secure boot": (
        "PUT",
        "states/secure_boot",
        {"target": True},
        "management.set_secure_boot",
    ),
    "virtual media": (
        "POST",
        "vmedia",
        {"device_type": "cdrom", "image_url": "http://h/i"},
        "management.attach_media",
    ),
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Working]:
    async with working(tmp_path) as made:
        yield made


async def slow(api: Working, call: str, seconds: float) -> str:
    """A node n1 whose controller takes its time for one call."""
    info = {"fake_delay": f"{call}=fixed:{seconds:g}"}
    uuid = (await api.node(name="n1", driver_info=info))["uuid"]
    await api.force("n1", provision_state="available", power_state="power off")
    return uuid


async def held(api: Working, uuid: str) -> str | None:
    """What holds the node."""
    live = await api.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
    return live.kind if live is not None else None


async def begun(api: Working, act: str) -> asyncio.Task[Reply]:
    """An act under way: its request is sent and the machine is held, or its time has come to be."""
    method, path, body, _ = ACTS[act]
    asked = asyncio.create_task(api.ask(method, f"/v1/nodes/n1/{path}", body))
    await asyncio.sleep(0.3)
    return asked


@pytest.mark.parametrize("act", ACTS)
async def test_a_deploy_does_not_begin_in_the_middle_of_an_act(api: Working, act: str) -> None:
    uuid = await slow(api, ACTS[act][3], 1.5)
    asked = await begun(api, act)
    assert await held(api, uuid) == act
    body = {"target": "active"}
    refused = await api.ask("PUT", "/v1/nodes/n1/states/provision", body)
    assert refused.status == 409 and "is locked by host" in refused.error
    assert (await api.ask("PUT", "/v1/nodes/n1/states/power", {"target": "power on"})).status == 409
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 409
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (shown["provision_state"], shown["reservation"]) == ("available", "host-1")
    assert (await asked).status in (200, 202, 204)
    after = await api.rest("n1")
    assert (after["reservation"], after["last_error"]) == (None, None)
    assert (await api.verb("n1", "active"))["provision_state"] == "active"


async def test_who_asks_for_a_second_act_waits_for_the_first(tmp_path: Path) -> None:
    async with working(tmp_path, settings=BaremetalSettings(lock_wait=5)) as api:
        uuid = await slow(api, "management.inject_nmi", 0.6)
        first = await begun(api, "nmi")
        second = await begun(api, "boot device")
        power = await api.ask("PUT", "/v1/nodes/n1/states/power", {"target": "power on"})
        assert [(await first).status, (await second).status, power.status] == [204, 204, 202]
        assert (await api.rest("n1"))["power_state"] == "power on"
        assert api.machine(uuid).nmis == 1


async def test_on_postgresql_ten_acts_at_once_are_done_one_after_the_other(
    tmp_path: Path, postgres_url: str
) -> None:
    options: dict[str, Any] = {"settings": BaremetalSettings(lock_wait=30), "url": postgres_url}
    async with working(tmp_path, **options) as api:
        uuid = await slow(api, "management.inject_nmi", 0.05)
        path = "/v1/nodes/n1/management/inject_nmi"
        replies = await asyncio.gather(*(api.ask("PUT", path, {}) for _ in range(10)))
        assert [reply.status for reply in replies] == [204] * 10
        assert api.machine(uuid).nmis == 10
        rows = await api.db.read(lambda conn: operations(conn, f"node:{uuid}"))
        spans = sorted((row.created_at, row.ended_at or "") for row in rows)
        assert len(spans) == 10
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


async def test_a_refusal_leaves_the_node_free_and_its_last_error_alone(api: Working) -> None:
    info = {"fake_fail": "management.inject_nmi=1:refused"}
    uuid = (await api.node(name="n1", driver_info=info))["uuid"]
    await api.force("n1", last_error="of before")
    refused = await api.ask("PUT", "/v1/nodes/n1/management/inject_nmi", {})
    assert refused.status in (400, 409, 500, 502, 503) and refused.error
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (shown["reservation"], shown["last_error"]) == (None, "of before")
    assert await held(api, uuid) is None


async def test_a_client_that_leaves_frees_the_node(api: Working) -> None:
    uuid = await slow(api, "management.inject_nmi", 30)
    asked = await begun(api, "nmi")
    assert await held(api, uuid) == "nmi"
    asked.cancel()
    async with asyncio.timeout(10):
        while await held(api, uuid) is not None:
            await asyncio.sleep(0.01)
    assert (await api.ask("GET", "/v1/nodes/n1")).json["reservation"] is None


async def test_what_a_dead_process_held_is_given_back_when_its_time_is_over(tmp_path: Path) -> None:
    """Nobody knows whether the controller did it, and the node's last_error says so."""
    async with working(tmp_path, settings=BaremetalSettings(act_seconds=1)) as api:
        uuid = (await api.node(name="n1"))["uuid"]
        ctx = api.baremetal.ctx
        await api.db.write(
            lambda conn: acts.hold(ctx, conn, store.get_node(conn, uuid), "nmi", NOBODY)
        )
        assert await held(api, uuid) == "nmi"
        after = await api.rest("n1")
        assert after["reservation"] is None
        assert "is not known" in after["last_error"]
        assert api.machine(uuid).nmis == 0


async def test_a_process_that_was_stopped_meanwhile_sends_nothing_any_more(tmp_path: Path) -> None:
    async with working(tmp_path, settings=BaremetalSettings(act_seconds=0.2)) as api:
        await api.node(name="n1")
        ctx = api.baremetal.ctx

        def begin(conn: Any) -> acts.Held:
            return acts.hold(ctx, conn, store.get_node(conn, "n1"), "nmi", NOBODY)

        held = await api.db.write(begin)
        with pytest.raises(TimedOut, match="within"):
            async with acts.under(ctx, held):
                fencing.check()
                time.sleep(0.3)  # noqa: ASYNC251 -- as a SIGSTOP would
                fencing.check()
        fencing.check()


async def test_a_controller_that_is_too_slow_is_told_and_frees_the_node(tmp_path: Path) -> None:
    async with working(tmp_path, settings=BaremetalSettings(act_seconds=0.3)) as api:
        uuid = await slow(api, "management.inject_nmi", 30)
        reply = await api.ask("PUT", "/v1/nodes/n1/management/inject_nmi", {})
        assert reply.status == 503 and "is not known" in reply.error
        assert await held(api, uuid) is None


async def test_the_end_of_a_server_waits_for_an_act_instead_of_breaking_it_off(
    api: Working,
) -> None:
    from ingot import workflow

    uuid = await slow(api, "management.inject_nmi", 1.0)
    asked = await begun(api, "nmi")
    assert await api.db.write(lambda conn: workflow.cancel(conn, f"node:{uuid}", "enough"))
    await asyncio.sleep(0.3)
    assert await held(api, uuid) == "nmi"
    assert (await asked).status == 204
    assert await held(api, uuid) is None
