"""Stock clients on loopback, with the real engine and the real workflows on imaginary machines."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest
import uvicorn
from api_support import World, world
from working import NoImages

from ingot.kit.tasks.clock import SystemClock
from ingot.services.baremetal import NoNetworks
from ingot.services.baremetal.boot.plan import BootUrls
from ingot.services.baremetal.workflows import Deps, workflows
from ingot.workflow import Engine, LocalDispatcher

pytestmark = pytest.mark.anyio


class Wires(NoNetworks):
    """Networks where nobody needs an address."""

    def plug_provisioning(self, *_args: Any) -> None:
        return None

    def unplug_provisioning(self, *_args: Any) -> None:
        return None


@dataclass
class Cloud:
    api: World
    url: str

    async def shell(self, *commands: str) -> str:
        """Run commands in one stock `openstack` process; what it wrote."""
        binary = Path(sys.executable).parent / "openstack"
        process = await asyncio.create_subprocess_exec(
            str(binary),
            "--os-auth-type",
            "none",
            "--os-endpoint",
            self.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "COLUMNS": "400", "TERM": "dumb"},
        )
        text = "".join(f"baremetal {command}\n" for command in commands)
        async with asyncio.timeout(120):
            output, _ = await process.communicate(text.encode())
        return output.decode()

    async def show(self, path: str) -> Any:
        return (await self.api.ask("GET", path)).json


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Cloud]:
    async with world(folder, clock=SystemClock()) as api:
        ctx = api.baremetal.ctx
        urls = BootUrls(base="http://127.0.0.1:1", kernel="k", ramdisk="r")
        deps = Deps(
            ctx,
            images=NoImages(),
            networks=Wires(),
            agents=lambda *_: None,
            urls=urls,
        )
        engine = Engine(ctx.db, ctx.clock, workflows(deps), ctx.host)
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.app.asgi, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with LocalDispatcher(engine):
                yield Cloud(api, f"http://127.0.0.1:{listener.getsockname()[1]}/baremetal")
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with running(tmp_path) as made:
        yield made


async def test_the_stock_command_line(cloud: Cloud) -> None:
    output = await cloud.shell(
        "node create --driver fake-hardware --name n1 --driver-info fake_password=x"
        " --property cpus=4 --resource-class bm",
        "node set n1 --extra a=b --extra c=d --instance-info image_source=x",
        "node unset n1 --extra a",
        "node add trait n1 CUSTOM_A CUSTOM_B",
        "node trait list n1",
        "node maintenance set n1 --reason fans",
        "node maintenance unset n1",
        "node boot device set n1 disk --persistent",
        "node boot device show n1",
        "node validate n1",
        "node manage n1 --wait 60",
        "node provide n1 --wait 60",
        "node power on n1 --power-timeout 60",
        "node list -f json",
        "driver list",
        "driver show fake-hardware",
        "driver property list ipmi",
        "conductor list",
        "node history list n1",
        "port list --node n1",
    )
    for wrong in ("HTTP 4", "HTTP 5", "Could not decode", "Traceback", "Invalid", "Unknown"):
        assert wrong not in output, output
    node = await cloud.show("/v1/nodes/n1")
    assert (node["provision_state"], node["power_state"]) == ("available", "power on"), output
    assert (node["extra"], node["properties"]) == ({"c": "d"}, {"cpus": 4})
    assert (
        node["traits"] == ["CUSTOM_A", "CUSTOM_B"]
        and node["driver_info"]["fake_password"] == "******"
    )
    assert '"Name": "n1"' in output or '"name": "n1"' in output
    uuid = node["uuid"]
    output = await cloud.shell(
        f"port create --node {uuid} 52:54:00:00:00:01 --physical-network p",
        "port list --detail",
        "node vif attach n1 vif-1",
        "node vif list n1",
        "node vif detach n1 vif-1",
        "node deploy n1 --wait 60",
        "node reboot n1",
        "node rebuild n1 --wait 60",
        "node undeploy n1 --wait 60",
        "node manage n1 --wait 60",
        "node inspect n1 --wait 60",
        "node delete n1",
        "node list -f json",
    )
    for wrong in ("HTTP 4", "HTTP 5", "Could not decode", "Traceback", "Unknown"):
        assert wrong not in output.replace("(HTTP 409)", ""), output
    assert (await cloud.api.ask("GET", "/v1/nodes/n1")).status == 404, output


async def test_the_stock_library(cloud: Cloud) -> None:
    def use() -> dict[str, Any]:
        conn = openstack.connect(
            auth_type="none", endpoint=cloud.url, baremetal_endpoint_override=cloud.url
        )
        bm = conn.baremetal
        node = bm.create_node(driver="fake-hardware", name="n1", provision_state="available")
        seen: dict[str, Any] = {"first": node.provision_state}
        port = bm.create_port(address="52:54:00:00:00:02", node_id=node.id, is_pxe_enabled=False)
        seen["ports"] = [p.address for p in bm.ports(details=True, node=node.id)]
        node = bm.update_node(node, extra={"a": 1}, instance_info={"image_source": "x"})
        bm.set_node_traits(node, ["CUSTOM_X"])
        bm.set_node_power_state(node, "power on", wait=True, timeout=60)
        node = bm.set_node_provision_state(
            node, "active", config_drive={"meta_data": {"name": "x"}}, wait=True, timeout=60
        )
        seen["deployed"] = (node.provision_state, node.extra)
        bm.set_node_maintenance(node, "why")
        bm.unset_node_maintenance(node)
        bm.attach_vif_to_node(node, "vif-9")
        seen["vifs"] = bm.list_node_vifs(node)
        bm.detach_vif_from_node(node, "vif-9")
        bm.set_node_boot_device(node, "disk", persistent=True)
        seen["device"] = bm.get_node_boot_device(node)
        seen["validate"] = bm.validate_node(node)["power"].result
        node = bm.set_node_provision_state(node, "deleted", wait=True, timeout=60)
        seen["last"] = node.provision_state
        seen["listed"] = [n.name for n in bm.nodes(details=True)]
        seen["drivers"] = sorted(d.name for d in bm.drivers())
        bm.delete_port(port)
        bm.delete_node(node)
        seen["gone"] = bm.find_node("n1")
        return seen

    seen = await asyncio.to_thread(use)
    assert seen.pop("drivers") == ["fake-hardware", "idrac", "ipmi", "manual-management", "redfish"]
    assert seen == {
        "first": "available",
        "ports": ["52:54:00:00:00:02"],
        "deployed": ("active", {"a": 1}),
        "vifs": ["vif-9"],
        "device": {"boot_device": "disk", "persistent": True},
        "validate": True,
        "last": "available",
        "listed": ["n1"],
        "gone": None,
    }, json.dumps(seen, default=str)


async def test_the_stock_command_line_on_what_hangs_on_nodes(cloud: Cloud) -> None:
    chassis, node, group, connector, target = (
        f"4dba6db3-96d7-4cf1-bc8b-d77df346154{number}" for number in range(5)
    )
    output = await cloud.shell(
        f"chassis create --uuid {chassis} --description row-4 --extra a=b",
        f"chassis set {chassis} --description row-5 --extra c=d",
        f"chassis unset {chassis} --extra a",
        f"chassis show {chassis}",
        "chassis list --long",
        f"node create --driver fake-hardware --name n1 --uuid {node} --chassis-uuid {chassis}"
        " --shard s1",
        f"node list --chassis {chassis} -f json",
        "shard list",
        f"port group create --node {node} --uuid {group} --name bond0 --mode 802.3ad"
        " --address 52:54:00:00:00:09 --property miimon=100 --support-standalone-ports",
        "port group set bond0 --extra a=b --unsupport-standalone-ports",
        "port group unset bond0 --extra a",
        "port group show bond0",
        "port group list --node n1 --detail",
        f"port create --node {node} 52:54:00:00:00:01 --port-group {group} --pxe-enabled false",
        "port list --port-group bond0",
        "node vif attach n1 v1",
        "node vif list n1",
        f"volume connector create --node {node} --uuid {connector} --type iqn --connector-id iqn.x",
        f"volume target create --node {node} --uuid {target} --type iscsi --boot-index 0"
        " --volume-id v --property auth_password=s3same",
        "node power off n1 --power-timeout 60",
        f"volume connector set {connector} --extra a=b",
        f"volume connector unset {connector} --extra a",
        f"volume target set {target} --boot-index 1",
        f"volume target unset {target} --property auth_password",
        "volume connector list --node n1 --long",
        "volume target list --detail",
        f"volume target show {target}",
    )
    for wrong in ("HTTP 4", "HTTP 5", "Could not decode", "Traceback", "Unknown", "s3same"):
        assert wrong not in output, output
    shown = await cloud.show(f"/v1/chassis/{chassis}")
    assert (shown["description"], shown["extra"]) == ("row-5", {"c": "d"}), output
    bond = await cloud.show("/v1/portgroups/bond0")
    assert (bond["mode"], bond["properties"], bond["extra"]) == ("802.3ad", {"miimon": 100}, {})
    assert bond["standalone_ports_supported"] is False
    assert bond["internal_info"] == {"tenant_vif_port_id": "v1"}, output
    assert (await cloud.show(f"/v1/volume/targets/{target}"))["boot_index"] == 1
    assert '"n1"' in output and "s1" in output
    output = await cloud.shell(
        "node vif detach n1 v1",
        f"volume connector delete {connector}",
        f"volume target delete {target}",
        "port group delete bond0",
        "node delete n1",
        f"chassis delete {chassis}",
        "chassis list",
    )
    assert output.count("HTTP 4") == 1 and "contains ports" in output, output
    assert (await cloud.show("/v1/chassis"))["chassis"] == [], output
