"""Out-of-band inspection as an operation: what a controller tells is written into the node."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingot.services.baremetal import store
from tests.flows.site import Site, site

sys.path.insert(0, str(Path(__file__).parents[1] / "drivers" / "redfish"))
from service import SYSTEM, Service

pytestmark = pytest.mark.anyio


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = await Service().start()
    yield running
    await running.stop()


async def inspected(here: Site, service: Service) -> tuple[Any, set[str]]:
    """A new node of this controller after its inspection, and the addresses of its ports."""
    values = {
        "driver": "redfish",
        "driver_info": service.driver_info(),
        "inspect_interface": "redfish",
        "network_interface": "noop",
    }
    made = await here.db.write(
        lambda conn: here.baremetal.create_node(conn, values, provision_state="manageable")
    )
    await here.verb(made.uuid, "inspect")
    assert await here.until(made.uuid, "manageable")
    found = await here.db.read(lambda conn: store.ports_of(conn, made.uuid))
    return await here.node(made.uuid), {port.address for port in found}


@pytest.mark.parametrize("lack", ["no link", "no members", "dead links", "only disabled ones"])
async def test_without_network_cards_the_rest_is_written(service: Service, lack: str) -> None:
    cards = f"{SYSTEM}/EthernetInterfaces"
    if lack == "no link":
        del service.system["EthernetInterfaces"]
    elif lack == "no members":
        service.resources[cards]["Members"] = []
    elif lack == "dead links":
        service.resources[cards]["Members"] = [{"@odata.id": f"{cards}/9"}]
    else:
        for member in service.resources[cards]["Members"]:
            service.resources[member["@odata.id"]]["InterfaceEnabled"] = False
    async with site(1, protocols=("redfish",), hurry=20) as here:
        node, ports = await inspected(here, service)
    assert ports == set()
    assert node.properties["cpus"] == 64 and node.properties["memory_mb"] == 96 * 1024
    assert node.properties["capabilities"] == "boot_mode:uefi" and node.boot_mode == "uefi"


async def test_a_boot_mode_that_is_not_told_is_not_written(service: Service) -> None:
    del service.system["Boot"]["BootSourceOverrideMode"]
    async with site(1, protocols=("redfish",), hurry=20) as here:
        node, ports = await inspected(here, service)
    assert "capabilities" not in node.properties and node.boot_mode is None
    assert ports == {"52:54:00:aa:bb:01", "52:54:00:aa:bb:02"}
