"""A server whose machine was taken from it: it says so, and has no hand on the machine any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingot.kit.faults import Conflict
from ingot.services.baremetal import Baremetal, PatchOperation
from ingot.services.compute import store
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio

ACTIONS: list[dict[str, Any]] = [
    {"os-getConsoleOutput": {}},
    {"reboot": {"type": "HARD"}},
    {"reboot": {"type": "SOFT"}},
    {"os-stop": None},
    {"rescue": {}},
]


async def undeploy(here: Cloud, node: str) -> None:
    """As an operator does by the Bare Metal API."""
    await here.db.write(lambda conn: here.baremetal.provision(conn, node, "deleted"))


async def maintenance(here: Cloud, node: str, on: bool) -> None:
    await here.db.write(lambda conn: here.baremetal.set_maintenance(conn, node, on))


async def two_tenants(here: Cloud) -> tuple[str, str, str]:
    """A's server, whose machine an operator took; the machine; B's server on it."""
    (node,) = await here.enrol_imaginary(1)
    flavor = await here.flavor()
    first = await here.boot(flavor, "a", who="demo")
    await here.server_is(first, "ACTIVE")
    with pytest.raises(Conflict, match=f"is the machine of server {first}"):
        await undeploy(here, node)
    assert (await here.node(node)).instance_uuid == first
    await maintenance(here, node, True)
    await undeploy(here, node)
    await here.node_is(node, "available")
    await maintenance(here, node, False)
    second = await here.boot(flavor, "b")
    await here.server_is(second, "ACTIVE")
    return first, node, second


async def test_a_stale_server_is_in_error_and_reaches_nothing(
    tmp_path: Path, database: str
) -> None:
    async with cloud(tmp_path, 1, database=database) as here:
        first, node, second = await two_tenants(here)
        async with asyncio.timeout(20):
            while True:
                stale = (await here.get(f"/servers/{first}", who="demo"))["server"]
                if stale["status"] == "ERROR":
                    break
                await asyncio.sleep(0.1)
        assert "taken from the server" in stale["fault"]["message"]
        assert stale["addresses"] == {}
        await refused(here, first, second, node)

        # The record itself is old, as it may be for the seconds until the loop has come by.
        await here.db.write(
            lambda conn: store.shift(
                conn, first, node_uuid=node, vm_state="active", task_state=None
            )
        )
        await refused(here, first, second, node)
        # A step of an operation that was accepted before proves it again.
        with pytest.raises(Conflict, match="not the machine of"):
            await here.db.write(
                lambda conn: here.compute.machine(conn, here.compute.get(conn, first))
            )
        await here.call("DELETE", f"/servers/{first}", who="demo", status=204)
        await here.server_is(first, "gone")
        theirs = await here.server_is(second, "ACTIVE")
        assert theirs["OS-EXT-SRV-ATTR:hypervisor_hostname"] == node
        assert (await here.node(node)).instance_uuid == second


async def refused(here: Cloud, first: str, second: str, node: str) -> None:
    """Every act of A's server, and B's machine as it was."""
    acts = [*ACTIONS, {"rebuild": {"imageRef": here.image_id}}]
    for act in acts:
        status, body, _ = await here.call("POST", f"/servers/{first}/action", act, who="demo")
        assert status == 409, (act, status, body)
    order = {"remote_console": {"protocol": "serial", "type": "serial"}}
    status, body, _ = await here.call(
        "POST", f"/servers/{first}/remote-consoles", order, who="demo", version="2.96"
    )
    assert status == 409, (status, body)
    found = await here.node(node)
    assert (found.instance_uuid, found.provision_state) == (second, "active")
    assert found.instance_info["display_name"] == "b" and found.power_state == "power on"


async def test_a_server_may_end_with_its_machine(tmp_path: Path) -> None:
    """By the site's option the Bare Metal API takes machines from servers, and these are deleted."""
    async with cloud(tmp_path, 1, undeploy_under_server="end") as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = await here.boot(await here.flavor(), who="demo")
        await here.server_is(uuid, "ACTIVE")
        await undeploy(here, node)
        await here.server_is(uuid, "gone", deadline=30)
        await here.node_is(node, "available")


async def test_the_instance_of_a_server_is_not_patched_away(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = await here.boot(await here.flavor(), who="demo")
        await here.server_is(uuid, "ACTIVE")
        change = PatchOperation(op="remove", path="/instance_uuid")
        with pytest.raises(Conflict, match="is the machine of server"):
            await here.db.write(lambda conn: here.baremetal.patch(conn, node, [change]))
        assert (await here.node(node)).instance_uuid == uuid
        # Its own deletion is nobody's business but the server's.
        await here.call("DELETE", f"/servers/{uuid}", who="demo", status=204)
        await here.server_is(uuid, "gone")
        await here.node_is(node, "available")


def test_nothing_of_a_server_goes_past_the_proof() -> None:
    """Compute acts on machines by `hold` alone: no verb by a node's uuid is in its code."""
    verbs = ("power", "rebuild", "rescue", "unrescue", "undeploy", "deploy", "attach_vif")
    folder = Path(__file__).parents[2] / "src/ingot/services/compute"
    assert all(hasattr(Baremetal, verb) for verb in verbs)
    for file in folder.rglob("*.py"):
        for verb in (*verbs, "detach_vif", "prepare_instance", "provision", "patch"):
            assert f"baremetal.{verb}(" not in file.read_text(), (file.name, verb)
