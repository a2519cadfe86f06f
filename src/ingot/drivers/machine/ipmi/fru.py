"""What a machine's inventory chip says: maker, model and serial numbers (FRU information storage, 1.0)."""

from __future__ import annotations

import struct

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.ipmi.lan import Ask

STORAGE, INFO, READ = 0x0A, 0x10, 0x11
#: Octets a read; controllers with small buffers refuse more.
_CHUNKS = (32, 16, 8)
_LARGEST = 4096
_HEADER = 8
_END = 0xC1
_SIX_BITS = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_"
_NIBBLES = "0123456789 -."

#: Names of the fields, by the area's place in the header; octets before the first field.
_AREAS = {
    2: (3, ("Chassis Part", "Chassis Serial")),
    3: (6, ("Board Mfg", "Board Product", "Board Serial", "Board Part")),
    4: (
        3,
        (
            "Product Manufacturer",
            "Product Name",
            "Product Part",
            "Product Version",
            "Product Serial",
        ),
    ),
}


async def read(ask: Ask, device: int = 0) -> dict[str, str]:
    """Fields of the chassis, board and product areas by the names that ipmitool gives them."""
    info = await ask(STORAGE, INFO, bytes([device]))
    if len(info) < 3:
        raise Refused(f"inventory information is {len(info)} octets long")
    size = min(struct.unpack_from("<H", info)[0], _LARGEST)
    reader = _Reader(ask, device, size, in_words=bool(info[2] & 1))
    header = await reader.read(0, _HEADER)
    if len(header) < _HEADER or sum(header) & 0xFF:
        raise Refused("the inventory's header is damaged")
    found: dict[str, str] = {}
    for place, (skip, names) in _AREAS.items():
        start = header[place] * 8
        if start:
            head = await reader.read(start, 2)
            area = await reader.read(start, head[1] * 8) if len(head) == 2 else b""
            found |= dict(zip(names, fields(area[skip:]), strict=False))
    return {name: text for name, text in found.items() if text}


class _Reader:
    def __init__(self, ask: Ask, device: int, size: int, *, in_words: bool) -> None:
        self._ask = ask
        self._device = device
        self._size = size
        self._unit = 2 if in_words else 1
        self._chunks = list(_CHUNKS)

    async def read(self, start: int, count: int) -> bytes:
        data = b""
        count = min(count, self._size - start)
        while len(data) < count:
            part = await self._part(start + len(data), min(self._chunks[0], count - len(data)))
            if not part:
                break
            data += part
        return data[:count]

    async def _part(self, offset: int, count: int) -> bytes:
        at = struct.pack("<BHB", self._device, offset // self._unit, -(-count // self._unit))
        try:
            answer = await self._ask(STORAGE, READ, at)
        except (Refused, Unsupported):
            if len(self._chunks) == 1:
                raise
            self._chunks.pop(0)
            return await self._part(offset, min(count, self._chunks[0]))
        return answer[1 : 1 + answer[0] * self._unit] if answer else b""


def fields(area: bytes) -> list[str]:
    """The texts of an area, from its first field on."""
    found: list[str] = []
    at = 0
    while at < len(area) and area[at] != _END:
        kind, length = area[at] >> 6, area[at] & 0x3F
        found.append(_text(kind, area[at + 1 : at + 1 + length]))
        at += 1 + length
    return found


def _text(kind: int, data: bytes) -> str:
    if kind == 3:
        return data.decode("latin-1").strip("\0 ")
    if kind == 1:
        nibbles = (half for octet in data for half in (octet >> 4, octet & 0x0F))
        return "".join(_NIBBLES[n] for n in nibbles if n < len(_NIBBLES)).strip()
    if kind == 2:
        bits = int.from_bytes(data, "little")
        count = len(data) * 8 // 6
        return "".join(_SIX_BITS[bits >> 6 * n & 0x3F] for n in range(count)).strip()
    return data.hex()
