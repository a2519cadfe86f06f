"""Boot device, boot mode, identity and health over Redfish, with the known quirks of services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.drivers.faults import Busy, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.identity import canonical_uuid
from ingot.drivers.machine.redfish.client import AccessDenied, HttpRefused
from ingot.drivers.machine.redfish.events import RedfishEvents
from ingot.drivers.machine.redfish.extras import RedfishExtras
from ingot.drivers.machine.redfish.nics import is_enabled, own_cards
from ingot.drivers.machine.redfish.sensors import read_sensors
from ingot.drivers.machine.redfish.system import health_of
from ingot.drivers.machine.redfish.words import unknown_value
from ingot.drivers.machine.types import (
    Access,
    BootChoice,
    BootDevice,
    BootMode,
    Identity,
    Sensor,
)
from ingot.drivers.shape import Json, child, link, strings, text

TARGETS = {
    BootDevice.PXE: ("Pxe",),
    BootDevice.DISK: ("Hdd",),
    BootDevice.CDROM: ("Cd", "UsbCd"),
    BootDevice.BIOS: ("BiosSetup",),
    BootDevice.FLOPPY: ("Floppy",),
    BootDevice.USB: ("Usb",),
    BootDevice.UEFIHTTP: ("UefiHttp",),
}
DEVICES = {name: device for device, names in TARGETS.items() for name in names}
ALLOWED_TARGETS = "BootSourceOverrideTarget@Redfish.AllowableValues"
ALLOWED_ENABLED = "BootSourceOverrideEnabled@Redfish.AllowableValues"
MODES = {BootMode.UEFI: "UEFI", BootMode.BIOS: "Legacy"}
TARGET, ENABLED, MODE = (f"BootSourceOverride{word}" for word in ("Target", "Enabled", "Mode"))
#: How long a service that is not ready yet is asked again (sushy: ten times, 3 s between).
NOT_READY_SECONDS, NOT_READY_PAUSE = 30.0, 3.0
READ_BACK_SECONDS = (0.5, 1.0, 2.0, 4.0)


class RedfishManagement(RedfishExtras, RedfishEvents):
    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._clock = context.clock

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return tuple(TARGETS)

    async def get_boot_device(self, access: Access) -> BootChoice:
        _, system, _ = await self._systems.read(access)
        boot = child(system, "Boot")
        enabled = text(boot, "BootSourceOverrideEnabled")
        mode = _mode(boot)
        device = DEVICES.get(text(boot, "BootSourceOverrideTarget"))
        if enabled == "Disabled" or device is None:
            return BootChoice(None, None, mode)
        return BootChoice(device, enabled == "Continuous", mode)

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        """Tries the request in full, then in the ways that the service's refusals leave, and reads it back.

        Only a refusal that says that it does not take a value changes the way. "For good" may then become "once":
        a service without Continuous cannot do better, and a disk is what such a machine boots by itself. "Once"
        never becomes "for good".
        """
        _, system, _ = await self._systems.read(access)
        target = _target(device, system)
        request = await self._order_one(access, _requests(target, persistent, mode, system))
        await self._keep_mode(access, request, mode or _mode(child(system, "Boot")))

    async def set_http_boot(self, access: Access, url: str, persistent: bool = False) -> None:
        """UEFI HTTP boot of this URL. Unsupported where the service knows no such boot device."""
        _, system, _ = await self._systems.read(access)
        _target(BootDevice.UEFIHTTP, system)
        enabled = "Continuous" if persistent else "Once"
        request: Json = {
            "BootSourceOverrideTarget": "UefiHttp",
            "BootSourceOverrideEnabled": enabled,
            "BootSourceOverrideMode": MODES[BootMode.UEFI],
            "HttpBootUri": url,
        }
        await self._order(access, request)

    async def clear_http_boot(self, access: Access) -> None:
        """Forget the URL of an earlier HTTP boot, if there is one."""
        _, system, _ = await self._systems.read(access)
        if text(child(system, "Boot"), "HttpBootUri"):
            await self._write(access, {"HttpBootUri": ""})

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.BIOS, BootMode.UEFI)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        _, system, _ = await self._systems.read(access)
        return _mode(child(system, "Boot"))

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        _, system, _ = await self._systems.read(access)
        boot = child(system, "Boot")
        if _mode(boot) is mode:
            return
        only: Json = {"BootSourceOverrideMode": MODES[mode]}
        request = dict(only)
        for name in ("BootSourceOverrideTarget", "BootSourceOverrideEnabled"):
            if text(boot, name):
                request[name] = text(boot, name)
        try:
            await self._write(access, request)
        except Refused:
            await self._write(access, only)
        await self._read_back(access, only, {})

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        return await read_sensors(self._systems, access)

    async def identity(self, access: Access) -> Identity:
        _, system, _ = await self._systems.read(access)
        return Identity(
            uuid=canonical_uuid(text(system, "UUID")),
            serial=text(system, "SerialNumber"),
            manufacturer=text(system, "Manufacturer"),
            model=text(system, "Model"),
            macs=await self._macs(access, system),
        )

    async def health(self, access: Access) -> str:
        _, system, _ = await self._systems.read(access)
        return health_of(system)

    async def _macs(self, access: Access, system: Json) -> tuple[str, ...]:
        collection = link(system, "EthernetInterfaces")
        if not collection:
            return ()
        try:
            nics = await self._systems.each(access, collection)
        except (Unsupported, Refused, AccessDenied, Busy):
            # UUID and serial prove enough; a busy controller must not be asked for all again.
            return ()
        return tuple(mac for mac, nic in own_cards(nics) if is_enabled(nic))

    # -- writing boot settings -------------------------------------------------------------------

    async def _order_one(self, access: Access, requests: Sequence[Json]) -> Json:
        """The first of these requests that the service takes."""
        for request in requests:
            try:
                await self._order(access, request)
                return request
            except HttpRefused as fault:
                if request is requests[-1] or not _says_unknown(fault):
                    raise
        raise AssertionError("no wish was given")

    async def _order(self, access: Access, request: Json) -> None:
        """Write a request and see that it is there."""
        before = (await self._boot_settings(access))[0]
        await self._write(access, request)
        try:
            await self._read_back(access, request, before)
        except Refused:
            if not _kept_for_good(before, request):
                raise
            # It holds on to what was set for good: taken off, it may take "once".
            await self._write(access, {"BootSourceOverrideEnabled": "Disabled"})
            before = (await self._boot_settings(access))[0]
            await self._write(access, request)
            await self._read_back(access, request, before)

    async def _keep_mode(self, access: Access, request: Json, mode: BootMode | None) -> None:
        """Some services fall back to Legacy when the boot device changes (AMI, Supermicro)."""
        now = _mode((await self._boot_settings(access))[0])
        if mode is None or now in (mode, None):
            return
        full: Json = {**request, "BootSourceOverrideMode": MODES[mode]}
        if full != request:
            await self._order(access, full)

    async def _write(self, access: Access, boot: Json) -> None:
        """Where the service wants it, waiting a while for one that is not ready."""
        deadline = self._clock.monotonic() + NOT_READY_SECONDS
        while True:
            try:
                await self._write_once(access, {"Boot": boot})
                return
            except Busy as fault:
                pause = min(fault.retry_after or NOT_READY_PAUSE, NOT_READY_PAUSE)
                if self._clock.monotonic() + pause > deadline:
                    raise
                await self._clock.sleep(pause)

    async def _write_once(self, access: Access, body: Json) -> None:
        """To the System or to its settings object: first to the one that shows boot settings, as sushy does."""
        client = self._systems.client
        path, system, etag = await self._systems.read(access)
        settings = _settings(system)
        if not settings:
            await client.patch(access, path, body, etag)
            return
        reply = await client.get(access, settings)
        places = [(path, etag), (settings, reply.headers.get("etag", ""))]
        if "BootSourceOverrideTarget" in child(reply.body, "Boot"):
            places.reverse()
        (first, its), (second, other) = places
        try:
            await client.patch(access, first, body, its)
        except (Refused, Unsupported) as fault:
            try:
                await client.patch(access, second, body, other)
            except (Refused, Unsupported):
                raise fault from None

    async def _boot_settings(self, access: Access) -> list[Json]:
        """Boot settings: the System's, and those that wait in its settings object."""
        _, system, _ = await self._systems.read(access)
        settings = _settings(system)
        waiting = await self._systems.maybe(access, settings) if settings else None
        return [child(system, "Boot"), *([child(waiting, "Boot")] if waiting else [])]

    async def _read_back(self, access: Access, request: Json, before: Json) -> None:
        """Read until it shows; some services apply late, some forget. before: what was there before the request."""
        shown: list[Json] = []
        for pause in (*READ_BACK_SECONDS, 0.0):
            shown = await self._boot_settings(access)
            if any(_shows(boot, request, before) for boot in shown):
                return
            if pause:
                await self._clock.sleep(pause)
        asked = ", ".join(str(value) for value in request.values())
        found = ", ".join(text(shown[0], name) for name in request if text(shown[0], name))
        raise Refused(
            f"boot setting {asked} was accepted, but the service reports {found or 'none'}",
            next_action="Reset the controller or update its firmware.",
        )


def _settings(system: Mapping[str, object]) -> str:
    """Path of the object that takes settings for the System's next start, "" when there is none."""
    return text(child(system, "@Redfish.Settings", "SettingsObject"), "@odata.id")


def _shows(boot: Mapping[str, object], request: Json, before: Mapping[str, object]) -> bool:
    """Whether boot settings show a request.

    A service may have its own way with how long an override lasts, but what stayed as it was (once was asked, for
    good is told) is no change at all.
    """
    for name, wanted in request.items():
        shown = text(boot, name)
        if name == ENABLED:
            same = text(before, TARGET) == text(boot, TARGET) and text(before, name) == shown
            fits = shown in ("", wanted) or shown == "Once" or (shown == "Continuous" and not same)
        elif name == TARGET or len(request) == 1:
            fits = shown == wanted
        else:
            fits = name == MODE or shown in ("", wanted)
        if not fits:
            return False
    return True


def _kept_for_good(before: Mapping[str, object], request: Json) -> bool:
    held = (text(before, TARGET), text(before, ENABLED))
    return held == (request.get(TARGET), "Continuous") and request.get(ENABLED) == "Once"


def _says_unknown(fault: HttpRefused) -> bool:
    """Whether a refusal is about a value or property that was sent, and will be the same tomorrow."""
    said = fault.cause
    named = any(word in said for word in (TARGET, ENABLED, MODE, "Continuous", "not supported"))
    return fault.status in (400, 422) and (unknown_value(fault.ids) or named)


def _mode(boot: Mapping[str, object]) -> BootMode | None:
    shown = text(boot, MODE)
    return next((mode for mode, name in MODES.items() if name == shown), None)


def _target(device: BootDevice, system: Mapping[str, object]) -> str:
    names = TARGETS.get(device)
    if names is None:
        raise Unsupported(f"Redfish has no boot device {device.value}")
    if device is BootDevice.CDROM and _is_supermicro(system):
        names = names[::-1]  # its virtual drive hangs at USB
    allowed = strings(child(system, "Boot"), ALLOWED_TARGETS)
    if not allowed:
        return TARGETS[device][0]
    for name in names:
        if name in allowed:
            return name
    raise Unsupported(
        f"boot device {device.value} needs {' or '.join(names)}; the service has "
        f"{', '.join(allowed)}"
    )


def _is_supermicro(system: Mapping[str, object]) -> bool:
    """Those whose virtual drive is at USB (all but Supermicro's ARS-111GL-NHR)."""
    maker, model = text(system, "Manufacturer").lower(), text(system, "Model").lower()
    return "supermicro" in maker and model != "ars-111gl-nhr"


def _wants_all(system: Mapping[str, object]) -> bool:
    """Whether every request must hold target, duration and mode, as for AMI's and Supermicro's controllers."""
    maker = text(system, "Manufacturer").lower()
    return any(word in maker for word in ("supermicro", "american megatrends", "asrockrack")) or (
        maker in ("ami", "redfish_compatible")
    )


def _requests(
    target: str, persistent: bool, mode: BootMode | None, system: Mapping[str, object]
) -> list[Json]:
    """What to try, best first."""
    boot = child(system, "Boot")
    allowed = strings(boot, ALLOWED_ENABLED)
    order = ["Continuous", "Once"] if persistent else ["Once"]
    enabled = [name for name in order if not allowed or name in allowed]
    if not enabled:
        raise Unsupported(
            f"the service knows no boot device for {' or '.join(order)}, only {', '.join(allowed)}"
        )
    present = _mode(boot)
    named = mode or present or (BootMode.UEFI if _wants_all(system) else None)
    requests: list[Json] = []
    for word in enabled:
        request: Json = {TARGET: target, ENABLED: word}
        ways: list[Json] = [{**request, MODE: MODES[named]}] if named else []
        if mode in (present, None) or present is None:
            ways.append(request)
        if mode is None and not _wants_all(system):
            ways.reverse()
        requests += ways
    return requests
