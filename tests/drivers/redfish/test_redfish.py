"""The redfish drivers against a small service with real-looking payloads and known quirks."""

import datetime
import ipaddress
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingot.drivers.faults import Busy, Refused, Unreachable, Unsupported
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.testing import Bench, check_all
from ingot.drivers.machine.types import (
    BootDevice,
    BootMode,
    Identity,
    PowerState,
    PowerTarget,
)
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import PASSWORD, SYSTEM, Service, error

pytestmark = pytest.mark.anyio


def bench_of(registry: Registry, service: Service, **changes: object) -> Bench:
    return Bench(
        registry=registry,
        driver="redfish",
        driver_info={**service.driver_info(), **changes},
        wrong_password={"redfish_password": "wr0ng-one"},
        dead={"redfish_address": "http://127.0.0.1:9"},
        secrets=(PASSWORD,),
        cycles=service.cycles,
        identity=Identity(
            "38947555-7742-3448-3784-823347823834",
            "CZ1234567K",
            "Contoso",
            "Granite 3000",
            ("52:54:00:aa:bb:01", "52:54:00:aa:bb:02"),
        ),
        verified_devices=(BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM),
    )


@pytest.mark.parametrize("auth", ["auto", "session", "basic"])
async def test_conforms(registry: Registry, service: Service, auth: str) -> None:
    await check_all(bench_of(registry, service, redfish_auth_type=auth))


async def test_conforms_without_sessions_and_with_etags(registry: Registry) -> None:
    service = await Service(sessions=False, need_etag=True).start()
    await check_all(bench_of(registry, service))
    await service.stop()


async def test_one_login_for_many_calls_and_a_new_one_when_forgotten(
    registry: Registry, service: Service
) -> None:
    bench = bench_of(registry, service)
    for _ in range(5):
        await bench.power.get(bench.access)
    assert service.logins == 1
    service.tokens.clear()
    await bench.power.get(bench.access)
    assert service.logins == 2
    await registry.aclose()
    assert service.tokens == set(), "the session was not ended"


async def test_system_is_found_or_must_be_named(registry: Registry, service: Service) -> None:
    bench = bench_of(registry, service)
    assert await bench.power.get(bench.access) is PowerState.OFF
    service.resources["/redfish/v1/Systems"]["Members"].append({"@odata.id": f"{SYSTEM}2"})
    fresh = build_registry(DriverContext(SystemClock()))
    two = bench_of(fresh, service)
    with pytest.raises(Unsupported, match="2 systems"):
        await two.power.get(two.access)
    named = two.with_options({"redfish_system_id": SYSTEM})
    assert await two.power.get(named) is PowerState.OFF
    await fresh.aclose()


async def test_reset_types_fall_back(registry: Registry, service: Service) -> None:
    action = service.system["Actions"]["#ComputerSystem.Reset"]
    action["ResetType@Redfish.AllowableValues"] = ["ForceOn", "ForceOff"]
    bench = bench_of(registry, service)
    outcome = await bench.power.set(bench.access, PowerTarget.ON)
    assert outcome.commands == ("Reset ForceOn",)
    with pytest.raises(Unsupported, match="GracefulShutdown"):
        await bench.power.set(bench.access, PowerTarget.SOFT_OFF)


async def test_reset_types_by_action_info(registry: Registry, service: Service) -> None:
    action = service.system["Actions"]["#ComputerSystem.Reset"]
    del action["ResetType@Redfish.AllowableValues"]
    action["@Redfish.ActionInfo"] = "/redfish/v1/Systems/1/ResetActionInfo"
    service.resources["/redfish/v1/Systems/1/ResetActionInfo"] = {
        "Parameters": [{"Name": "ResetType", "AllowableValues": ["ForceOn"]}]
    }

    def force_on(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if body.get("ResetType") == "ForceOn":
            here.system["PowerState"] = "On"
            return web.Response(status=204)
        return None

    service.quirks.append(force_on)
    bench = bench_of(registry, service)
    assert (await bench.power.set(bench.access, PowerTarget.ON)).commands == ("Reset ForceOn",)


async def test_a_lost_command_is_sent_once_more(registry: Registry, service: Service) -> None:
    lost: list[str] = []

    def lose_first(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if path.endswith("Reset") and not lost:
            lost.append(path)
            return web.Response(status=204)
        return None

    service.quirks.append(lose_first)
    bench = bench_of(registry, service)
    outcome = await bench.power.set(bench.access, PowerTarget.ON, 4)
    assert outcome.commands == ("Reset On", "Reset On") and outcome.after is PowerState.ON


async def test_a_controller_that_lies_about_power_is_refused(
    registry: Registry, service: Service
) -> None:
    service.quirks.append(
        lambda here, method, path, body: (
            web.Response(status=204) if path.endswith("Reset") else None
        )
    )
    bench = bench_of(registry, service)
    with pytest.raises(Refused, match="still power off"):
        await bench.power.set(bench.access, PowerTarget.ON, 2)


async def test_503_while_busy_is_waited_out(registry: Registry, service: Service) -> None:
    turns = iter(range(10))

    def busy_twice(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if path.endswith("Reset") and next(turns) < 2:
            reply = error(503, "Try later", "Base.1.0.ServiceTemporarilyUnavailable")
            reply.headers["Retry-After"] = "1"
            return reply
        return None

    service.quirks.append(busy_twice)
    bench = bench_of(registry, service)
    assert (await bench.power.set(bench.access, PowerTarget.ON, 30)).after is PowerState.ON
    service.quirks = [lambda here, m, p, b: error(503, "Try later") if p == SYSTEM else None]
    with pytest.raises(Busy, match="Try later"):
        await bench.power.get(bench.access)


async def test_boot_falls_back_without_continuous(registry: Registry, service: Service) -> None:
    def only_once(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        wish = body.get("Boot", {})
        if wish.get("BootSourceOverrideEnabled") == "Continuous":
            return error(400, "Continuous is not in the list", "Base.1.0.PropertyValueNotInList")
        return None

    service.quirks.append(only_once)
    bench = bench_of(registry, service)
    await bench.management.set_boot_device(bench.access, BootDevice.DISK, True, BootMode.UEFI)
    assert service.system["Boot"]["BootSourceOverrideEnabled"] == "Once"


async def test_boot_mode_is_sent_where_the_service_wants_it(
    registry: Registry, service: Service
) -> None:
    def want_mode(here: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if method == "PATCH" and "BootSourceOverrideMode" not in body.get("Boot", {}):
            return error(400, "BootSourceOverrideMode is missing", "Base.1.0.PropertyMissing")
        return None

    service.quirks.append(want_mode)
    bench = bench_of(registry, service)
    await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    assert service.system["Boot"]["BootSourceOverrideTarget"] == "Pxe"


async def test_a_lost_boot_device_is_reported(registry: Registry, service: Service) -> None:
    service.quirks.append(
        lambda here, method, path, body: web.Response(status=204) if method == "PATCH" else None
    )
    bench = bench_of(registry, service)
    with pytest.raises(Refused, match="the service reports None"):
        await bench.management.set_boot_device(bench.access, BootDevice.PXE)


async def test_boot_mode(registry: Registry, service: Service) -> None:
    bench = bench_of(registry, service)
    assert await bench.management.get_boot_mode(bench.access) is BootMode.UEFI
    await bench.management.set_boot_mode(bench.access, BootMode.BIOS)
    assert await bench.management.get_boot_mode(bench.access) is BootMode.BIOS


async def test_sensors_and_health(registry: Registry, service: Service) -> None:
    bench = bench_of(registry, service)
    found = {s.name: s for s in await bench.management.sensors(bench.access)}
    assert set(found) == {"Inlet", "Fan 1", "System"}
    assert (found["Inlet"].value, found["Inlet"].unit, found["Inlet"].health) == (21, "C", "ok")
    assert found["Fan 1"].health == "critical"
    assert await bench.management.health(bench.access) == "warning"


async def test_virtual_media(registry: Registry, service: Service) -> None:
    bench = bench_of(registry, service)
    boot = registry.boot("redfish", "redfish-virtual-media")
    drive = service.resources["/redfish/v1/Managers/1/VirtualMedia/Cd"]
    for _ in range(2):
        await boot.prepare_ramdisk(bench.access, BootMode.UEFI, "http://10.0.0.1/agent.iso")
    assert (drive["Image"], drive["Inserted"]) == ("http://10.0.0.1/agent.iso", True)
    assert sum("InsertMedia" in asked for asked in service.asked) == 1
    assert service.system["Boot"]["BootSourceOverrideTarget"] == "Cd"
    for _ in range(2):
        await boot.clean_up(bench.access)
    assert (drive["Image"], drive["Inserted"]) == (None, False)


async def test_inventory(registry: Registry, service: Service) -> None:
    bench = bench_of(registry, service)
    data = await registry.inspect("redfish", "redfish").inspect(bench.access)
    inventory: Any = data["inventory"]
    assert inventory["cpu"]["count"] == 64
    assert inventory["memory"]["physical_mb"] == 96 * 1024
    assert inventory["disks"][0]["size"] == 960197124096
    assert inventory["interfaces"][0]["mac_address"] == "52:54:00:aa:bb:01"


async def test_inventory_of_a_talkative_controller(registry: Registry, service: Service) -> None:
    system, at = service.system, "/redfish/v1/Systems/1"

    def add(path: str, *members: Any) -> dict[str, str]:
        for number, member in enumerate(members):
            service.resources[f"{path}/{number}"] = member
        links = [{"@odata.id": f"{path}/{number}"} for number in range(len(members))]
        service.resources[path] = {"Members": links}
        return {"@odata.id": path}

    chip = {"InstructionSet": "ARM-A64", "Model": "Neoverse", "MaxSpeedMHz": 3000}
    system["Processors"] = add(f"{at}/Processors", {"ProcessorType": "GPU"}, chip)
    function = {"VendorId": "0x10de", "DeviceId": "0x1eb8", "DeviceClass": "DisplayController"}
    service.resources["/d"] = {"PCIeFunctions": add("/d/f", function, {})}
    system["PCIeDevices"] = [{"@odata.id": "/d"}, {"@odata.id": "/missing"}]
    heard = {"ChassisId": "11:22:33:44:55:66", "PortId": "Ethernet1/7", "SystemName": "leaf-1"}
    port = {"Id": "NIC.1", "Ethernet": {"LLDPReceive": heard}}
    adapters = add("/c/a", {"Ports": add("/c/a/p", port, {"Id": "NIC.2"})})
    service.resources["/c"] = {"NetworkAdapters": adapters}
    system["Links"] = {**system.get("Links", {}), "Chassis": [{"@odata.id": "/c"}]}

    bench = bench_of(registry, service)
    data: Any = await registry.inspect("redfish", "redfish").inspect(bench.access)
    inventory = data["inventory"]
    assert inventory["cpu"]["architecture"] == "aarch64"
    assert (inventory["cpu"]["model_name"], inventory["cpu"]["frequency"]) == ("Neoverse", 3000)
    assert inventory["pci_devices"] == [
        {"class": "DisplayController", "product_id": "0x1eb8", "vendor_id": "0x10de"}
    ]
    assert data["parsed_lldp"] == {
        "NIC.1": {
            "switch_chassis_id": "11:22:33:44:55:66",
            "switch_port_id": "Ethernet1/7",
            "switch_system_name": "leaf-1",
        }
    }
    (controller,) = inventory["storage_controllers"]
    assert controller["drives"][0]["size"] == inventory["disks"][0]["size"]


async def test_certificates(registry: Registry, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    service = await Service().start(tls)
    bench = bench_of(registry, service)
    with pytest.raises(Unreachable, match="not trusted") as caught:
        await bench.power.get(bench.access)
    assert "redfish_verify_ca" in caught.value.next_action
    for verify in (str(pem), False, "false"):
        access = bench.with_options({"redfish_verify_ca": verify})
        assert await bench.power.get(access) is PowerState.OFF
    await service.stop()


def make_certificate(folder: Path) -> Path:
    """A self-made certificate for 127.0.0.1 with its key, as one PEM file."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    san = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(san, critical=False)
        .sign(key, hashes.SHA384())
    )
    pem = folder / "bench.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return pem
