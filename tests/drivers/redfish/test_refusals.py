"""What a controller's refusal may change, and what it may never: how long a boot device lasts, and the power."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers.faults import (
    BadCredentials,
    Busy,
    DriverFault,
    Refused,
    Unreachable,
    Unsupported,
)
from ingot.drivers.machine import DriverContext, Registry
from ingot.drivers.machine.powering import PowerProtocol, reach
from ingot.drivers.machine.redfish.client import RedfishClient
from ingot.drivers.machine.types import BootDevice, BootMode, PowerState, PowerTarget
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import SYSTEM, Service, error
from test_redfish import bench_of

pytestmark = pytest.mark.anyio
SETTINGS = f"{SYSTEM}/Settings"
ONCE, ALWAYS = "Once", "Continuous"


def refusing(
    times: int, ident: str, when: Callable[[str, str, dict[str, Any]], bool], status: int = 400
) -> Any:
    """A quirk: refuse so many fitting requests (-1: all of them)."""
    left = [times]

    def quirk(_: Service, method: str, path: str, body: dict[str, Any]) -> web.Response | None:
        if left[0] and when(method, path, body):
            left[0] -= 1
            reply = error(status, f"Refused as {ident.rpartition('.')[2]}", ident)
            reply.headers["Retry-After"] = "1"
            return reply
        return None

    return quirk


def patches(method: str, _path: str, _body: dict[str, Any]) -> bool:
    return method == "PATCH"


def sets(word: str) -> Callable[[str, str, dict[str, Any]], bool]:
    return lambda method, _path, body: (
        method == "PATCH" and body.get("Boot", {}).get("BootSourceOverrideEnabled") == word
    )


def enabled(service: Service) -> str:
    return service.system["Boot"]["BootSourceOverrideEnabled"]


# -- for how long -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ident", ["iLO.2.14.InvalidOperationForSystemState", "IDRAC.2.8.SYS518", "Base.1.0.InPostState"]
)
@pytest.mark.parametrize("persistent", [False, True])
async def test_who_is_not_ready_is_asked_again(
    registry: Registry, service: Service, ident: str, persistent: bool
) -> None:
    service.quirks.append(refusing(2, ident, patches))
    bench = bench_of(registry, service)
    await bench.management.set_boot_device(bench.access, BootDevice.PXE, persistent)
    assert enabled(service) == (ALWAYS if persistent else ONCE)


@pytest.mark.parametrize("ident", ["Base.1.0.PropertyValueNotInList", "Base.1.0.GeneralError"])
async def test_once_never_becomes_for_good(
    registry: Registry, service: Service, ident: str
) -> None:
    service.system["Boot"]["BootSourceOverrideEnabled"] = "Disabled"
    service.quirks.append(refusing(-1, ident, sets(ONCE)))
    bench = bench_of(registry, service)
    with pytest.raises(Refused, match=ident.rpartition(".")[2]):
        await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    assert enabled(service) == "Disabled"
    service.system["Boot"]["BootSourceOverrideEnabled@Redfish.AllowableValues"] = [ALWAYS]
    with pytest.raises(Unsupported, match="only Continuous"):
        await bench.management.set_boot_device(bench.access, BootDevice.PXE)


async def test_for_good_becomes_once_only_where_that_is_not_known(
    registry: Registry, service: Service
) -> None:
    bench = bench_of(registry, service)
    service.quirks = [refusing(-1, "Base.1.0.ResourceExhaustion", sets(ALWAYS))]
    with pytest.raises(Refused, match="ResourceExhaustion"):
        await bench.management.set_boot_device(bench.access, BootDevice.DISK, True)
    service.quirks = [refusing(-1, "Base.1.0.PropertyValueNotInList", sets(ALWAYS))]
    await bench.management.set_boot_device(bench.access, BootDevice.DISK, True)
    assert enabled(service) == ONCE


async def test_a_service_that_keeps_for_good_what_was_asked_once(
    registry: Registry, service: Service
) -> None:
    """While something is set for good, "once" changes nothing: that is seen, and it is taken off first."""

    def ignored(made: Service, method: str, _path: str, body: dict[str, Any]) -> Any:
        boot = body.get("Boot", {})
        held = made.system["Boot"]["BootSourceOverrideEnabled"] == ALWAYS
        if method == "PATCH" and held and boot.get("BootSourceOverrideEnabled") == ONCE:
            return web.Response(status=204)
        return None

    service.system["Boot"] |= {
        "BootSourceOverrideTarget": "Pxe",
        "BootSourceOverrideEnabled": ALWAYS,
    }
    service.quirks.append(ignored)
    bench = bench_of(registry, service)
    await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    assert enabled(service) == ONCE


# -- where settings are kept --------------------------------------------------------------------


def with_settings(service: Service, boot: dict[str, Any]) -> None:
    service.system["@Redfish.Settings"] = {"SettingsObject": {"@odata.id": SETTINGS}}
    service.resources[SETTINGS] = {"@odata.id": SETTINGS, "Boot": boot}


async def test_an_ignored_change_is_seen_where_there_are_settings(
    registry: Registry, service: Service
) -> None:
    with_settings(service, {})
    service.quirks.append(
        lambda _, method, path, body: web.Response(status=204) if method == "PATCH" else None
    )
    bench = bench_of(registry, service)
    with pytest.raises(Refused, match="the service reports"):
        await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    with pytest.raises(Refused, match="the service reports"):
        await bench.management.set_boot_mode(bench.access, BootMode.BIOS)


async def test_settings_that_show_boot_settings_take_them(
    registry: Registry, service: Service
) -> None:
    with_settings(service, {"BootSourceOverrideTarget": "None"})
    bench = bench_of(registry, service)
    await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    assert service.resources[SETTINGS]["Boot"]["BootSourceOverrideTarget"] == "Pxe"
    assert service.system["Boot"]["BootSourceOverrideTarget"] != "Pxe"


async def test_supermicro_is_asked_with_the_mode(registry: Registry, service: Service) -> None:
    """Without it, its controllers fall back to Legacy."""
    modes: list[object] = []

    def falls_back(made: Service, method: str, _path: str, body: dict[str, Any]) -> Any:
        if method == "PATCH":
            modes.append(body["Boot"].get("BootSourceOverrideMode"))
            if modes[-1] is None:
                body["Boot"]["BootSourceOverrideMode"] = "Legacy"
        return None

    service.quirks.append(falls_back)
    bench = bench_of(registry, service)
    # Not known as one of those: what it lost is given back.
    await bench.management.set_boot_device(bench.access, BootDevice.PXE)
    assert list(dict.fromkeys(modes)) == [None, "UEFI"]
    assert service.system["Boot"]["BootSourceOverrideMode"] == "UEFI"
    modes.clear()
    service.system["Manufacturer"] = "Supermicro"
    allowed = "BootSourceOverrideTarget@Redfish.AllowableValues"
    service.system["Boot"][allowed] = ["Pxe", "Hdd", "Cd", "UsbCd"]
    for device in (BootDevice.DISK, BootDevice.CDROM):
        await bench.management.set_boot_device(bench.access, device)
    assert set(modes) == {"UEFI"}
    assert service.system["Boot"]["BootSourceOverrideTarget"] == "UsbCd"


# -- power --------------------------------------------------------------------------------------


def resets(kind: str) -> Callable[[str, str, dict[str, Any]], bool]:
    return lambda method, path, body: path.endswith("Reset") and body.get("ResetType") == kind


async def test_a_reboot_outlasts_conflicts(registry: Registry, service: Service) -> None:
    service.system["PowerState"] = "On"
    service.quirks.append(
        refusing(2, "Base.1.0.ActionParameterValueConflict", resets("On"), status=409)
    )
    bench = bench_of(registry, service)
    outcome = await bench.power.set(bench.access, PowerTarget.REBOOT, 20)
    assert outcome.after is PowerState.ON and service.system["PowerState"] == "On"


async def test_power_on_outlasts_conflicts(registry: Registry, service: Service) -> None:
    service.quirks.append(refusing(1, "Base.1.0.ActionParameterValueConflict", resets("On"), 409))
    bench = bench_of(registry, service)
    assert (await bench.power.set(bench.access, PowerTarget.ON, 20)).after is PowerState.ON


@pytest.mark.parametrize("status", [400, 409, 503])
async def test_a_reboot_that_leaves_the_machine_off_says_so(
    registry: Registry, service: Service, status: int
) -> None:
    service.system["PowerState"] = "On"
    service.quirks.append(refusing(-1, "Base.1.0.Odd", resets("On"), status))
    bench = bench_of(registry, service)
    with pytest.raises((Refused, Busy), match=r"could not be switched on again.*Odd") as told:
        await bench.power.set(bench.access, PowerTarget.REBOOT, 4)
    assert "It is off now" in told.value.sentence()


class Board:
    """A machine that fails to obey a few times, each time in the same way."""

    def __init__(self, trouble: DriverFault, times: int) -> None:
        self.state, self.trouble, self.times = PowerState.ON, trouble, times

    async def read(self) -> PowerState:
        return self.state

    async def send(self, leg: PowerTarget) -> str:
        if leg is PowerTarget.ON and self.times:
            self.times -= 1
            raise self.trouble
        self.state = leg.final
        return leg.value


@pytest.mark.parametrize("trouble", [Unreachable("silent"), Busy("busy"), Refused("not now")])
async def test_a_machine_that_is_down_is_switched_on_with_patience(trouble: DriverFault) -> None:
    board = Board(trouble, 2)
    lines = PowerProtocol(board.read, board.send)
    outcome = await reach(lines, PowerTarget.REBOOT, SystemClock(), 4)
    assert outcome.after is board.state is PowerState.ON


async def test_action_info_that_is_not_there_does_not_block_power(
    registry: Registry, service: Service
) -> None:
    action = service.system["Actions"]["#ComputerSystem.Reset"]
    action["@Redfish.ActionInfo"] = "/redfish/v1/Systems/1/ResetActionInfo"
    kinds = action.pop("ResetType@Redfish.AllowableValues")

    def knows_force_only(made: Service, method: str, path: str, body: dict[str, Any]) -> Any:
        if not path.endswith("Reset"):
            return None
        if body["ResetType"] == "On":
            return error(400, "no such value", "Base.1.0.ActionParameterNotSupported")
        action["ResetType@Redfish.AllowableValues"] = kinds
        answer = made._reset("On")
        del action["ResetType@Redfish.AllowableValues"]
        return answer

    service.quirks.append(knows_force_only)
    bench = bench_of(registry, service)
    outcome = await bench.power.set(bench.access, PowerTarget.ON, 10)
    assert outcome.commands == ("Reset ForceOn",) and outcome.after is PowerState.ON


# -- words that mean something else ---------------------------------------------------------------


async def test_a_missing_license_is_no_wrong_password(
    context: DriverContext, registry: Registry, service: Service
) -> None:
    quirk = refusing(
        -1, "SMC.1.0.OemLicenseNotPassed", lambda m, path, b: path.endswith("/Bios"), 403
    )
    service.quirks.append(quirk)
    bench = bench_of(registry, service)
    client = context.shared(RedfishClient, lambda: RedfishClient(context))
    with pytest.raises(Unsupported, match="OemLicenseNotPassed"):
        await client.get(bench.access, f"{SYSTEM}/Bios")
    service.quirks = [refusing(-1, "Base.1.0.InsufficientPrivilege", lambda m, p, b: True, 403)]
    with pytest.raises(BadCredentials):
        await client.get(bench.access, f"{SYSTEM}/Bios")


async def test_who_gives_registries_packed_only_is_asked_so(
    registry: Registry, service: Service
) -> None:
    turns = iter((True, False))

    def packed_only(_: Service, _method: str, path: str, _body: Any) -> web.Response | None:
        if path == SYSTEM and next(turns):
            return error(406, "identity is not acceptable")
        return None

    service.quirks.append(packed_only)
    bench = bench_of(registry, service)
    assert await bench.power.get(bench.access) is PowerState.OFF


async def test_what_is_no_redfish_document_is_not_repeated(
    context: DriverContext, registry: Registry, service: Service
) -> None:
    """An address may lead to an inner service that is no controller."""
    inner = web.Response(status=400, text="the secret of an inner service")
    service.quirks.append(lambda _, method, path, body: inner if path.endswith("/Bios") else None)
    bench = bench_of(registry, service)
    client = context.shared(RedfishClient, lambda: RedfishClient(context))
    with pytest.raises(Refused, match="HTTP 400: no reason given") as told:
        await client.get(bench.access, f"{SYSTEM}/Bios")
    assert "secret" not in str(told.value)
