"""The IPMI commands of a simulated BMC (specification chapters 20 to 35), one function each.

A handler takes the request's data and gives completion code and answer. What is not here is
answered C1h (invalid command), as a modest BMC does.
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Awaitable, Callable

from ingot.lab.sim.bmc import Bmc, BmcRefused, Caller
from ingot.lab.sim.ipmi_wire import cipher_records
from ingot.lab.sim.redfish_docs import sensors
from ingot.lab.sim.types import BootDevice, BootMode, BootSetting, PowerState

OK, NODE_BUSY, INVALID, LENGTH, NOT_PRESENT = 0x00, 0xC0, 0xC1, 0xC7, 0xCB
BAD_FIELD, NOT_NOW, NO_PARAMETER = 0xCC, 0xD5, 0x80

CHASSIS, SENSOR, APP, STORAGE, TRANSPORT = 0x00, 0x04, 0x06, 0x0A, 0x0C

Answer = tuple[int, bytes]
Handler = Callable[[bytes, Caller], Awaitable[Answer]]

_CONTROLS = {0: "off", 1: "on", 2: "cycle", 3: "reset", 4: "nmi", 5: "soft"}
_DEVICES = {
    0: BootDevice.NONE,
    1: BootDevice.NETWORK,
    2: BootDevice.DISK,
    5: BootDevice.CDROM,
    6: BootDevice.SETUP,
}
_NUMBERS = {device: number for number, device in _DEVICES.items()}
BMC_RESET_SECONDS = 60.0
#: Numbers of makers (IANA).
DELL, SUPERMICRO = 674, 10876
#: The disk of a Supermicro board in UEFI mode; it takes its ordinary number for a disk of the old mode.
UEFI_DISK = 9


class CommandSet:
    """All commands of one BMC that need no session of their own."""

    def __init__(self, bmc: Bmc, address: str) -> None:
        self.bmc = bmc
        self.address = address
        self._boot_valid = False
        self._sdr_reservation = 0
        self._sel: list[bytes] = []
        self.table: dict[tuple[int, int], Handler] = {
            (APP, 0x01): self._device_id,
            (APP, 0x02): self._reset_bmc,
            (APP, 0x03): self._reset_bmc,
            (APP, 0x37): self._guid,
            (APP, 0x08): self._guid,
            (APP, 0x38): self._auth_capabilities,
            (APP, 0x42): self._channel_info,
            (APP, 0x54): self._cipher_suites,
            (CHASSIS, 0x00): self._chassis_capabilities,
            (CHASSIS, 0x01): self._chassis_status,
            (CHASSIS, 0x02): self._chassis_control,
            (CHASSIS, 0x04): self._identify,
            (CHASSIS, 0x08): self._set_boot,
            (CHASSIS, 0x09): self._get_boot,
            (SENSOR, 0x2D): self._sensor_reading,
            (STORAGE, 0x10): self._fru_info,
            (STORAGE, 0x11): self._fru_read,
            (STORAGE, 0x20): self._sdr_info,
            (STORAGE, 0x22): self._sdr_reserve,
            (STORAGE, 0x23): self._sdr_get,
            (STORAGE, 0x40): self._sel_info,
            (STORAGE, 0x42): self._sel_reserve,
            (STORAGE, 0x43): self._sel_get,
            (STORAGE, 0x47): self._sel_clear,
            (STORAGE, 0x48): self._sel_time,
            (TRANSPORT, 0x02): self._lan_parameter,
            (TRANSPORT, 0x22): self._sol_parameter,
        }

    # Application --------------------------------------------------------------------------

    async def _device_id(self, _data: bytes, _caller: Caller) -> Answer:
        maker = SUPERMICRO if self._is_supermicro else DELL
        return OK, bytes.fromhex("2001071002bf") + maker.to_bytes(3, "little") + b"\x01\x01\0\0\0\0"

    @property
    def _is_supermicro(self) -> bool:
        return self.bmc.faults.maker == "Supermicro"

    async def _reset_bmc(self, _data: bytes, caller: Caller) -> Answer:
        self.bmc.restart(caller, BMC_RESET_SECONDS)
        return OK, b""

    def guid_bytes(self) -> bytes:
        """In the SMBIOS order of octets, which most vendors use."""
        return uuid.UUID(self.bmc.uuid).bytes_le

    async def _guid(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, self.guid_bytes()

    async def _auth_capabilities(self, data: bytes, _caller: Caller) -> Answer:
        if len(data) < 2:
            return LENGTH, b""
        extended = data[0] & 0x80
        return OK, bytes([1, 0x80 if extended else 0x00, 0x04, 0x02, 0, 0, 0, 0])

    async def _channel_info(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, bytes([1, 0x04, 0x01, 0x80, 0xF2, 0x1B, 0x00, 0x00, 0x00])

    async def _cipher_suites(self, data: bytes, _caller: Caller) -> Answer:
        index = (data[2] & 0x3F) if len(data) > 2 else 0
        return OK, b"\x01" + cipher_records()[index * 16 : index * 16 + 16]

    # Chassis ------------------------------------------------------------------------------

    async def _chassis_capabilities(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, bytes([0, 0x20, 0x20, 0x20, 0x20, 0x20])

    async def _chassis_status(self, _data: bytes, _caller: Caller) -> Answer:
        on = await self.bmc.power_state() is PowerState.ON
        fault = 0x04 if self.bmc.faults.health == "Critical" else 0
        return OK, bytes([0x40 | int(on), 0, 0x40 | fault])

    async def _chassis_control(self, data: bytes, caller: Caller) -> Answer:
        action = _CONTROLS.get(data[0] & 0x0F) if data else None
        if action is None:
            return BAD_FIELD, b""
        try:
            await self.bmc.power(action, caller)
        except BmcRefused:
            return NOT_NOW, b""
        return OK, b""

    async def _identify(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, b""

    async def _set_boot(self, data: bytes, caller: Caller) -> Answer:
        if not data:
            return LENGTH, b""
        if data[0] & 0x7F != 5:
            # Set-in-progress, service partition, valid-bit clearing, info acknowledge.
            return (OK, b"") if data[0] & 0x7F in (0, 1, 2, 3, 4) else (NO_PARAMETER, b"")
        if len(data) < 6:
            return LENGTH, b""
        valid, lasting, efi = data[1] & 0x80, data[1] & 0x40, data[1] & 0x20
        device = _DEVICES.get((data[2] >> 2) & 0x0F)
        if self._is_supermicro and efi and (data[2] >> 2) & 0x0F in (2, UEFI_DISK):
            device = BootDevice.DISK if (data[2] >> 2) & 0x0F == UEFI_DISK else BootDevice.NONE
        if device is None:
            return BAD_FIELD, b""
        if not valid:
            device = BootDevice.NONE
        mode = BootMode.UEFI if efi else BootMode.BIOS
        await self.bmc.set_boot(BootSetting(device, not lasting, mode), caller)
        return OK, b""

    async def _get_boot(self, data: bytes, _caller: Caller) -> Answer:
        if not data:
            return LENGTH, b""
        match data[0] & 0x7F:
            case 0:
                return OK, bytes([1, 0, 0])
            case 5:
                setting = await self.bmc.backend.boot_setting()
                flags = 0 if setting.device is BootDevice.NONE else 0x80
                flags |= 0 if setting.once else 0x40
                flags |= 0x20 if setting.mode is BootMode.UEFI else 0
                number = _NUMBERS[setting.device]
                if number == 2 and flags & 0x20 and self._is_supermicro:
                    number = UEFI_DISK
                return OK, bytes([1, 5, flags, number << 2, 0, 0, 0])
            case number if number < 8:
                return OK, bytes([1, number, 0, 0])
            case _:
                return NO_PARAMETER, b""

    # Sensors, records ---------------------------------------------------------------------

    async def _sensor_reading(self, data: bytes, _caller: Caller) -> Answer:
        names = ("cpu", "inlet", "fan")
        if not data or not 1 <= data[0] <= len(names):
            return NOT_PRESENT, b""
        on = await self.bmc.power_state() is PowerState.ON
        value = sensors(self.bmc, on)[names[data[0] - 1]]
        raw = round(value / 100) if data[0] == 3 else round(value)
        return OK, bytes([raw, 0xC0, 0, 0])

    def _records(self) -> list[bytes]:
        rows = (
            (1, "CPU1 Temp", 0x01, 1, 0),
            (2, "Inlet Temp", 0x01, 1, 0),
            (3, "Fan1", 0x12, 1, 2),
        )
        return [_full_record(*row) for row in rows]

    async def _sdr_info(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, struct.pack("<BHHIIB", 0x51, len(self._records()), 0xFFFF, 0, 0, 0x22)

    async def _sdr_reserve(self, _data: bytes, _caller: Caller) -> Answer:
        self._sdr_reservation = self._sdr_reservation % 0xFFFF + 1
        return OK, struct.pack("<H", self._sdr_reservation)

    async def _sdr_get(self, data: bytes, _caller: Caller) -> Answer:
        if len(data) < 6:
            return LENGTH, b""
        ident, offset, count = struct.unpack_from("<HBB", data, 2)
        records = self._records()
        number = len(records) - 1 if ident == 0xFFFF else ident
        if number >= len(records):
            return NOT_PRESENT, b""
        following = number + 1 if number + 1 < len(records) else 0xFFFF
        record = records[number]
        end = len(record) if count == 0xFF else offset + count
        return OK, struct.pack("<H", following) + record[offset:end]

    async def _sel_info(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, struct.pack("<BHHIIB", 0x51, len(self._sel), 4096, 0, 0, 0x02)

    async def _sel_reserve(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, b"\x01\x00"

    async def _sel_get(self, _data: bytes, _caller: Caller) -> Answer:
        return NOT_PRESENT, b""

    async def _sel_clear(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, b"\x01"

    async def _sel_time(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, struct.pack("<I", int(time.time()))

    async def _fru_info(self, _data: bytes, _caller: Caller) -> Answer:
        return OK, struct.pack("<HB", len(self._fru()), 0)

    async def _fru_read(self, data: bytes, _caller: Caller) -> Answer:
        if len(data) < 4:
            return LENGTH, b""
        offset, count = struct.unpack_from("<HB", data, 1)
        part = self._fru()[offset : offset + count]
        return OK, bytes([len(part)]) + part

    def _fru(self) -> bytes:
        identity = self.bmc.backend.identity
        product = _area(
            b"\x19",
            self.bmc.maker,
            identity.model,
            identity.serial,
            "",
            identity.serial,
        )
        header = bytes([1, 0, 0, 0, 1, 0, 0])
        return header + bytes([-sum(header) & 0xFF]) + product

    # LAN and SOL settings -----------------------------------------------------------------

    async def _lan_parameter(self, data: bytes, _caller: Caller) -> Answer:
        if len(data) < 2:
            return LENGTH, b""
        mac = bytes.fromhex(self.bmc.backend.identity.bmc_mac.replace(":", ""))
        values = {
            0: b"\0",
            3: bytes(int(part) for part in self.address.split(".")),
            4: b"\x01",
            5: mac,
            6: b"\xff\0\0\0",
        }
        value = values.get(data[1])
        return (NO_PARAMETER, b"") if value is None else (OK, b"\x11" + value)

    async def _sol_parameter(self, data: bytes, _caller: Caller) -> Answer:
        if len(data) < 2:
            return LENGTH, b""
        values = {0: b"\0", 1: b"\x01", 2: b"\x84", 3: b"\x05\x60", 4: b"\x05\x14", 5: b"\x0a"}
        values |= {6: b"\x0a", 7: b"\x01"}
        value = values.get(data[1])
        return (NO_PARAMETER, b"") if value is None else (OK, b"\x11" + value)


def _full_record(number: int, name: str, kind: int, unit: int, exponent: int) -> bytes:
    """A full sensor record (type 01h) with a linear reading times ten to `exponent`."""
    base_unit = 18 if kind == 0x12 else unit
    sensor_type = 0x04 if kind == 0x12 else kind
    text = name.encode()
    body = bytes([0x20, 0, number, 7, number, 0x7F, 0x68, sensor_type, 0x01])
    body += struct.pack("<HHH", 0, 0, 0)
    body += bytes([0x00, base_unit, 0, 0, 1, 0, 0, 0, 0, (exponent & 0x0F) << 4, 0])
    body += bytes([0, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    body += bytes([0xC0 | len(text)]) + text
    return struct.pack("<HBBB", number - 1, 0x51, 0x01, len(body)) + body


def _area(language: bytes, maker: str, model: str, part: str, version: str, serial: str) -> bytes:
    """A FRU product information area."""
    body = language
    for text in (maker, model, part, version, serial, "", ""):
        raw = text.encode("ascii", "replace")[:60]
        body += (bytes([0xC0 | len(raw)]) + raw) if len(raw) != 1 else b"\xc0"
    body += b"\xc1"
    size = -(-(len(body) + 3) // 8) * 8
    area = (b"\x01" + bytes([size // 8]) + body).ljust(size - 1, b"\0")
    return area + bytes([-sum(area) & 0xFF])
