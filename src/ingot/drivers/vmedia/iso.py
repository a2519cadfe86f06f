"""Bootable ISO images with a hole: built once for a kernel and ramdisk, filled for each boot.

The boot loader's configuration is a file of fixed size in the image. Whoever sends the image puts the
machine's own configuration over those bytes on the way (`Template.filled`), so that a boot costs
neither disk space nor the time to write hundreds of megabytes. UEFI starts GRUB from an EFI system
partition, BIOS from an El Torito image (where GRUB's BIOS part is installed).
"""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pycdlib

from ingot.drivers.vmedia.fat import fat_image
from ingot.kit.faults import Failed

#: What the agent looks for when it searches its own medium (ironic-python-agent, utils.py).
LABEL = "VMEDIA_BOOT_ISO"
#: Room for the boot loader's configuration: a kernel line has at most 2048 characters.
HOLE = 8192
BLOCK = 2048
CONFIG = "/boot/grub/grub.cfg"
_MARK = b"# ingot: here comes what this machine boots\n"

#: Debian's GRUB for UEFI on read-only media: it looks for /.disk/info and then reads `CONFIG`.
GRUB_UEFI = Path("/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi")
GRUB_UEFI_SIGNED = Path("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")
SHIM_SIGNED = Path("/usr/lib/shim/shimx64.efi.signed")
GRUB_BIOS = Path("/usr/lib/grub/i386-pc")
_BIOS_MODULES = ("biosdisk", "iso9660", "linux", "normal", "search", "search_fs_file", "echo")


@dataclass(frozen=True)
class Loaders:
    """Boot loaders' bytes. uefi: file name in EFI/BOOT -> content. bios: El Torito image, b"" for none."""

    uefi: Mapping[str, bytes]
    bios: bytes = b""


class Template(msgspec.Struct, frozen=True):
    """An image on disk. hole: offset of the configuration's HOLE bytes. size: of the whole image."""

    path: str
    hole: int
    size: int

    def filled(self, config: bytes) -> Filled:
        """The image with this configuration in it. Raises Failed when it is too long."""
        if len(config) > HOLE:
            raise Failed(f"The boot loader's configuration has more than {HOLE} bytes.")
        return Filled(self, config.ljust(HOLE, b"\n"))


@dataclass(frozen=True)
class Filled:
    """A template with its hole filled; read piece by piece."""

    template: Template
    config: bytes

    @property
    def size(self) -> int:
        return self.template.size

    def patch(self, block: bytes, offset: int) -> bytes:
        """`block`, read from the template at `offset`, with the configuration where it belongs."""
        first = max(offset, self.template.hole)
        last = min(offset + len(block), self.template.hole + HOLE)
        if first >= last:
            return block
        here = self.config[first - self.template.hole : last - self.template.hole]
        return block[: first - offset] + here + block[last - offset :]


def config(kernel_words: tuple[str, ...]) -> bytes:
    """GRUB's configuration that boots the medium's kernel with these (checked) words."""
    # Single quotes: GRUB takes what is inside as it stands. `kernel_words` lets no quote pass.
    words = " ".join(f"'{word}'" for word in kernel_words)
    lines = (
        "set timeout=0",
        "echo 'Ingot: virtual medium'",
        f"linux /ingot/kernel {words}",
        "initrd /ingot/ramdisk",
        "boot",
        "",
    )
    return "\n".join(lines).encode()


def installed_loaders() -> Loaders:
    """GRUB from Debian's packages; signed, behind shim, where the signed ones are installed."""
    if SHIM_SIGNED.is_file() and GRUB_UEFI_SIGNED.is_file():
        uefi = {"BOOTX64.EFI": SHIM_SIGNED, "GRUBX64.EFI": GRUB_UEFI_SIGNED}
    elif GRUB_UEFI.is_file():
        uefi = {"BOOTX64.EFI": GRUB_UEFI}
    else:
        raise Failed(
            "GRUB for UEFI is not installed, so no boot medium can be made.",
            next_action="Install it: apt-get install grub-efi-amd64-bin.",
        )
    return Loaders({name: path.read_bytes() for name, path in uefi.items()}, _bios_loader())


def _bios_loader() -> bytes:
    """GRUB's El Torito image, b"" where its BIOS part is not installed."""
    if not (GRUB_BIOS / "cdboot.img").is_file():
        return b""
    words = ["grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/boot/grub", "-d", str(GRUB_BIOS)]
    with tempfile.TemporaryDirectory(prefix="ingot-grub-") as folder:
        made = Path(folder, "bios.img")  # it cannot write into a pipe
        try:
            done = subprocess.run(
                [*words, "-o", str(made), *_BIOS_MODULES],
                check=False,
                capture_output=True,
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError):
            return b""
        return made.read_bytes() if done.returncode == 0 else b""


def build(target: Path, kernel: Path, ramdisk: Path, loaders: Loaders) -> Template:
    """Write a template. Takes as long as the files need to be copied; not for the event loop."""
    disc: Any = pycdlib.PyCdlib()
    disc.new(interchange_level=3, rock_ridge="1.09", vol_ident=LABEL)
    for iso, name in (
        ("/DISK", ".disk"),
        ("/BOOT", "boot"),
        ("/BOOT/GRUB", "grub"),
        ("/INGOT", "ingot"),
        ("/EFI", "efi"),
    ):
        disc.add_directory(iso, rr_name=name)

    def add(content: bytes, iso: str, name: str) -> None:
        disc.add_fp(io.BytesIO(content), len(content), iso, rr_name=name)

    add(b"Ingot boot medium\n", "/DISK/INFO.;1", "info")
    add(_MARK.ljust(HOLE, b"\n"), "/BOOT/GRUB/GRUB.CFG;1", "grub.cfg")
    esp = fat_image({f"EFI/BOOT/{name}": content for name, content in loaders.uefi.items()})
    add(esp, "/EFI/ESP.IMG;1", "esp.img")
    disc.add_file(str(kernel), "/INGOT/KERNEL.;1", rr_name="kernel")
    disc.add_file(str(ramdisk), "/INGOT/RAMDISK.;1", rr_name="ramdisk")
    if loaders.bios:
        add(loaders.bios, "/BOOT/GRUB/BIOS.IMG;1", "bios.img")
        disc.add_eltorito(
            "/BOOT/GRUB/BIOS.IMG;1",
            bootcatfile="/BOOT/BOOT.CAT;1",
            rr_bootcatname="boot.cat",
            boot_load_size=4,
            boot_info_table=True,
        )
    disc.add_eltorito(
        "/EFI/ESP.IMG;1",
        bootcatfile="/BOOT/BOOT.CAT;1",
        rr_bootcatname="boot.cat",
        platform_id=0xEF,
        efi=True,
    )
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        disc.write(str(draft))
        hole = disc.get_record(iso_path="/BOOT/GRUB/GRUB.CFG;1").extent_location() * BLOCK
        disc.close()
        made = Template(str(target), hole, draft.stat().st_size)
        _check(draft, made)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return made


def _check(path: Path, made: Template) -> None:
    with path.open("rb") as file:
        file.seek(made.hole)
        if file.read(len(_MARK)) != _MARK:
            raise Failed("The boot medium is not laid out as expected.")
