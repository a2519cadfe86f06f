"""A bootable disk put together in a file, with no mount, loop device or root.

GPT with three partitions: BIOS boot (GRUB's core image), EFI system partition,
root (last, so that it can grow). GRUB's two BIOS stages are placed by hand as
its own installer places them: the boot sector is told where the core image
starts, and the core image's first sector is told where the rest of it lies.
"""

import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from ingot.builders.host import run
from ingot.builders.types import BuildFault

MIB = 1 << 20
SECTOR = 512
_CODE_BYTES = 440  # boot code of the first sector; the rest is the partition table's
_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_LINUX_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"


@dataclass(frozen=True)
class Layout:
    """Where the partitions lie, in bytes from the start of the disk."""

    disk_size: int
    bios_offset: int = 1 * MIB
    bios_size: int = 1 * MIB
    esp_offset: int = 2 * MIB
    esp_size: int = 64 * MIB
    root_offset: int = 66 * MIB

    @property
    def root_size(self) -> int:
        """Up to the last mebibyte, which the backup partition table needs."""
        return self.disk_size - self.root_offset - MIB


def assemble(parts: Path, disk: Path, layout: Layout, seed: uuid.UUID, log: Path) -> None:
    """Makes `disk` of `parts`: root.img (already at its offset), esp.img, boot.img, core.img.

    `seed` names the disk and its partitions, the same for the same recipe.
    """
    (parts / "root.img").rename(disk)
    with disk.open("r+b") as file:
        file.truncate(layout.disk_size)
    _write_table(disk, layout, seed, log)
    boot, core = (parts / "boot.img").read_bytes(), (parts / "core.img").read_bytes()
    boot, core = linked_stages(boot, core, layout.bios_offset // SECTOR)
    if len(core) > layout.bios_size:
        raise BuildFault(
            "place the BIOS boot loader",
            f"core.img has {len(core)} bytes, its partition {layout.bios_size}",
            "Enlarge bios_size in the layout.",
        )
    with disk.open("r+b") as file:
        file.write(boot[:_CODE_BYTES])
        file.seek(layout.bios_offset)
        file.write(core)
        _copy_sparse(parts / "esp.img", file.fileno(), layout.esp_offset)


def linked_stages(boot: bytes, core: bytes, first_sector: int) -> tuple[bytes, bytes]:
    """GRUB's boot.img and core.img, made to find each other at `first_sector`.

    Source: GRUB's boot.S and diskboot.S. boot.img: sector of the core at 0x5c (8
    bytes); two bytes at 0x66 skip a workaround for floppies. core.img's first
    sector ends in a block list: start (8 bytes), length in sectors (2), segment (2).
    """
    if len(boot) != SECTOR or len(core) <= SECTOR:
        raise ValueError("boot.img must be one sector, core.img longer than one")
    sectors = -(-len(core) // SECTOR)
    first, second = bytearray(boot), bytearray(core.ljust(sectors * SECTOR, b"\0"))
    struct.pack_into("<Q", first, 0x5C, first_sector)
    first[0x66:0x68] = b"\x90\x90"
    struct.pack_into("<QH", second, 0x1F4, first_sector + 1, sectors - 1)
    return bytes(first), bytes(second)


def _write_table(disk: Path, layout: Layout, seed: uuid.UUID, log: Path) -> None:
    def partition(name: str, kind: str, offset: int, size: int) -> str:
        unique = uuid.uuid5(seed, name)
        return (
            f"start={offset // SECTOR}, size={size // SECTOR}, type={kind}, "
            f"uuid={unique}, name={name}"
        )

    script = "\n".join(
        (
            "label: gpt",
            f"label-id: {uuid.uuid5(seed, 'disk')}",
            "",
            partition("bios", _BIOS_BOOT, layout.bios_offset, layout.bios_size),
            partition("esp", _EFI_SYSTEM, layout.esp_offset, layout.esp_size),
            partition("root", _LINUX_ROOT_X86_64, layout.root_offset, layout.root_size),
            "",
        )
    )
    command = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never", str(disk)]
    run("write the partition table", command, log=log, deadline=60, stdin=script)


def _copy_sparse(source: Path, descriptor: int, offset: int) -> None:
    """Copies only what is not zero: the file stays sparse."""
    with source.open("rb") as file:
        while block := file.read(65536):
            if block.count(0) != len(block):
                os.pwrite(descriptor, block, offset)
            offset += len(block)
