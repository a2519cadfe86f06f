"""Boot device, sensors, identity and health over IPMI.

Boot flags are those of IPMI 2.0, table 28-14. Sensors come through ipmitool, which knows their many records.
"""

from __future__ import annotations

import csv
import io

from ingot.drivers.faults import DriverFault, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.identity import canonical_uuid
from ingot.drivers.machine.ipmi import fru
from ingot.drivers.machine.ipmi.lan import IpmiLan
from ingot.drivers.machine.ipmi.power import CHASSIS, STATUS, health_of
from ingot.drivers.machine.ipmi.tool import IpmiTool
from ingot.drivers.machine.none import PlainManagement
from ingot.drivers.machine.types import (
    Access,
    BootChoice,
    BootDevice,
    BootMode,
    Identity,
    Sensor,
)

DEVICES = {
    BootDevice.PXE: 1,
    BootDevice.DISK: 2,
    BootDevice.SAFE: 3,
    BootDevice.CDROM: 5,
    BootDevice.BIOS: 6,
    BootDevice.FLOPPY: 15,
}
VALID, PERSISTENT, EFI = 0x80, 0x40, 0x20
#: Supermicro's UEFI disk is what the specification calls primary remote media, as upstream found out.
UEFI_DISK, SUPERMICRO = 9, frozenset({10876, 47488})
UNITS = {
    "degrees c": ("temperature", "C"),
    "rpm": ("fan", "RPM"),
    "volts": ("voltage", "V"),
    "amps": ("current", "A"),
    "watts": ("power", "W"),
    "percent": ("other", "%"),
}
HEALTH = {"ok": "ok", "nc": "warning", "cr": "critical", "nr": "critical"}


class IpmiManagement(PlainManagement):
    def __init__(self, context: DriverContext) -> None:
        self._lan = context.shared(IpmiLan, lambda: IpmiLan(context))
        self._tool = context.shared(IpmiTool, lambda: IpmiTool(context))

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return tuple(DEVICES)

    async def get_boot_device(self, access: Access) -> BootChoice:
        data = await self._lan.ask(access, 0x00, 0x09, bytes([0x05, 0x00, 0x00]))
        if len(data) < 4:
            raise Refused(f"boot flags are {len(data)} bytes long: {data.hex()}")
        code = (data[3] >> 2) & 0x0F
        if code == UEFI_DISK and data[2] & EFI:
            code = DEVICES[BootDevice.DISK]
        device = next((d for d, known in DEVICES.items() if known == code), None)
        if not data[2] & VALID:
            # Used up, or a controller that never says valid (OpenIPMI's): only the device is told.
            return BootChoice(device, None, None)
        mode = BootMode.UEFI if data[2] & EFI else BootMode.BIOS
        return BootChoice(device, bool(data[2] & PERSISTENT), mode)

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        if device not in DEVICES:
            raise Unsupported(f"IPMI has no boot device {device.value}")
        if access.flag("ipmi_disable_boot_timeout", True):
            # Else the flags lapse when the machine needs more than 60 s to look at them.
            await self._tolerant(access, bytes([0x03, 0x08]))
        flags = VALID | (PERSISTENT if persistent else 0)
        # As upstream: what nobody knows is UEFI.
        flags |= 0 if mode is BootMode.BIOS else EFI
        number = DEVICES[device]
        if device is BootDevice.DISK and flags & EFI and await self._maker(access) in SUPERMICRO:
            number = UEFI_DISK
        code = number << 2
        await self._lan.ask(access, 0x00, 0x08, bytes([0x05, flags, code, 0x00, 0x00, 0x00]))
        await self._verify(access, device)

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.BIOS, BootMode.UEFI)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        return (await self.get_boot_device(access)).mode

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        raise Unsupported(
            "IPMI can only ask for a boot mode together with a boot device",
            next_action="Set the mode in the firmware's menu; give boot_mode with the boot device.",
        )

    async def inject_nmi(self, access: Access) -> None:
        await self._lan.ask(access, 0x00, 0x02, bytes([4]))

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        await self._lan.find_suite(access)
        text = await self._tool.run(access, "-c", "sdr", "list", "full", seconds=90.0)
        return tuple(_sensor(row) for row in csv.reader(io.StringIO(text)) if len(row) >= 4)

    async def identity(self, access: Access) -> Identity:
        uuid = ""
        try:
            guid = await self._lan.ask(access, 0x06, 0x37)
            # Shown as SMBIOS has it; `identity.compare` tolerates the other orders.
            uuid = canonical_uuid((guid[3::-1] + guid[5:3:-1] + guid[7:5:-1] + guid[8:]).hex())
        except (Unsupported, Refused):
            pass
        try:
            told = await self._lan.talk(access, fru.read)
        except (Unsupported, Refused):
            told = {}
        return Identity(
            uuid=uuid,
            serial=_first(told, "Product Serial", "Chassis Serial", "Board Serial"),
            manufacturer=_first(told, "Product Manufacturer", "Board Mfg"),
            model=_first(told, "Product Name", "Board Product"),
        )

    async def health(self, access: Access) -> str:
        return health_of(await self._lan.ask(access, CHASSIS, STATUS))

    async def _verify(self, access: Access, device: BootDevice) -> None:
        """Some controllers accept a boot device and forget it; some can't be asked."""
        try:
            found = await self.get_boot_device(access)
        except (Unsupported, Refused):
            return
        if found.device is not device:
            told = found.device.value if found.device else "none"
            raise Refused(
                f"boot device {device.value} was accepted, but the controller reports {told}",
                next_action="Reset the controller (bmc_reset) or update its firmware.",
            )

    async def _maker(self, access: Access) -> int:
        """The IANA number of the controller's maker (Get Device ID); 0 when it does not say."""
        try:
            told = await self._lan.ask(access, 0x06, 0x01)
        except (Unsupported, Refused):
            return 0
        return int.from_bytes(told[6:9], "little") & 0xFFFFF

    async def _tolerant(self, access: Access, data: bytes) -> None:
        try:
            await self._lan.ask(access, 0x00, 0x08, data)
        except (Unsupported, Refused) as fault:
            # Not every controller knows the timer; the boot flags still count.
            assert isinstance(fault, DriverFault)


def _first(fields: dict[str, str], *names: str) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def _sensor(row: list[str]) -> Sensor:
    name, value, unit, status = (cell.strip() for cell in row[:4])
    kind, short = UNITS.get(unit.lower(), ("other", unit))
    try:
        number: float | None = float(value)
    except ValueError:
        number = None
    return Sensor(name, kind, number, short, HEALTH.get(status.lower(), "unknown"))
