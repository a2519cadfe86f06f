"""BIOS settings, firmware, RAID, modes, lights, NMI, virtual media and vendor methods, by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project
from working import Working, working

pytestmark = pytest.mark.anyio
DISKS = {"logical_disks": [{"size_gb": 50, "raid_level": "1", "is_root_volume": True}]}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Working]:
    async with working(tmp_path) as made:
        yield made


async def manageable(api: Working, **more: Any) -> str:
    uuid = (await api.node(name="n1", **more))["uuid"]
    assert (await api.verb("n1", "manage"))["provision_state"] == "manageable"
    return uuid


async def clean(api: Working, interface: str, step: str, **args: Any) -> dict[str, Any]:
    steps = [{"interface": interface, "step": step, "args": args}]
    return await api.verb("n1", "clean", clean_steps=steps)


# -- BIOS ----------------------------------------------------------------------------------------


async def test_bios_settings_are_read_changed_and_reset(api: Working) -> None:
    await manageable(api)
    first = (await api.ask("GET", "/v1/nodes/n1/bios", version="1.40")).json["bios"]
    assert [one["name"] for one in first] == sorted(one["name"] for one in first)
    assert set(first[0]) == {"name", "value", "created_at", "updated_at", "links"}
    assert first[0]["updated_at"] is None
    done = await clean(
        api, "bios", "apply_configuration", settings=[{"name": "virtualization", "value": "off"}]
    )
    assert (done["provision_state"], done["last_error"]) == ("manageable", None)
    one = (await api.ask("GET", "/v1/nodes/n1/bios/virtualization")).json["virtualization"]
    assert (one["value"], one["allowable_values"]) == ("off", ["on", "off"])
    assert (one["attribute_type"], one["reset_required"]) == ("Enumeration", True)
    assert one["updated_at"] is not None
    assert one["links"][0]["href"].endswith("/bios/virtualization")
    old = (await api.ask("GET", "/v1/nodes/n1/bios/virtualization", version="1.73")).json
    assert set(old["virtualization"]) == {"name", "value", "created_at", "updated_at", "links"}
    await clean(api, "bios", "factory_reset")
    again = (await api.ask("GET", "/v1/nodes/n1/bios/virtualization")).json["virtualization"]
    assert again["value"] == "on"


async def test_bios_queries(api: Working) -> None:
    await manageable(api)
    path = "/v1/nodes/n1/bios"
    assert (await api.ask("GET", path, version="1.39")).status == 404
    assert (await api.ask("GET", f"{path}/nothing")).status == 404
    assert (await api.ask("GET", f"{path}?detail=true", version="1.73")).status == 400
    assert (await api.ask("GET", f"{path}?fields=nonsense")).status == 400
    assert (await api.ask("GET", f"{path}?fields=name&detail=true")).status == 400
    detail = (await api.ask("GET", f"{path}?detail=true")).json["bios"]
    assert {"read_only", "unique", "upper_bound"} <= set(detail[0])
    some = (await api.ask("GET", f"{path}?fields=value,name")).json["bios"]
    assert set(some[0]) == {"name", "value", "created_at", "updated_at", "links"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([{"name": "virtualization", "value": "perhaps"}], "virtualization cannot be"),
        ([{"name": "serial_number_label", "value": "x"}], "serial_number_label cannot be"),
        ([{"name": "memory_speed", "value": "1"}], "memory_speed cannot be"),
        ([{"value": "on"}], "name is missing"),
        ([], "settings must be a list"),
    ],
)
async def test_bios_settings_that_the_machine_refuses(
    api: Working, settings: list[Any], words: str
) -> None:
    await manageable(api)
    failed = await clean(api, "bios", "apply_configuration", settings=settings)
    assert failed["provision_state"] == "clean failed"
    assert words in failed["last_error"]


# -- firmware ------------------------------------------------------------------------------------


async def test_firmware_is_updated_and_its_history_kept(api: Working) -> None:
    await manageable(api, driver_info={"fake_restart": True})
    path = "/v1/nodes/n1/firmware"
    update = {"component": "bmc", "url": "https://host/bmc-2.3.1.bin"}
    done = await clean(api, "firmware", "update", settings=[update])
    assert (done["provision_state"], done["power_state"]) == ("manageable", "power on")
    shown = {one["component"]: one for one in (await api.ask("GET", path)).json["firmware"]}
    bmc, bios = shown["bmc"], shown["bios"]
    assert (bmc["initial_version"], bmc["current_version"]) == ("1.0", "2.3.1")
    assert (bmc["last_version_flashed"], bios["last_version_flashed"]) == ("2.3.1", None)
    assert bmc["vendor"] == "Imaginary" and bmc["serial_number"].startswith("FAKE")
    old = (await api.ask("GET", path, version="1.113")).json["firmware"][0]
    assert "vendor" not in old and "created_at" in old
    assert (await api.ask("GET", f"{path}?fields=vendor", version="1.113")).status == 400
    assert (await api.ask("GET", path, version="1.85")).status == 404
    bad = await clean(api, "firmware", "update", settings=[{"component": "x", "url": "http://h"}])
    assert "there is no component x" in bad["last_error"]


# -- RAID ----------------------------------------------------------------------------------------


async def test_raid_is_asked_for_made_and_deleted(api: Working) -> None:
    uuid = await manageable(api, driver_info={"fake_restart": "true"})
    path = "/v1/nodes/n1/states/raid"
    assert (await api.ask("PUT", path, DISKS)).status == 204
    states = (await api.ask("GET", "/v1/nodes/n1/states")).json
    assert (states["target_raid_config"], states["raid_config"]) == (DISKS, {})
    assert (await api.ask("GET", "/v1/nodes/n1/validate")).json["raid"]["result"] is True
    cycles = api.machine(uuid).power_cycles
    node = await clean(api, "raid", "create_configuration")
    assert node["last_error"] is None
    assert api.machine(uuid).power_cycles == cycles + 1, "it takes force at a restart only"
    (disk,) = node["raid_config"]["logical_disks"]
    assert (disk["size_gb"], disk["raid_level"]) == (50, "1")
    assert node["raid_config"]["last_updated"]
    assert node["properties"]["local_gb"] == 50
    assert node["properties"]["root_device"] == disk["root_device_hint"]
    assert "raid_level:1" in node["properties"]["capabilities"]
    node = await clean(api, "raid", "delete_configuration")
    assert (node["raid_config"], api.machine(uuid).raid) == ({}, [])
    assert (await api.ask("PUT", path, {})).status == 204
    failed = await clean(api, "raid", "create_configuration")
    assert failed["provision_state"] == "clean failed"
    assert "logical_disks" in failed["last_error"]


@pytest.mark.parametrize(
    "config",
    [
        {"logical_disks": []},
        {"logical_disks": [{"size_gb": 5}]},
        {"logical_disks": [{"size_gb": 5, "raid_level": "9"}]},
        {"logical_disks": [{"size_gb": "5", "raid_level": "1"}]},
        {"logical_disks": [{"size_gb": 5, "raid_level": "1", "colour": "red"}]},
        {"logical_disks": [{"size_gb": 5, "raid_level": "1", "physical_disks": ["a"]}]},
        {"logical_disks": [{**DISKS["logical_disks"][0]}, {**DISKS["logical_disks"][0]}]},
        {"other": 1},
    ],
)
async def test_wrong_raid_configurations(api: Working, config: dict[str, Any]) -> None:
    await api.node(name="n1")
    reply = await api.ask("PUT", "/v1/nodes/n1/states/raid", config)
    assert reply.status == 400 and "RAID config validation error" in reply.error


async def test_validate_tells_what_is_wrong_with_the_target(api: Working) -> None:
    await api.node(name="n1")
    await api.force("n1", target_raid_config={"logical_disks": [{"size_gb": 1}]})
    told = (await api.ask("GET", "/v1/nodes/n1/validate")).json["raid"]
    assert told["result"] is False and "raid_level" in told["reason"]


async def test_raid_where_there_is_none(api: Working) -> None:
    await api.node(name="n1", raid_interface="no-raid")
    assert (await api.ask("PUT", "/v1/nodes/n1/states/raid", DISKS)).status == 404
    assert (await api.ask("PUT", "/v1/nodes/n1/states/raid", DISKS, version="1.11")).status == 406


async def test_logical_disk_properties(api: Working) -> None:
    path = "/v1/drivers/fake-hardware/raid/logical_disk_properties"
    found = (await api.ask("GET", path)).json
    assert {"size_gb", "raid_level", "is_root_volume", "physical_disks"} <= set(found)
    assert (await api.ask("GET", path, version="1.11")).status == 406
    assert (await api.ask("GET", path.replace("fake-hardware", "none"))).status == 404


# -- modes ---------------------------------------------------------------------------------------


async def test_boot_mode_and_secure_boot(api: Working) -> None:
    uuid = await manageable(api)
    states = (await api.ask("GET", "/v1/nodes/n1/states")).json
    assert (states["boot_mode"], states["secure_boot"]) == ("uefi", False), "read at verification"
    reply = await api.ask("PUT", "/v1/nodes/n1/states/secure_boot", {"target": True})
    assert reply.status == 202 and reply.headers["location"].endswith("/n1/states")
    assert (await api.rest("n1"))["secure_boot"] is True and api.machine(uuid).secure_boot
    await api.ask("PUT", "/v1/nodes/n1/states/boot_mode", {"target": "bios"})
    node = await api.rest("n1")
    assert (node["boot_mode"], node["last_error"], node["reservation"]) == ("bios", None, None)
    await api.ask("PUT", "/v1/nodes/n1/states/secure_boot", {"target": "false"})
    await api.rest("n1")
    await api.ask("PUT", "/v1/nodes/n1/states/secure_boot", {"target": "yes"})
    node = await api.rest("n1")
    assert "secure boot needs the boot mode uefi" in node["last_error"]
    assert (node["secure_boot"], node["provision_state"]) == (False, "manageable")


async def test_modes_that_cannot_be(api: Working) -> None:
    await api.node(name="n1")
    mode, secure = "/v1/nodes/n1/states/boot_mode", "/v1/nodes/n1/states/secure_boot"
    assert (await api.ask("PUT", mode, {"target": "efi"})).status == 400
    assert (await api.ask("PUT", secure, {"target": "perhaps"})).status == 400
    assert (await api.ask("PUT", mode, {"target": "bios"}, version="1.75")).status == 404
    await api.force("n1", provision_state="deploying")
    assert (await api.ask("PUT", mode, {"target": "bios"})).status == 409


# -- lights, NMI, boot device --------------------------------------------------------------------


async def test_indicators(api: Working) -> None:
    await api.node(name="n1")
    path = "/v1/nodes/n1/management/indicators"
    found = {one["name"]: one for one in (await api.ask("GET", path)).json["indicators"]}
    assert set(found) == {"led-0@chassis", "led@system"}
    assert found["led@system"]["states"] == ["blinking", "off", "on"]
    assert found["led-0@chassis"]["readonly"] is True
    assert (await api.ask("GET", f"{path}/led@system")).json == {"state": "off"}
    assert (await api.ask("PUT", f"{path}/led@system", {"state": "blinking"})).status == 204
    assert (await api.ask("GET", f"{path}/led@system")).json == {"state": "blinking"}
    for name, state in (
        ("led@system", "purple"),
        ("led-0@chassis", "off"),
        ("led", "on"),
        ("led@nowhere", "on"),
        ("other@system", "on"),
    ):
        assert (await api.ask("PUT", f"{path}/{name}", {"state": state})).status == 400, name


async def test_nmi_and_boot_device(api: Working) -> None:
    uuid = (await api.node(name="n1"))["uuid"]
    assert (await api.ask("PUT", "/v1/nodes/n1/management/inject_nmi", {})).status == 204
    assert api.machine(uuid).nmis == 1
    old = await api.ask("PUT", "/v1/nodes/n1/management/inject_nmi", {}, version="1.28")
    assert old.status == 404
    path = "/v1/nodes/n1/management/boot_device"
    body = {"boot_device": "cdrom", "persistent": True}
    assert (await api.ask("PUT", path, body)).status == 204
    assert (await api.ask("GET", path)).json == body
    assert "pxe" in (await api.ask("GET", f"{path}/supported")).json["supported_boot_devices"]
    assert (await api.ask("PUT", path, {"boot_device": "tape"})).status == 400


async def test_what_a_controller_cannot_do_is_400(api: Working) -> None:
    await api.node(name="n1", management_interface="noop")
    assert (await api.ask("PUT", "/v1/nodes/n1/management/inject_nmi", {})).status == 400
    assert (await api.ask("GET", "/v1/nodes/n1/management/indicators")).status == 400
    assert (await api.ask("GET", "/v1/nodes/n1/vmedia")).status == 400


async def test_changes_wait_for_the_present_operation(api: World, tmp_path: Path) -> None:
    await api.node(name="n1", driver_info={"fake_delay": "power.set=fixed:30"})
    await api.ask("PUT", "/v1/nodes/n1/states/power", {"target": "power on"})
    for method, path, body in (
        ("PUT", "management/inject_nmi", {}),
        ("PUT", "management/boot_device", {"boot_device": "pxe"}),
        ("PUT", "management/indicators/led@system", {"state": "on"}),
        ("PUT", "states/boot_mode", {"target": "bios"}),
        ("PUT", "states/raid", DISKS),
        ("POST", "vmedia", {"device_type": "cdrom", "image_url": "http://h/i"}),
        ("POST", "vendor_passthru/second_method", {"bar": "x"}),
    ):
        assert (await api.ask(method, f"/v1/nodes/n1/{path}", body)).status == 409, path


# -- virtual media -------------------------------------------------------------------------------


async def test_virtual_media(api: Working) -> None:
    uuid = (await api.node(name="n1"))["uuid"]
    path = "/v1/nodes/n1/vmedia"
    body = {"device_type": "cdrom", "image_url": "https://host/x.iso"}
    assert (await api.ask("POST", path, body)).status == 204
    await api.rest("n1")
    shown = {one["device"]: one for one in (await api.ask("GET", path)).json}
    assert shown["cdrom"]["inserted"] and shown["cdrom"]["image"] == "https://host/x.iso"
    assert not shown["floppy"]["inserted"]
    await api.ask("POST", path, {**body, "device_type": "floppy"})
    await api.rest("n1")
    assert (await api.ask("DELETE", f"{path}?device_types=cdrom")).status == 204
    await api.rest("n1")
    assert set(api.machine(uuid).media) == {"floppy"}
    assert (await api.ask("DELETE", path)).status == 204
    await api.rest("n1")
    assert api.machine(uuid).media == {}
    for wrong in (
        {**body, "device_type": "tape"},
        {**body, "image_url": "ftp://h/x"},
        {**body, "image_url": "x.iso"},
        {**body, "image_download_source": "swift"},
        {"device_type": "cdrom"},
    ):
        assert (await api.ask("POST", path, wrong)).status == 400, wrong
    assert (await api.ask("DELETE", f"{path}?device_types=tape")).status == 400
    assert (await api.ask("POST", path, body, version="1.88")).status == 404
    assert (await api.ask("GET", path, version="1.92")).status == 404
    await api.force("n1", maintenance=True, fault="power failure")
    assert (await api.ask("POST", path, body)).status == 503


# -- vendor methods ------------------------------------------------------------------------------


async def test_vendor_methods(api: Working) -> None:
    await api.node(name="n1")
    path = "/v1/nodes/n1/vendor_passthru"
    methods = (await api.ask("GET", f"{path}/methods")).json
    assert methods["third_method_sync"]["async"] is False
    assert methods["second_method"] == {
        "async": True,
        "attach": False,
        "description": "Test if the value of bar is kazoo",
        "http_methods": ["POST"],
        "require_exclusive_lock": True,
    }
    sync = await api.ask("POST", f"{path}/third_method_sync", {"bar": "meow"})
    assert (sync.status, sync.json) == (200, True)
    by_query = await api.ask("POST", f"{path}?method=third_method_sync", {"bar": "woof"})
    assert (by_query.status, by_query.json) == (200, False)
    slow = await api.ask("POST", f"{path}/second_method", {"bar": "kazoo"})
    assert (slow.status, slow.json) == (202, None)
    assert (await api.rest("n1"))["last_error"] is None
    shared = await api.ask("POST", f"{path}/fourth_method_shared_lock", {"bar": "x"})
    assert shared.status == 202
    for method, name, body in (
        ("POST", "nothing", {"bar": "x"}),
        ("GET", "second_method", None),
        ("POST", "second_method", {}),
        ("POST", "second_method", ["bar"]),
    ):
        assert (await api.ask(method, f"{path}/{name}", body)).status == 400, (method, name)
    assert (await api.ask("POST", path, {})).status == 400


async def test_a_vendor_call_that_fails_is_told(api: Working) -> None:
    await api.node(name="n1", driver_info={"fake_fail": "vendor.*=1:refused"})
    await api.ask("POST", "/v1/nodes/n1/vendor_passthru/second_method", {"bar": "x"})
    node = await api.rest("n1")
    assert "simulated fault in vendor.second_method" in node["last_error"]
    assert node["reservation"] is None


async def test_vendor_methods_of_drivers_and_of_nodes_without(api: Working) -> None:
    drivers = "/v1/drivers/fake-hardware/vendor_passthru"
    assert (await api.ask("GET", f"{drivers}/methods")).json == {}
    assert (await api.ask("POST", f"{drivers}/some", {})).status == 400
    assert (await api.ask("GET", "/v1/drivers/none/vendor_passthru/methods")).status == 404
    await api.node(name="n1", vendor_interface="no-vendor")
    assert (await api.ask("GET", "/v1/nodes/n1/vendor_passthru/methods")).json == {}
    assert (await api.ask("POST", "/v1/nodes/n1/vendor_passthru/x", {})).status == 400
    api.become(project("admin", "p1"))
    assert (await api.ask("GET", f"{drivers}/methods")).status == 403
