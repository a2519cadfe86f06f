"""What an out-of-band inspection makes of what services tell, leave out and get wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ingot.drivers.machine import Registry

sys.path.insert(0, str(Path(__file__).parent))
from service import SYSTEM, Service

pytestmark = pytest.mark.anyio


def put(service: Service, path: str, *members: dict[str, Any] | None) -> dict[str, str]:
    """A collection with these members; None: it is listed, and 404."""
    for number, member in enumerate(members):
        service.resources.pop(f"{path}/{number}", None)
        if member is not None:
            service.resources[f"{path}/{number}"] = member
    links = [{"@odata.id": f"{path}/{number}"} for number in range(len(members))]
    service.resources[path] = {"Members": links}
    return {"@odata.id": path}


async def inventory_of(registry: Registry, service: Service) -> dict[str, Any]:
    access = registry.access("redfish", service.driver_info(), key="bench")
    data: Any = await registry.inspect("redfish", "redfish").inspect(access)
    return data["inventory"]


CHIP = {"ProcessorType": "CPU", "TotalCores": 32, "TotalThreads": 64, "InstructionSet": "x86-64"}
GPU = {"ProcessorType": "GPU", "TotalThreads": 16896}


@pytest.mark.parametrize(
    ("summary", "chips", "count"),
    [
        ({"Count": 2}, [CHIP, CHIP], 128),
        ({"Count": 9, "LogicalProcessorCount": 9}, [CHIP, GPU, GPU], 64),
        ({"Count": 2, "LogicalProcessorCount": 72}, [], 72),
        ({"Count": 2, "LogicalProcessorCount": 72}, [CHIP, {"ProcessorType": "CPU"}], 72),
        ({"Count": 2, "CoreCount": 64}, [CHIP, {**CHIP, "TotalThreads": None}], 0),
        ({"Count": 2}, [CHIP, None], 0),
        ({"Count": 2}, [CHIP, {**CHIP, "TotalThreads": 0, "Status": {"State": "Absent"}}], 64),
        ({"Count": 2}, [], 0),
        ({"Count": 2, "LogicalProcessorCount": 1e308}, [{**CHIP, "TotalThreads": True}], 0),
    ],
)
async def test_processors_are_counted_by_threads_never_by_sockets(
    registry: Registry,
    service: Service,
    summary: dict[str, Any],
    chips: list[dict[str, Any] | None],
    count: int,
) -> None:
    service.system["ProcessorSummary"] = summary
    service.system["Processors"] = put(service, f"{SYSTEM}/Processors", *chips)
    assert (await inventory_of(registry, service))["cpu"]["count"] == count


def nic(number: int, **more: Any) -> dict[str, Any]:
    mac = f"52:54:00:00:00:{number:02x}"
    return {"Id": f"NIC{number}", "MACAddress": mac, "InterfaceEnabled": True, **more}


async def test_cards_of_the_machine_alone(registry: Registry, service: Service) -> None:
    put(
        service,
        f"{SYSTEM}/EthernetInterfaces",
        nic(1, LinkStatus="LinkDown"),
        nic(2, LinkStatus="LinkUp", MACAddress="52-54-00-00-00-02"),
        nic(3, LinkStatus=None, InterfaceEnabled=False),
        nic(4, InterfaceEnabled=None, Status={"State": "Disabled"}),
        nic(10, Status={"State": "Absent"}),
        nic(5, Id="ToManager"),
        nic(6, Links={"HostInterface": {"@odata.id": "/redfish/v1/Managers/1/HostInterfaces/1"}}),
        nic(7, MACAddress="Not Available", PermanentMACAddress=""),
        nic(8, MACAddress="00:00:00:00:00:00", PermanentMACAddress="52:54:00:00:00:08"),
        nic(8, Id="VLAN1"),
        None,
        nic(9, MACAddress="52:54:00:00:00:99", PermanentMACAddress="52:54:00:00:00:09"),
    )
    cards = (await inventory_of(registry, service))["interfaces"]
    assert [(one["name"], one["mac_address"][-2:], one["has_carrier"]) for one in cards] == [
        ("NIC1", "01", False),
        ("NIC2", "02", True),
        ("NIC3", "03", None),
        ("NIC4", "04", False),
        ("NIC10", "0a", None),
        ("NIC8", "08", None),
        ("NIC9", "99", None),
    ]
    assert [one["name"] for one in cards if one["enabled"] is False] == ["NIC3", "NIC10"]
    access = registry.access("redfish", service.driver_info(), key="bench")
    told = await registry.management("redfish").identity(access)
    assert [mac[-2:] for mac in told.macs] == ["01", "02", "04", "08", "99"]


async def test_a_disk_that_is_gone_drops_no_other(registry: Registry, service: Service) -> None:
    storage = service.resources[f"{SYSTEM}/Storage/A"]
    storage["Drives"] = [{"@odata.id": f"{SYSTEM}/Storage/A/Drives/9"}, *storage["Drives"]]
    inventory = await inventory_of(registry, service)
    assert [disk["size"] for disk in inventory["disks"]] == [960197124096]


@pytest.mark.parametrize(
    ("told", "mode"),
    [("Legacy", "bios"), ("UEFI", "uefi"), (None, None), ("", None), ("Wrong", None)],
)
async def test_an_unknown_boot_mode_is_unknown(
    registry: Registry, service: Service, told: str | None, mode: str | None
) -> None:
    service.system["Boot"]["BootSourceOverrideMode"] = told
    boot = (await inventory_of(registry, service))["boot"]
    assert boot.get("current_boot_mode") == mode and boot == (
        {"current_boot_mode": mode} if mode else {}
    )


@pytest.mark.parametrize("size", [1e308, -1, True, "96", None, 0, 1 << 62])
async def test_sizes_that_cannot_be_are_unknown(
    registry: Registry, service: Service, size: object
) -> None:
    service.system["MemorySummary"] = {"TotalSystemMemoryGiB": size}
    service.resources[f"{SYSTEM}/Storage/A/Drives/0"]["CapacityBytes"] = size
    inventory = await inventory_of(registry, service)
    assert "memory" not in inventory
    assert inventory["disks"][0]["size"] is None


async def test_a_page_that_links_to_itself_ends(registry: Registry, service: Service) -> None:
    path = f"{SYSTEM}/EthernetInterfaces"
    service.resources[path] = {"Members": [], "Members@odata.nextLink": path}
    assert (await inventory_of(registry, service))["interfaces"] == []
    assert service.asked.count(f"GET {path}") == 1


async def test_what_a_hostile_controller_tells_is_short_and_clean(
    registry: Registry, service: Service
) -> None:
    long = "\x1b[2J" + "x" * 10_000
    service.system.update(Manufacturer=long, Model=long, HostName=long)
    storage = service.resources[f"{SYSTEM}/Storage/A"]
    chip = {"Name": "n" * 300, "SpeedGbps": "fast", "SupportedRAIDTypes": ["R"] * 300}
    storage["StorageControllers"] = [chip] * 300
    service.resources[f"{SYSTEM}/Storage/A/Drives/0"]["Name"] = long
    put(service, "/d", *[{"Id": str(number)} for number in range(300)])
    storage["Drives"] = [*storage["Drives"], *service.resources["/d"]["Members"]]
    heard = {"ChassisId": long, "PortId": {"a": "b"}, "ManagementVlanId": 12, "SystemName": ["x"]}
    port = {"Id": "NIC.1", "Ethernet": {"LLDPReceive": heard}}
    service.resources["/c"] = {
        "NetworkAdapters": put(service, "/c/a", {"Ports": put(service, "/c/a/p", port)})
    }
    service.system["Links"] = {"Chassis": [{"@odata.id": "/c"}]}
    access = registry.access("redfish", service.driver_info(), key="bench")
    data: Any = await registry.inspect("redfish", "redfish").inspect(access)
    inventory = data["inventory"]
    assert len(inventory["system_vendor"]["manufacturer"]) == 255
    assert "\x1b" not in str(data) and len(inventory["disks"]) == 256
    (told,) = inventory["storage_controllers"]
    assert len(told["storage_controllers"]) == 256
    assert told["storage_controllers"][0]["speed_gbps"] is None
    neighbour = data["parsed_lldp"]["NIC.1"]
    assert (
        set(neighbour) == {"switch_chassis_id", "switch_vlan_id"}
        and neighbour["switch_vlan_id"] == 12
    )
