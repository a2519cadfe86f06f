"""Boot device, boot mode, identity and health over Redfish, with the known quirks of services."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Busy, DriverFault, Refused, Unsupported
from ingot.drivers.identity import canonical_uuid
from ingot.drivers.redfish.events import RedfishEvents
from ingot.drivers.redfish.extras import RedfishExtras
from ingot.drivers.redfish.nics import is_enabled, own_cards
from ingot.drivers.redfish.sensors import read_sensors
from ingot.drivers.redfish.system import health_of
from ingot.drivers.shape import Json, child, link, strings, text
from ingot.drivers.types import Access, BootChoice, BootDevice, BootMode, Identity, Sensor

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
        """Tries the wishes in full, then without what services are known to refuse.

        "For good" may become "once": a service without Continuous cannot do better, and a disk is
        what such a machine boots by itself.
        """
        path, system, etag = await self._systems.read(access)
        boot = child(system, "Boot")
        target = _target(device, boot)
        last: DriverFault | None = None
        for wish in _wishes(target, persistent, mode, boot):
            try:
                await self._write(access, path, system, etag, {"Boot": wish})
            except (Refused, Unsupported) as fault:
                last = fault
                _, _, etag = await self._systems.read(access)
                continue
            await self._verify(access, wish)
            return
        assert last is not None
        raise last

    async def set_http_boot(self, access: Access, url: str, persistent: bool = False) -> None:
        """UEFI HTTP boot of this URL. Unsupported where the service knows no such boot device."""
        path, system, etag = await self._systems.read(access)
        boot = child(system, "Boot")
        _target(BootDevice.UEFIHTTP, boot)
        enabled = "Continuous" if persistent else "Once"
        wish: Json = {
            "BootSourceOverrideTarget": "UefiHttp",
            "BootSourceOverrideEnabled": enabled,
            "BootSourceOverrideMode": MODES[BootMode.UEFI],
            "HttpBootUri": url,
        }
        await self._write(access, path, system, etag, {"Boot": wish})
        await self._verify(access, wish)

    async def clear_http_boot(self, access: Access) -> None:
        """Forget the URL of an earlier HTTP boot, if there is one."""
        path, system, etag = await self._systems.read(access)
        if text(child(system, "Boot"), "HttpBootUri"):
            await self._write(access, path, system, etag, {"Boot": {"HttpBootUri": ""}})

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.BIOS, BootMode.UEFI)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        _, system, _ = await self._systems.read(access)
        return _mode(child(system, "Boot"))

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        path, system, etag = await self._systems.read(access)
        boot = child(system, "Boot")
        if _mode(boot) is mode:
            return
        wish: Json = {"BootSourceOverrideMode": MODES[mode]}
        for name in ("BootSourceOverrideTarget", "BootSourceOverrideEnabled"):
            if text(boot, name):
                wish[name] = text(boot, name)
        try:
            await self._write(access, path, system, etag, {"Boot": wish})
        except Refused:
            _, _, etag = await self._systems.read(access)
            only: Json = {"BootSourceOverrideMode": MODES[mode]}
            await self._write(access, path, system, etag, {"Boot": only})

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
        except (Unsupported, Refused, Busy):
            # UUID and serial prove enough; a busy controller must not be asked for all again.
            return ()
        return tuple(mac for mac, nic in own_cards(nics) if is_enabled(nic))

    async def _write(self, access: Access, path: str, system: Json, etag: str, body: Json) -> None:
        """To the System, or to its settings object where the service wants that."""
        client = self._systems.client
        settings = text(child(system, "@Redfish.Settings", "SettingsObject"), "@odata.id")
        try:
            await client.patch(access, path, body, etag)
        except (Refused, Unsupported):
            if not settings:
                raise
            reply = await client.get(access, settings)
            await client.patch(access, settings, body, reply.headers.get("etag", ""))

    async def _verify(self, access: Access, wish: Mapping[str, object]) -> None:
        """Read back until it shows; some services apply late, some forget."""
        wanted = wish.get("BootSourceOverrideTarget")
        found = ""
        for pause in (*READ_BACK_SECONDS, 0.0):
            _, system, _ = await self._systems.read(access)
            found = text(child(system, "Boot"), "BootSourceOverrideTarget")
            pending = child(system, "@Redfish.Settings", "SettingsObject")
            if found == wanted or pending:
                return
            if pause:
                await self._clock.sleep(pause)
        raise Refused(
            f"boot device {wanted} was accepted, but the service reports {found or 'none'}",
            next_action="Reset the controller or update its firmware.",
        )


def _mode(boot: Mapping[str, object]) -> BootMode | None:
    told = text(boot, "BootSourceOverrideMode")
    return next((mode for mode, name in MODES.items() if name == told), None)


def _target(device: BootDevice, boot: Mapping[str, object]) -> str:
    names = TARGETS.get(device)
    if names is None:
        raise Unsupported(f"Redfish has no boot device {device.value}")
    allowed = strings(boot, ALLOWED_TARGETS)
    if not allowed:
        return names[0]
    for name in names:
        if name in allowed:
            return name
    raise Unsupported(
        f"boot device {device.value} needs {' or '.join(names)}; the service has "
        f"{', '.join(allowed)}"
    )


def _wishes(
    target: str, persistent: bool, mode: BootMode | None, boot: Mapping[str, object]
) -> list[Json]:
    """What to try, best first."""
    allowed = strings(boot, ALLOWED_ENABLED)
    order = ["Continuous", "Once"] if persistent else ["Once", "Continuous"]
    enabled = [name for name in order if not allowed or name in allowed] or order
    present = _mode(boot)
    wishes: list[Json] = []
    for word in enabled:
        wish: Json = {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": word}
        if mode is None:
            wishes.append(wish)
            if present is not None:  # Supermicro wants the mode in every request
                wishes.append({**wish, "BootSourceOverrideMode": MODES[present]})
            continue
        wishes.append({**wish, "BootSourceOverrideMode": MODES[mode]})
        if present in (mode, None):
            wishes.append(wish)
    return wishes
