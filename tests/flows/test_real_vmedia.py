"""The real thing by virtual media: sushy-tools' drive, GRUB from our ISO, the stock agent, a real image.

The machine's network card boots nothing. Once DHCP gives addresses to the agent and the instance; once nobody
serves DHCP at all, and both have the addresses that they were told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from ingot.cli.client import cloud
from ingot.lab.stage import Stage
from tests.flows.realsite import LONG, real_site

pytestmark = [
    *LONG,
    pytest.mark.nightly,  # minutes of emulated machines: `make test` has to end within thirty
    pytest.mark.timeout(1800),
]

RACK = """
[[machine]]
name = "uefi-1"
firmware = "uefi"
bmc = { kind = "redfish" }
"""


ADDRESS = "172.30.0.50"


def rack(dhcp: bool = True) -> contextlib.AbstractAsyncContextManager[Stage]:
    switch = f"dhcp = {str(dhcp).lower()}\n"
    return real_site("ingot-vmedia", RACK, {"provisioning": switch})


async def test_a_deploy_by_virtual_media() -> None:
    async with rack() as stage:
        await stage.enrol()
        words = ("--boot-interface", "redfish-virtual-media", "--no-automated-clean")
        await stage.openstack("baremetal", "node", "set", "uefi-1", *words)
        for verb in ("manage", "provide"):
            await stage.openstack("baremetal", "node", verb, "uefi-1", "--wait", "120")
        await stage.prepare_tenant()
        await stage.order("one")
        try:
            await stage.active("one", 600)
        except Exception:
            log = next(stage.rack.state.glob("**/uefi-1/console.log"))
            print(log.read_text(errors="replace")[-6000:])
            print((stage.state / "serve.log").read_text()[-4000:])
            raise
        console = next(stage.rack.state.glob("**/uefi-1/console.log"))
        log = console.read_text(errors="replace")
        assert "boot_method=vmedia" in log, "the agent was started from our medium"
        assert "iPXE" not in log, "the network card booted nothing"
        here = cloud("ingot-system", str(stage.clouds))
        path = "/timeline/v1/events?limit=1000"
        events = (await asyncio.to_thread(here.get, path))["events"]
        assert any(event.get("step") == "write the image" for event in events)
        async with asyncio.timeout(300):
            while "Debian GNU/Linux" not in console.read_text(errors="replace"):
                await asyncio.sleep(0.5)  # the disk's own boot loader: the medium is out


def network_data(mac: str) -> dict[str, Any]:
    """One card with one address for good."""
    link = {"id": "card", "type": "phy", "ethernet_mac_address": mac}
    route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "172.30.0.1"}
    network = {
        "id": "provisioning",
        "network_id": "provisioning",
        "link": "card",
        "type": "ipv4",
        "ip_address": ADDRESS,
        "netmask": "255.255.255.0",
        "routes": [route],
    }
    return {
        "links": [link],
        "networks": [network],
        "services": [{"type": "dns", "address": "172.30.0.1"}],
    }


async def test_a_machine_without_any_dhcp() -> None:
    """Inspection, cleaning and deploy by an agent that stays up, then the instance, and no DHCP server."""
    async with rack(dhcp=False) as stage:
        machine = stage.rack.machine("uefi-1")
        data = network_data(machine.mac)
        file = stage.state / "network_data.json"
        file.write_text(json.dumps(data))
        await stage.enrol()

        async def node(*words: str) -> str:
            verb, *more = words
            return await stage.openstack("baremetal", "node", *verb.split(), "uefi-1", *more)

        try:
            await node("set", "--boot-interface", "redfish-virtual-media")
            await node("set", "--network-interface", "noop", "--network-data", str(file))
            await node("set", "--driver-info", "fast_track=true")
            await node("manage", "--wait", "120")
            await node("inspect", "--wait", "900")
            await node("provide", "--wait", "900")
            await stage.prepare_tenant()
            image = await stage.openstack(
                "image", "show", "debian", "-f", "value", "-c", "id", project=True
            )
            await node("set", "--instance-info", f"image_source={image.strip()}")
            key = stage.key.with_suffix(".pub").read_text().strip()
            meta = {"uuid": machine.uuid, "hostname": "still", "public_keys": {"mine": key}}
            drive = json.dumps({"meta_data": meta, "network_data": data})
            await node("deploy", "--config-drive", drive, "--wait", "900")
            await stage.ssh_answers(ADDRESS, 600)
        except Exception:
            print(stage.rack.console_log("uefi-1")[-6000:])
            print((stage.state / "serve.log").read_text()[-4000:])
            raise
        assert "still" in await stage.run_there(ADDRESS, "hostname")
        log = stage.rack.console_log("uefi-1")
        assert log.count(f"has {ADDRESS}/24 from the boot medium") == 1
        assert "asks for an address" not in log, "a DHCP client ran"
        shown = json.loads(await node("show", "-f", "json"))
        assert shown["network_data"] == data and shown["properties"]["cpus"] == 2
        inventory = json.loads(await node("inventory save"))
        (card,) = inventory["inventory"]["interfaces"]
        assert (card["mac_address"], card["ipv4_address"]) == (machine.mac, ADDRESS)
