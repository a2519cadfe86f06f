"""Machines that fail, and orders no machine can take: the cause, what to do next, and nothing left claimed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.site.server import Site

pytestmark = pytest.mark.anyio


async def fault_of(here: Site, uuid: str, deadline: float = 30) -> dict[str, Any]:
    """A node once it rests with a fault."""
    ends = time.monotonic() + deadline
    while True:
        node = await here.node(uuid)
        if node["reservation"] is None and node["last_error"]:
            return node
        assert time.monotonic() < ends, (node["provision_state"], node["last_error"])
        await asyncio.sleep(0.05)


async def server_fault(here: Site, flavor: str, deadline: float = 40, **order: Any) -> str:
    """Order a server that ends in ERROR; its fault's text. The server is deleted."""
    uuid = await here.boot_server(flavor, **order)
    ends = time.monotonic() + deadline
    while True:
        server = (await here.ask("compute", "GET", f"/servers/{uuid}", status=200)).body["server"]
        if server["status"] == "ERROR":
            break
        assert server["status"] == "BUILD" and time.monotonic() < ends, server
        await asyncio.sleep(0.05)
    assert server["fault"]["code"] == 500 and server["OS-EXT-STS:task_state"] is None
    assert server["addresses"] == {}
    await here.remove_server(uuid)
    return server["fault"]["message"]


CONTROLLERS = [
    (
        "sim-0000",
        {"redfish_password": "x"},
        ("bad credentials", "Correct the user name and password"),
    ),
    ("sim-0001", {"ipmi_password": "x"}, ("bad credentials", "Check user name, password")),
    ("sim-0002", {"redfish_address": "http://127.0.0.1:1"}, ("127.0.0.1:1", "Check the address")),
    ("sim-0003", {"ipmi_port": 1}, ("no IPMI controller answers", "Check the address, the cable")),
    ("sim-0004", {"redfish_system_id": "/redfish/v1/Systems/none"}, ("HTTP 404", "Choose another")),
    ("sim-0005", {"ipmi_port": "x"}, ("ipmi_port: a number is expected", "Correct driver_info")),
]


@pytest.mark.parametrize(("machine", "wrong", "words"), CONTROLLERS)
async def test_controllers_that_cannot_be_used(
    here: Site, machine: str, wrong: dict[str, Any], words: tuple[str, ...]
) -> None:
    right = here.entry(machine)["driver_info"]
    uuid = await here.enrol(machine, driver_info={**right, **wrong})
    await here.verb(uuid, "manage")
    node = await fault_of(here, uuid)
    assert node["provision_state"] == "enroll" and node["power_state"] is None
    told: str = node["last_error"]
    assert told.startswith("Verify failed") and "'ask the controller'" in told, told
    for word in words:
        assert word in told, told
    assert "object at 0x" not in told and right.get("redfish_password", "simulated") not in told
    history = await here.ask("baremetal", "GET", f"/v1/nodes/{uuid}/history", status=200)
    assert history.body["history"], "the fault is kept"
    # What the text says to do, leads on.
    patch = [{"op": "replace", "path": "/driver_info", "value": right}]
    await here.ask("baremetal", "PATCH", f"/v1/nodes/{uuid}", patch, status=200)
    await here.verb(uuid, "manage")
    node = await here.node_in(uuid, "manageable")
    assert node["last_error"] is None
    await here.discard(uuid)


async def test_no_node_that_fits_the_flavor(here: Site) -> None:
    plain = await here.make_flavor("plain", resources__CUSTOM_BAREMETAL="1")
    huge = await here.make_flavor("huge", resources__CUSTOM_HUGE="1")
    gpu = await here.make_flavor(
        "gpu", resources__CUSTOM_BAREMETAL="1", trait__CUSTOM_GPU="required"
    )
    told = await server_fault(here, plain)
    assert "No valid host was found." in told and "No machine is available" in told
    uuid = await here.provide("sim-0006")
    for flavor, why in (
        (huge, "1 another resource class than CUSTOM_HUGE"),
        (gpu, "1 without trait CUSTOM_GPU"),
    ):
        told = await server_fault(here, flavor)
        assert why in told and "Provide a machine that fits, choose another flavor" in told
        await here.nothing_claimed(uuid)
    server = await here.boot_server(plain)  # the right order, directly after
    await here.server_is(server, "ACTIVE")
    await here.remove_server(server)
    await here.node_in(uuid, "available")
    await here.nothing_claimed(uuid)
    await here.discard(uuid)


async def test_no_address_left(here: Site) -> None:
    flavor = await here.make_flavor("address", resources__CUSTOM_BAREMETAL="1")
    uuid = await here.provide("sim-0006")
    narrow = await here.make_network("narrow", "198.51.100.0/24", "198.51.100.5", "198.51.100.5")
    body = {"port": {"network_id": narrow}}
    taken = await here.ask("network", "POST", "/v2.0/ports", body, status=201)
    second = await here.ask("network", "POST", "/v2.0/ports", body, status=409)
    assert second.body["NeutronError"]["type"] == "IpAddressGenerationFailure"
    for told in (second.text, await server_fault(here, flavor, networks=[{"uuid": narrow}])):
        assert f"No more IP addresses available on network {narrow}" in told
        assert "widen the allocation pools" in told
    told = await server_fault(here, flavor, networks=[{"uuid": narrow, "fixed_ip": "10.0.0.1"}])
    assert "10.0.0.1 is not a valid IP" in told and "Choose an address in 198.51.100.0/24" in told
    port = taken.body["port"]["id"]
    await here.ask("network", "DELETE", f"/v2.0/ports/{port}", status=204)
    await here.nothing_claimed(uuid)
    server = await here.boot_server(flavor, networks=[{"uuid": narrow}])
    found = await here.server_is(server, "ACTIVE")
    assert [a["addr"] for a in found["addresses"]["narrow"]] == ["198.51.100.5"]
    other = await here.ask("compute", "GET", f"/servers/{server}", who="demo")
    assert other.status == 404 and other.envelope == "nova itemNotFound"
    in_use = await here.ask("baremetal", "DELETE", f"/v1/nodes/{uuid}", status=409)
    assert "is associated with instance" in in_use.text
    await here.remove_server(server)
    await here.node_in(uuid, "available")
    await here.nothing_claimed(uuid)
    await here.discard(uuid)


async def test_an_agent_that_never_calls(here: Site) -> None:
    assert here.fleet is not None
    flavor = await here.make_flavor("mute", resources__CUSTOM_BAREMETAL="1")
    uuid = await here.provide("sim-0006")
    here.fleet.inject("sim-0006", {"agent_mute": -1})
    told = await server_fault(here, flavor)
    assert "'wait for agent" in told and "the agent never called" in told
    assert "look at its console log" in told and "no other machine to try" in told
    await here.node_in(uuid, "available")
    await here.nothing_claimed(uuid)
    here.fleet.heal("sim-0006")
    server = await here.boot_server(flavor)
    await here.server_is(server, "ACTIVE")
    await here.remove_server(server)
    await here.node_in(uuid, "available")
    await here.nothing_claimed(uuid)
    await here.discard(uuid)
