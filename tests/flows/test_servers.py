"""Servers over simulated machines: ordered, used, broken and deleted through the Compute API."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from ingot.services.baremetal.boot.configdrive import build
from ingot.services.compute import ComputeSettings
from tests import postgres
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio


def drive(packed: bytes, name: str) -> bytes:
    """A file of a config drive."""
    disc: Any = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(gzip.decompress(base64.b64decode(packed))))
    out = io.BytesIO()
    disc.get_file_from_iso_fp(out, joliet_path=f"/openstack/latest/{name}")
    return out.getvalue()


async def documents(here: Cloud, node: str) -> dict[str, Any]:
    """What was sealed for the machine, read as the agent's drive would be."""
    from ingot.services.baremetal import store

    sealed = await here.db.read(
        lambda conn: store.read_secret(conn, here.baremetal.ctx.vault, node, "configdrive")
    )
    packed = build(sealed)
    names = ("meta_data.json", "network_data.json")
    found = {name: json.loads(drive(packed, name)) for name in names}
    return {**found, "user_data": drive(packed, "user_data")}


async def test_from_order_to_gone(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol()
        flavor = await here.flavor()
        script = b"#!/bin/sh\necho hello\n"
        uuid = await here.boot(
            flavor, "Web One", user_data=base64.b64encode(script).decode(), metadata={"role": "web"}
        )
        server = await here.server_is(uuid, "ACTIVE")
        (address,) = server["addresses"]["provider"]
        (port,) = await here.db.read(lambda conn: here.baremetal.ports_of(conn, node))
        assert address["OS-EXT-IPS-MAC:mac_addr"] == port.address
        told = await documents(here, node)
        meta, net = told["meta_data.json"], told["network_data.json"]
        assert meta["uuid"] == uuid and meta["hostname"] == "web-one"
        assert meta["meta"] == {"role": "web"} and told["user_data"] == script
        assert net["links"][0]["ethernet_mac_address"] == port.address
        assert [node] == await here.db.read(
            lambda conn: [n.uuid for n in [here.baremetal.by_instance(conn, uuid)] if n]
        )
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.server_is(uuid, "gone")
        assert not await here.db.read(lambda conn: here.networks.ports_of_device(conn, uuid))
        await here.node_is(node, "available")
        assert await here.claimed() == []


async def test_no_machine_fits(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        await here.enrol()
        await here.flavor("huge", resources__CUSTOM_HUGE="1")
        await here.flavor("gpu", resources__CUSTOM_BAREMETAL="1", trait__CUSTOM_GPU="required")
        flavors = {f["name"]: f["id"] for f in (await here.get("/flavors"))["flavors"]}
        for name, why in (
            ("huge", "2 another resource class than CUSTOM_HUGE"),
            ("gpu", "2 without trait CUSTOM_GPU"),
        ):
            uuid = await here.boot(flavors[name])
            while True:
                server = (await here.get(f"/servers/{uuid}"))["server"]
                if server["status"] != "BUILD":
                    break
                await asyncio.sleep(0.02)
            assert server["status"] == "ERROR" and server["fault"]["code"] == 500
            assert server["fault"]["message"].startswith("No valid host was found.")
            assert why in server["fault"]["message"]
            assert await here.claimed() == []
            await here.call("DELETE", f"/servers/{uuid}", status=204)
            await here.server_is(uuid, "gone")


async def error_of(here: Cloud, uuid: str, deadline: float = 60) -> dict[str, Any]:
    """The fault of a server that ends in ERROR."""
    async with asyncio.timeout(deadline):
        while True:
            server = (await here.get(f"/servers/{uuid}"))["server"]
            assert server["status"] in ("BUILD", "ERROR"), server["status"]
            if server["status"] == "ERROR":
                return server["fault"]
            await asyncio.sleep(0.03)


async def test_a_machine_that_fails_is_replaced(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        nodes = await here.enrol()
        first = (await here.node(nodes[0])).name
        here.fleet.inject(first, {"disk_write_errors": -1})
        uuid = await here.boot(await here.flavor())
        server = await here.server_is(uuid, "ACTIVE")
        assert server["OS-EXT-SRV-ATTR:hypervisor_hostname"] == nodes[1]
        story = await here.story(f"server:{uuid}")
        assert "wait for the deploy [1]: done" in story and "find a machine [2]: done" in story
        await here.node_is(nodes[0], "available")
        assert await here.claimed() == [(await here.node(nodes[1])).name]
        (address,) = server["addresses"]["provider"]
        (port,) = await here.db.read(lambda conn: here.baremetal.ports_of(conn, nodes[1]))
        assert address["OS-EXT-IPS-MAC:mac_addr"] == port.address


async def test_all_machines_fail(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        nodes = await here.enrol()
        for machine in here.fleet.machines:
            here.fleet.inject(machine, {"disk_write_errors": -1})
        uuid = await here.boot(await here.flavor())
        fault = await error_of(here, uuid)
        assert "write the image" in fault["message"]
        assert "no other machine to try" in fault["message"]
        for node in nodes:
            await here.node_is(node, "available")
        assert await here.claimed() == []
        assert not await here.db.read(lambda conn: here.networks.ports_of_device(conn, uuid))
        _, body, _ = await here.call(
            "POST", f"/servers/{uuid}/action", {"reboot": {"type": "HARD"}}
        )
        assert "conflictingRequest" in body


async def test_only_so_many_machines_are_tried(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2, settings=ComputeSettings(attempts=1)) as here:
        await here.enrol()
        for machine in here.fleet.machines:
            here.fleet.inject(machine, {"disk_write_errors": -1})
        fault = await error_of(here, await here.boot(await here.flavor()))
        assert "Exceeded maximum number of retries" in fault["message"]
        assert await here.claimed() == []


async def test_the_images_fault_is_not_tried_again(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        await here.enrol()
        flavor = await here.flavor()
        await here.dispatcher.kill()
        uuid = await here.boot(flavor)
        url = f"{here.url}/image/v2/images/{here.image_id}"
        headers = {"X-Auth-Token": await here.token("admin")}
        async with here.session.delete(url, headers=headers) as reply:
            assert reply.status == 204
        await here.restart()
        fault = await error_of(here, uuid)
        assert "No image found" in fault["message"] and await here.claimed() == []


@pytest.mark.parametrize("after", [0.0, 0.3, 1.0])
async def test_delete_during_the_build(tmp_path: Path, after: float) -> None:
    async with cloud(tmp_path, 1, speed=100) as here:
        (node,) = await here.enrol()
        uuid = await here.boot(await here.flavor())
        await asyncio.sleep(after)  # anywhere in the build will do
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.server_is(uuid, "gone", deadline=60)
        await here.node_is(node, "available", deadline=60)
        assert await here.claimed() == []
        assert not await here.db.read(lambda conn: here.networks.ports_of_device(conn, uuid))


async def test_kill_in_the_middle(tmp_path: Path) -> None:
    # The system may not be up yet when it is told to stop: then it is switched off, soon.
    async with cloud(tmp_path, 1, speed=100, settings=ComputeSettings(soft_seconds=2)) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor())
        for _ in range(4):
            await asyncio.sleep(0.5)  # anywhere in the build will do
            await here.restart()
        await here.server_is(uuid, "ACTIVE", deadline=80)
        (machine,) = here.fleet.machines.values()
        acts = [act.act for act in machine.destructive_acts]
        assert acts.count("write_image") <= 2
        for action, status in (({"os-stop": None}, "SHUTOFF"), ({"os-start": None}, "ACTIVE")):
            await here.call("POST", f"/servers/{uuid}/action", action, status=202)
            await here.restart()
            await here.server_is(uuid, status)
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.restart()
        await here.server_is(uuid, "gone", deadline=60)


async def test_ports_brought_and_none(tmp_path: Path) -> None:
    async with cloud(tmp_path, 2) as here:
        await here.enrol()
        flavor = await here.flavor()
        project = here.made.admin_project_id
        port = await here.db.write(
            lambda conn: here.networks.create_port(
                conn, network_id=here.network_id, project_id=project
            )
        )
        mine = await here.boot(flavor, networks=[{"port": port.id}])
        order = {"name": "n", "flavorRef": flavor, "imageRef": here.image_id, "networks": "none"}
        made = await here.post("/servers", {"server": order}, version="2.37", status=202)
        bare = made["server"]["id"]
        server = await here.server_is(mine, "ACTIVE")
        assert server["addresses"]["provider"][0]["addr"] == port.fixed_ips[0].ip_address
        assert (await here.server_is(bare, "ACTIVE"))["addresses"] == {}
        order["networks"] = [{"port": port.id}]
        await here.post("/servers", {"server": order}, version="2.37", status=409)
        await here.call("DELETE", f"/servers/{mine}", status=204)
        await here.server_is(mine, "gone")
        left = await here.db.read(lambda conn: here.networks.get_port(conn, port.id))
        assert not left.bound and left.device_id == ""


async def test_the_console_is_kept(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1, protocols=("ipmi",)) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor())
        await here.server_is(uuid, "ACTIVE")
        body = {"os-getConsoleOutput": {"length": 50}}
        async with asyncio.timeout(30):
            while True:
                status, told, _ = await here.call("POST", f"/servers/{uuid}/action", body)
                if status == 200 and told["output"].strip():
                    break
                await here.call("POST", f"/servers/{uuid}/action", {"reboot": {"type": "HARD"}})
                await asyncio.sleep(0.3)
        await here.server_is(uuid, "ACTIVE")
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.server_is(uuid, "gone")


async def test_a_console_that_cannot_be_kept(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1, protocols=("redfish",)) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor())
        await here.server_is(uuid, "ACTIVE")
        body = {"os-getConsoleOutput": {}}
        _, told, _ = await here.call("POST", f"/servers/{uuid}/action", body, status=501)
        assert "not supported" in told["notImplemented"]["message"]


@pytest.mark.postgres
async def test_the_same_on_postgresql(tmp_path: Path) -> None:
    if (why := postgres.missing()) is not None:
        pytest.skip(why)
    with postgres.server() as server:
        async with cloud(tmp_path, 2, database=server.create()) as here:
            nodes = await here.enrol()
            here.fleet.inject((await here.node(nodes[0])).name, {"disk_write_errors": -1})
            flavor = await here.flavor()
            uuid = await here.boot(flavor, metadata={"a": "b"})
            await here.server_is(uuid, "ACTIVE", deadline=80)
            for query in ("", "&status=ACTIVE", "&locked=false", "&sort_key=launched_at"):
                found = await here.get(f"/servers/detail?name=one{query}", version="2.96")
                assert [one["id"] for one in found["servers"]] == [uuid]
            await here.call("DELETE", f"/servers/{uuid}", status=204)
            await here.server_is(uuid, "gone")
            for node in nodes:
                await here.node_is(node, "available")
