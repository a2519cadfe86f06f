"""BIOS, firmware, RAID, secure boot and sensors of services that name, lack and refuse things in their own way."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers.faults import Busy, Refused
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.types import Access, IndicatorState
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import SYSTEM, Service, error

pytestmark = pytest.mark.anyio
V1 = "/redfish/v1"


class Hurried(SystemClock):
    """Pauses of drivers pass at once."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = build_registry(DriverContext(Hurried()))
    yield made
    await made.aclose()


@pytest.fixture
def access(registry: Registry, service: Service) -> Access:
    return registry.access("redfish", service.driver_info(), key="bench")


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def put(service: Service, path: str, members: dict[str, Any]) -> dict[str, str]:
    """A collection with these members by name; None: it is listed, and 404."""
    for name, member in members.items():
        if member is not None:
            service.resources[f"{path}/{name}"] = {"Id": name, **link(f"{path}/{name}"), **member}
    service.resources[path] = {"Members": [link(f"{path}/{name}") for name in members]}
    return link(path)


# -- BIOS ----------------------------------------------------------------------------------------


def with_bios(service: Service, wanted: str, registries: dict[str, Any]) -> None:
    service.system["Bios"] = link(f"{SYSTEM}/Bios")
    service.resources[f"{SYSTEM}/Bios"] = {
        "AttributeRegistry": wanted,
        "Attributes": {"SysProfile": "PerfOptimized"},
        "@Redfish.Settings": {"SettingsObject": link(f"{SYSTEM}/Bios/Settings")},
    }
    service.resources[f"{SYSTEM}/Bios/Settings"] = {}
    service.resources[f"{V1}/"]["Registries"] = put(service, f"{V1}/Registries", registries)
    values = [{"ValueName": "PerfOptimized"}, {"ValueName": "Custom"}]
    entry = {"AttributeName": "SysProfile", "Type": "Enumeration", "Value": values}
    service.resources["/right"] = {"RegistryEntries": {"Attributes": [entry]}}
    service.resources["/wrong"] = {"RegistryEntries": {"Attributes": []}}


def file(name: str, uri: str = "/right") -> dict[str, Any]:
    return {
        "Registry": name,
        "Location": [{"Language": "ja", "Uri": "/wrong"}, {"Language": "en", "Uri": uri}],
    }


@pytest.mark.parametrize(
    ("wanted", "registries"),
    [
        # Dell, Supermicro, Lenovo, HPE, Cray, and two versions beside each other.
        (
            "BiosAttributeRegistry.v1_0_3",
            {"BiosAttributeRegistry.v1_0_0": file("BiosAttributeRegistry1.0")},
        ),
        (
            "BiosAttributeRegistry.v1_0_0",
            {"BiosAttributeRegistry": file("BiosAttributeRegistry.1.0.0")},
        ),
        (
            "BiosAttributeRegistry.1.0.0",
            {"BiosAttributeRegistry.1.0.0": file("BiosAttributeRegistry.1.0")},
        ),
        (
            "BiosAttributeRegistryU46.v1_2_34",
            {
                "HpeBiosMessageRegistry.v1_0_0": file("HpeBiosMessageRegistry.v1_0_0", "/wrong"),
                "BiosAttributeRegistryU30.v1_2_34": file(
                    "BiosAttributeRegistryU30.v1_2_34", "/wrong"
                ),
                "BiosAttributeRegistryU46.v1_2_34": file("BiosAttributeRegistryU46.v1_2_34"),
            },
        ),
        (
            "BiosAttributeRegistry_v1_0_0",
            {"BiosAttributeRegistry_v1_0_0": file("BiosAttributeRegistry_v1_0_0")},
        ),
        (
            "BiosAttributeRegistry.v1_0_3",
            {
                "BiosAttributeRegistry.v1_0_0": file("BiosAttributeRegistry.1.0.0", "/wrong"),
                "BiosAttributeRegistry.v1_0_3": file("BiosAttributeRegistry.1.0.3"),
            },
        ),
        (
            "BiosAttributeRegistry.v1_0_3",
            {"4711": None, "4712": file("BiosAttributeRegistry.v1_0_3")},
        ),
    ],
    ids=["dell", "supermicro", "lenovo", "hpe", "cray", "two", "numbers"],
)
async def test_the_registry_is_found_under_the_names_that_it_has(
    registry: Registry, service: Service, access: Access, wanted: str, registries: dict[str, Any]
) -> None:
    with_bios(service, wanted, registries)
    (setting,) = await registry.bios("redfish").settings(access)
    assert setting.allowable_values == ("PerfOptimized", "Custom")
    bad = {"settings": [{"name": "SysProfile", "value": "NoSuchProfile"}]}
    with pytest.raises(Refused, match="one of PerfOptimized, Custom"):
        await registry.bios("redfish").run(access, "apply_configuration", bad)
    assert not [line for line in service.asked if line.startswith("PATCH")]


async def test_nothing_goes_out_unchecked_while_the_registry_is_busy(
    registry: Registry, service: Service, access: Access
) -> None:
    with_bios(service, "R.v1", {"R.v1": file("R.v1")})
    service.quirks.append(
        lambda here, m, path, b: error(503, "Later") if path == "/right" else None
    )
    bad = {"settings": [{"name": "SysProfile", "value": "NoSuchProfile"}]}
    with pytest.raises(Busy):
        await registry.bios("redfish").run(access, "apply_configuration", bad)
    assert not [line for line in service.asked if line.startswith("PATCH")]


# -- firmware ------------------------------------------------------------------------------------


def with_firmware(service: Service, cards: dict[str, Any], inventory: dict[str, Any]) -> list[Any]:
    """Orders that the service accepts are put into the list."""
    chassis = service.resources[f"{V1}/Chassis/1"]
    chassis["NetworkAdapters"] = put(service, f"{V1}/Chassis/1/NetworkAdapters", cards)
    target = f"{V1}/UpdateService/Actions/UpdateService.SimpleUpdate"
    service.resources[f"{V1}/"]["UpdateService"] = link(f"{V1}/UpdateService")
    service.resources[f"{V1}/UpdateService"] = {
        "FirmwareInventory": put(service, f"{V1}/UpdateService/FirmwareInventory", inventory),
        "Actions": {"#UpdateService.SimpleUpdate": {"target": target}},
    }
    orders: list[Any] = []

    def update(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if path != target:
            return None
        orders.append(body)
        return web.Response(status=204)

    service.quirks.append(update)
    return orders


def card(serial: str = "", model: str = "X710", version: str = "1.0") -> dict[str, Any]:
    return {
        "SerialNumber": serial,
        "Model": model,
        "Controllers": [{"FirmwarePackageVersion": version}],
    }


def related(*paths: str) -> dict[str, Any]:
    return {"RelatedItem": [link(path) for path in paths]}


def order(component: str) -> dict[str, Any]:
    return {"settings": [{"component": component, "url": "http://10.0.0.1/nic-2.0.bin"}]}


async def test_firmware_for_an_unknown_card_never_goes_out(
    registry: Registry, service: Service, access: Access
) -> None:
    orders = with_firmware(service, {"A": card("S1")}, {"NIC1": related("/elsewhere")})
    for component in ("nic:NOSUCH", "nic:"):
        with pytest.raises(Refused, match=r"no component nic:.* nic:S1"):
            await registry.firmware("redfish").run(access, "update", order(component))
    with pytest.raises(Refused, match="no entry of the firmware inventory"):
        await registry.firmware("redfish").run(access, "update", order("nic:S1"))
    assert orders == []


CARD = f"{V1}/Chassis/1/NetworkAdapters/A"
MANY = {f"GPU{number}": {} for number in range(100)}


@pytest.mark.parametrize(
    ("component", "inventory", "entry"),
    [
        ("nic:S1", {**MANY, "NIC7": related(f"{CARD}/Ports/1")}, "NIC7"),  # beyond the 64th
        ("nic:S1", {"Previous-1__A-1": {}, "Installed-2__A-1-1": {}}, "Installed-2__A-1-1"),
        ("nic:S1", {"1": {"Name": "iLO 5"}, "16": {"Name": "X710"}}, "16"),  # HPE
        ("nic:16", {"1": {"Name": "iLO 5"}, "16": {"Name": "X710"}}, "16"),
        ("nic:S1", {"1": None, "2": related(CARD)}, "2"),
    ],
    ids=["far", "dell", "hpe", "by its id", "a dead link"],
)
async def test_firmware_of_a_card_names_its_entry(
    registry: Registry,
    service: Service,
    access: Access,
    component: str,
    inventory: dict[str, Any],
    entry: str,
) -> None:
    orders = with_firmware(service, {"A": card("S1")}, inventory)
    await registry.firmware("redfish").run(access, "update", order(component))
    (body,) = orders
    assert body["Targets"] == [f"{V1}/UpdateService/FirmwareInventory/{entry}"]


@pytest.mark.parametrize(
    "inventory",
    [
        {"16": {"Name": "X710"}, "17": {"Name": "X710"}},  # which of the two?
        {"16": {"Name": "X710", "Updateable": False}},
    ],
)
async def test_a_card_that_cannot_be_told_apart_is_left_alone(
    registry: Registry, service: Service, access: Access, inventory: dict[str, Any]
) -> None:
    orders = with_firmware(service, {"A": card("S1"), "B": card("S2")}, inventory)
    with pytest.raises(Refused):
        await registry.firmware("redfish").run(access, "update", order("nic:S1"))
    assert orders == []


async def test_refused_targets_are_not_left_out(
    registry: Registry, service: Service, access: Access
) -> None:
    orders = with_firmware(service, {"A": card("S1")}, {"2": related(CARD)})

    def unknown(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        known = "Targets" not in body
        return None if known else error(400, "Targets is not supported", "Base.1.0.Unsupported")

    service.quirks.insert(0, unknown)
    with pytest.raises(Refused, match="Targets is not supported"):
        await registry.firmware("redfish").run(access, "update", order("nic:S1"))
    assert orders == []


# -- RAID ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("Mirrored", "1"),
        ("NonRedundant", "0"),
        ("StripedWithParity", "5"),
        ("SpannedMirrors", "1+0"),
        ("SpannedStripesWithParity", "5+0"),
    ],
)
async def test_levels_by_the_older_word(
    registry: Registry, service: Service, access: Access, kind: str, level: str
) -> None:
    storage = service.resources[f"{SYSTEM}/Storage/A"]
    storage["Drives"].insert(0, link(f"{SYSTEM}/Storage/A/Drives/9"))  # a dead link
    volume = {"Name": "root", "VolumeType": kind, "RAIDType": None, "CapacityBytes": 100 << 30}
    raw = {"VolumeType": "RawDevice", "CapacityBytes": 960197124096}
    storage["Volumes"] = put(
        service, f"{SYSTEM}/Storage/A/Volumes", {"V1": volume, "Disk.0": raw, "gone": None}
    )
    disk = {"raid_level": level, "size_gb": 100, "volume_name": "root"}
    config = {"raid_config": {"logical_disks": [disk]}}
    outcome = await registry.raid("redfish").run(access, "create_configuration", config)
    assert outcome.done and outcome.raid_config is not None
    told: Any = outcome.raid_config["logical_disks"]
    assert [one["raid_level"] for one in told] == [level]
    assert not [line for line in service.asked if line.startswith("POST") and "Volumes" in line]


# -- secure boot ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kept", "ignored", "pending"])
async def test_secure_boot_is_read_back(
    registry: Registry, service: Service, access: Access, way: str
) -> None:
    path = f"{SYSTEM}/SecureBoot"
    service.system["SecureBoot"] = link(path)
    service.resources[path] = {"SecureBootEnable": False}
    if way != "kept":
        service.quirks.append(
            lambda here, m, p, body: web.Response(status=204) if (m, p) == ("PATCH", path) else None
        )
    if way == "pending":
        service.resources[path]["@Redfish.Settings"] = {"SettingsObject": link(f"{path}/Settings")}
        service.resources[f"{path}/Settings"] = {"SecureBootEnable": True}
    if way == "ignored":
        with pytest.raises(Refused, match="was accepted, but"):
            await registry.management("redfish").set_secure_boot(access, True)
        return
    await registry.management("redfish").set_secure_boot(access, True)


async def test_a_light_is_read_back(registry: Registry, service: Service, access: Access) -> None:
    service.system["IndicatorLED"] = "Off"
    ignored = [True]
    service.quirks.append(
        lambda here, m, p, body: web.Response(status=204) if m == "PATCH" and ignored[0] else None
    )
    hand = registry.management("redfish")
    ((component, (light, *_)),) = (await hand.indicators(access)).items()
    with pytest.raises(Refused, match="was to be on"):
        await hand.set_indicator(access, component, light.name, IndicatorState.ON)
    ignored[0] = False
    await hand.set_indicator(access, component, light.name, IndicatorState.ON)
    assert service.system["IndicatorLED"] == "Lit"


# -- sensors -------------------------------------------------------------------------------------


async def test_supplies_and_fans_of_the_newer_resources(
    registry: Registry, service: Service, access: Access
) -> None:
    at = f"{V1}/Chassis/1"
    chassis = service.resources[at]
    for old in ("Thermal", "Power"):
        service.resources.pop(f"{at}/{old}")  # the links stay, dead
    good = {"Health": "OK", "State": "Enabled"}
    supplies = put(
        service,
        f"{at}/PowerSubsystem/PowerSupplies",
        {
            "PSU1": {"Name": "Power Supply 1", "Status": good, "Metrics": link(f"{at}/m")},
            "PSU2": {"Name": "Power Supply 2", "Status": {"State": "Absent"}},
            "PSU3": None,
            "PSU4": {"Name": "Power Supply 4", "Status": {"Health": "Critical"}},
        },
    )
    service.resources[f"{at}/m"] = {"OutputPowerWatts": {"Reading": 180}}
    service.resources[f"{at}/PowerSubsystem"] = {"PowerSupplies": supplies}
    chassis["PowerSubsystem"] = link(f"{at}/PowerSubsystem")
    fans = put(
        service,
        f"{at}/ThermalSubsystem/Fans",
        {
            "F1": {
                "Name": "Fan 1",
                "SpeedPercent": {"Reading": 40, "SpeedRPM": 6431},
                "Status": good,
            }
        },
    )
    service.resources[f"{at}/ThermalMetrics"] = {
        "TemperatureReadingsCelsius": [
            {"DeviceName": "CPU 1", "Reading": 27, "PhysicalContext": "CPU"}
        ]
    }
    service.resources[f"{at}/ThermalSubsystem"] = {
        "Fans": fans,
        "ThermalMetrics": link(f"{at}/ThermalMetrics"),
    }
    chassis["ThermalSubsystem"] = link(f"{at}/ThermalSubsystem")
    found = await registry.management("redfish").sensors(access)
    assert [(one.name, one.kind, one.value, one.unit, one.health) for one in found] == [
        ("Power Supply 1", "supply", 180.0, "W", "ok"),
        ("Power Supply 4", "supply", None, "W", "critical"),
        ("Fan 1", "fan", 6431.0, "RPM", "ok"),
        ("CPU 1", "temperature", 27.0, "C", "unknown"),
    ]


async def test_sensors_of_all_chassis_of_the_machine_in_few_questions(
    registry: Registry, service: Service, access: Access
) -> None:
    at = f"{V1}/Chassis"
    service.resources[f"{V1}/"]["ProtocolFeaturesSupported"] = {"ExpandQuery": {"NoLinks": True}}
    mine, other = [link(SYSTEM)], [link(f"{SYSTEM}9")]
    chassis: dict[str, Any] = {
        "1": {"Links": {"ComputerSystems": mine}},
        "CPU_0": {"Links": {"ComputerSystems": mine}},
        "Other": {"Links": {"ComputerSystems": other}},
    }
    put(service, at, chassis)
    for name in chassis:
        readings = {
            f"{name}_T{n}": {"Name": f"{name} {n}", "ReadingType": "Temperature", "Reading": n}
            for n in range(40)
        }
        sensors = put(service, f"{at}/{name}/Sensors", readings)
        service.resources[f"{at}/{name}"]["Sensors"] = sensors
    service.expands = True
    found = await registry.management("redfish").sensors(access)
    assert len(found) == 80 and not [one for one in found if one.name.startswith("Other")]
    assert len(service.asked) < 20
    # How it is asked for whole lists is known from then on: the root is only asked for its chassis.
    before = len(service.asked)
    assert await registry.management("redfish").sensors(access) == found
    assert sum(one.rstrip("/") == f"GET {V1}" for one in service.asked[before:]) == 1
    service.expands = False  # told, and not done
    assert len(await registry.management("redfish").sensors(access)) == 80
