"""Booting from an ISO that lies behind a URL, as a controller's virtual drive or firmware does it.

Only what decides the boot is read, by ranges: the volume descriptor, the El Torito catalogue (is there a
loader for this firmware?), and GRUB's configuration with the kernel's words. Sources: ECMA-119 sections
8 and 9; El Torito 1.0.
"""

from __future__ import annotations

import shlex
import struct
from dataclasses import dataclass

import aiohttp

from ingot.lab.sim.bootscript import BootFailed, BootTarget, kernel_params
from ingot.lab.sim.types import BootMode

BLOCK = 2048
CONFIG = ("BOOT", "GRUB", "GRUB.CFG")
LARGEST = 64 << 10
PLATFORMS = {BootMode.BIOS: 0x00, BootMode.UEFI: 0xEF}
_TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError, struct.error)


async def first_bytes(session: aiohttp.ClientSession, url: str, timeout: float = 20.0) -> None:
    """What a controller does before it says that a medium is in. Raises BootFailed."""
    await _Iso(session, url, timeout).read(0, BLOCK)


async def boot_target(
    session: aiohttp.ClientSession, url: str, mode: BootMode, timeout: float = 20.0
) -> BootTarget:
    """What this firmware boots from the ISO. Raises BootFailed with the reason."""
    iso = _Iso(session, url, timeout)
    try:
        return await _target(iso, mode)
    except _TROUBLE as problem:
        raise BootFailed(f"{url}: {type(problem).__name__} {problem}") from problem


async def _target(iso: _Iso, mode: BootMode) -> BootTarget:
    volume = await iso.read(16 * BLOCK, BLOCK)
    if volume[1:6] != b"CD001":
        raise BootFailed(f"{iso.url}: no ISO 9660 file system")
    await _check_catalogue(iso, mode)
    root = volume[156:190]
    text = (await iso.file(root, CONFIG)).decode()
    words: list[str] = []
    for line in text.splitlines():
        command, _, rest = line.strip().partition(" ")
        if command in ("linux", "initrd"):
            first, *more = shlex.split(rest)
            await iso.find(root, tuple(part.upper() for part in first.strip("/").split("/")))
            words = more if command == "linux" else words
    if not words and "linux" not in text:
        raise BootFailed(f"{iso.url}: the boot loader's configuration names no kernel")
    return BootTarget("kernel", iso.url, (), kernel_params(words))


async def _check_catalogue(iso: _Iso, mode: BootMode) -> None:
    record = await iso.read(17 * BLOCK, BLOCK)
    if b"EL TORITO SPECIFICATION" not in record[:64]:
        raise BootFailed(f"{iso.url}: not bootable")
    (sector,) = struct.unpack_from("<I", record, 71)
    catalogue = await iso.read(sector * BLOCK, BLOCK)
    platforms = {catalogue[1]}  # the first entry's is in the validation entry
    platforms |= {catalogue[at + 1] for at in range(64, BLOCK, 32) if catalogue[at] in (0x90, 0x91)}
    if PLATFORMS[mode] not in platforms:
        raise BootFailed(f"{iso.url}: no boot loader for {mode.value}")


@dataclass
class _Iso:
    session: aiohttp.ClientSession
    url: str
    timeout: float

    async def read(self, offset: int, length: int) -> bytes:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        timeout = aiohttp.ClientTimeout(total=self.timeout)
        try:
            async with self.session.get(self.url, headers=headers, timeout=timeout) as reply:
                if reply.status not in (200, 206):
                    raise BootFailed(f"{self.url}: HTTP {reply.status}")
                return await reply.content.read(length)
        except _TROUBLE as problem:
            raise BootFailed(f"{self.url}: {type(problem).__name__} {problem}") from problem

    async def find(self, root: bytes, path: tuple[str, ...]) -> bytes:
        """The directory record of a file by its ISO names."""
        record = root
        for name in path:
            start, size = struct.unpack_from("<I", record, 2)[0], _size(record)
            record = _named(await self._exactly(start * BLOCK, min(size, LARGEST)), name)
            if not record:
                raise BootFailed(f"{self.url}: no file {'/'.join(path)}")
        return record

    async def file(self, root: bytes, path: tuple[str, ...]) -> bytes:
        record = await self.find(root, path)
        start = struct.unpack_from("<I", record, 2)[0]
        return await self._exactly(start * BLOCK, min(_size(record), LARGEST))

    async def _exactly(self, offset: int, length: int) -> bytes:
        content = b""
        while len(content) < length:
            more = await self.read(offset + len(content), length - len(content))
            if not more:
                raise BootFailed(f"{self.url}: ends too early")
            content += more
        return content


def _size(record: bytes) -> int:
    return int(struct.unpack_from("<I", record, 10)[0])


def _named(folder: bytes, name: str) -> bytes:
    """The record in a directory's extent whose name, without version and final dot, is `name`."""
    at = 0
    while at < len(folder):
        length = folder[at]
        if not length:
            at = (at // BLOCK + 1) * BLOCK
            continue
        record = folder[at : at + length]
        told = record[33 : 33 + record[32]].decode("ascii", "replace")
        if told.partition(";")[0].rstrip(".") == name:
            return record
        at += length
    return b""
