"""A FAT16 file system in memory, made for one purpose: the EFI system partition of a boot medium.

Nothing is mounted and no tool is needed. Names are those of the file system's first days (8.3, upper
case), which is all that firmware looks for. Source: Microsoft's FAT specification of 2000, sections 3
to 6; UEFI specification 2.10, section 13.3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR = 512
CLUSTER = 2 * SECTOR
#: FAT16 has 4085 to 65524 clusters; fewer would make readers take it for FAT12.
FEWEST, MOST = 4200, 65000
ROOT_ENTRIES = 512
_END = 0xFFFF
_DIRECTORY, _FILE = 0x10, 0x20


def fat_image(files: Mapping[str, bytes]) -> bytes:
    """A file system with these files, path ("EFI/BOOT/BOOTX64.EFI") -> content.

    Raises ValueError when they do not fit into about 64 MB or a name is not 8.3.
    """
    return _Volume().build(files)


@dataclass
class _Folder:
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    folders: dict[str, _Folder] = field(default_factory=dict[str, "_Folder"])


class _Volume:
    def __init__(self) -> None:
        self._fat = [0xFFF8, _END]
        self._data = bytearray()

    def build(self, files: Mapping[str, bytes]) -> bytes:
        tree = _Folder()
        for path, content in files.items():
            *parents, name = path.split("/")
            here = tree
            for parent in parents:
                here = here.folders.setdefault(parent, _Folder())
            here.files[name] = content
        entries = self._folder(tree, 0, root=True)
        return self._assemble(entries.ljust(ROOT_ENTRIES * 32, b"\0"))

    def _folder(self, tree: _Folder, parent: int, root: bool = False) -> bytes:
        """The directory's entries; a directory other than the root is stored first."""
        own = 0
        if not root:
            count = len(tree.files) + len(tree.folders) + 2
            clusters = -(-count * 32 // CLUSTER)
            own = self._allocate(clusters)
        entries = bytearray()
        if not root:
            entries += _entry(b".".ljust(11), _DIRECTORY, own, 0)
            entries += _entry(b"..".ljust(11), _DIRECTORY, parent, 0)
        for name, content in tree.files.items():
            first = self._allocate(-(-len(content) // CLUSTER)) if content else 0
            self._write(first, content)
            entries += _entry(_short(name), _FILE, first, len(content))
        for name, folder in tree.folders.items():
            entries += _entry(_short(name), _DIRECTORY, len(self._fat), 0)
            self._folder(folder, own)
        if not root:
            self._write(own, bytes(entries))
        return bytes(entries)

    def _allocate(self, clusters: int) -> int:
        """A chain of clusters that lie one after the other; the number of the first."""
        first = len(self._fat)
        self._fat += [*range(first + 1, first + clusters), _END]
        self._data += bytes(clusters * CLUSTER)
        return first

    def _write(self, first: int, content: bytes) -> None:
        at = (first - 2) * CLUSTER
        self._data[at : at + len(content)] = content

    def _assemble(self, root: bytes) -> bytes:
        clusters = max(len(self._fat) - 2, FEWEST)
        if clusters > MOST:
            raise ValueError(f"{len(self._data)} bytes do not fit into a FAT16 file system")
        fat = struct.pack(f"<{len(self._fat)}H", *self._fat)
        fat_sectors = -(-(clusters + 2) * 2 // SECTOR)
        fat = fat.ljust(fat_sectors * SECTOR, b"\0")
        total = 1 + 2 * fat_sectors + len(root) // SECTOR + clusters * (CLUSTER // SECTOR)
        boot = self._boot_sector(total, fat_sectors)
        return boot + fat + fat + root + bytes(self._data).ljust(clusters * CLUSTER, b"\0")

    def _boot_sector(self, total: int, fat_sectors: int) -> bytes:
        small = total < 0x10000
        head = struct.pack(
            "<3s8sHBHBHHBHHHIIBBBI11s8s",
            *(b"\xeb\x3c\x90", b"INGOT   ", SECTOR, CLUSTER // SECTOR, 1, 2, ROOT_ENTRIES),
            *(total if small else 0, 0xF8, fat_sectors, 32, 64, 0, 0 if small else total),
            *(0x80, 0, 0x29, 0x1A607001, b"NO NAME    ", b"FAT16   "),
        )
        return head.ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _short(name: str) -> bytes:
    stem, _, ending = name.upper().partition(".")
    if not stem or len(stem) > 8 or len(ending) > 3 or not name.isascii():
        raise ValueError(f"{name!r} is no 8.3 name")
    return stem.ljust(8).encode() + ending.ljust(3).encode()


def _entry(name: bytes, attributes: int, cluster: int, size: int) -> bytes:
    date = (46 << 9) | (1 << 5) | 1  # 2026-01-01: the same input gives the same image
    return struct.pack(
        "<11sBBBHHHHHHHI", name, attributes, 0, 0, 0, date, date, 0, 0, date, cluster, size
    )
