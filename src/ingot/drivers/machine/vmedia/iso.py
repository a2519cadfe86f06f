"""Bootable ISO images with a hole: built once for a kernel and ramdisk, filled for each boot.

The boot loader's configuration is a file of fixed size in the image. Whoever sends the image puts the
machine's own configuration over those bytes on the way (`Template.filled`), so that a boot costs
neither disk space nor the time to write hundreds of megabytes. UEFI starts GRUB from an EFI system
partition, BIOS from an El Torito image (where GRUB's BIOS part is installed).

A medium for a network without DHCP is a config drive too, as upstream's is: its label is `config-2`, and the
machine's addresses are in `openstack/latest/network_data.json` (again a file of fixed size).
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

from ingot.drivers.machine.vmedia.fat import fat_image
from ingot.kit.faults import Failed

#: What the agent looks for when it searches its own medium (ironic-python-agent, utils.py).
LABEL = "VMEDIA_BOOT_ISO"
#: What Glean and others look for when they search a config drive; the agent takes it for its own medium as well.
CONFIG_LABEL = "config-2"
#: Room for the boot loader's configuration: a kernel line has at most 2048 characters.
HOLE = 8192
#: Room for network_data.json, which grows with a machine's cards and routes: 200 networks need about as much.
DATA_HOLE = 65536
BLOCK = 2048
CONFIG = "/boot/grub/grub.cfg"
NETWORK_DATA = "/openstack/latest/network_data.json"
#: The first line of `/.disk/info`, by which our ramdisk tells its medium from other config drives.
NAME = b"Ingot boot medium\n"
_CONFIG_PLACE = "/BOOT/GRUB/GRUB.CFG;1"
_DATA_PLACE = "/OPENSTACK/LATEST/NETWORK_DATA.JSON;1"
_MARK = b"# ingot: here comes what this machine boots\n"

#: Debian's GRUB for UEFI on read-only media: it looks for /.disk/info and then reads `CONFIG`.
GRUB_UEFI = Path("/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi")
GRUB_UEFI_SIGNED = Path("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")
SHIM_SIGNED = Path("/usr/lib/shim/shimx64.efi.signed")
GRUB_BIOS = Path("/usr/lib/grub/i386-pc")
_BIOS_MODULES = ("biosdisk", "iso9660", "linux", "normal", "search", "search_fs_file", "echo")


@dataclass(frozen=True)
class BootLoaders:
    """Boot loaders' bytes. uefi: file name in EFI/BOOT -> content. bios: El Torito image, b"" for none."""

    uefi: Mapping[str, bytes]
    bios: bytes = b""


class Template(msgspec.Struct, frozen=True):
    """An image on disk. hole: offset of the configuration's HOLE bytes. size: of the whole image.

    data: offset of network_data.json's DATA_HOLE bytes, 0 where the image is no config drive.
    """

    path: str
    hole: int
    size: int
    data: int = 0

    def filled(self, config: bytes, network_data: bytes = b"") -> FilledTemplate:
        """The image with this configuration, and these addresses, in it. Raises Failed when they are too long."""
        if len(config) > HOLE:
            raise Failed(f"The boot loader's configuration has more than {HOLE} bytes.")
        parts = [(self.hole, config.ljust(HOLE, b"\n"))]
        if self.data:
            if len(network_data) > DATA_HOLE:
                raise Failed(
                    f"The machine's network_data has more than the {DATA_HOLE} bytes that a boot medium has for it.",
                    next_action="Leave out what the agent needs not: one network that reaches Ingot is enough.",
                )
            parts.append((self.data, network_data.ljust(DATA_HOLE, b"\n")))
        return FilledTemplate(self, tuple(parts))


@dataclass(frozen=True)
class FilledTemplate:
    """A template with its holes filled; read piece by piece. parts: offsets and what is there."""

    template: Template
    parts: tuple[tuple[int, bytes], ...]

    @property
    def size(self) -> int:
        return self.template.size

    def patch(self, block: bytes, offset: int) -> bytes:
        """`block`, read from the template at `offset`, with the machine's own parts where they belong."""
        for start, content in self.parts:
            first = max(offset, start)
            last = min(offset + len(block), start + len(content))
            if first < last:
                here = content[first - start : last - start]
                block = block[: first - offset] + here + block[last - offset :]
        return block


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


def installed_loaders() -> BootLoaders:
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
    return BootLoaders({name: path.read_bytes() for name, path in uefi.items()}, _bios_loader())


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


def build(
    target: Path, kernel: Path, ramdisk: Path, loaders: BootLoaders, *, network_data: bool = False
) -> Template:
    """Write a template. Takes as long as the files need to be copied; not for the event loop.

    network_data: it is a config drive with room for a machine's addresses.
    """
    import pycdlib  # few machines want a disc

    disc: Any = pycdlib.PyCdlib()
    label = CONFIG_LABEL if network_data else LABEL
    disc.new(interchange_level=3, rock_ridge="1.09", vol_ident=label)
    folders = [("/DISK", ".disk"), ("/BOOT", "boot"), ("/BOOT/GRUB", "grub")]
    folders += [("/INGOT", "ingot"), ("/EFI", "efi")]
    if network_data:
        folders += [("/OPENSTACK", "openstack"), ("/OPENSTACK/LATEST", "latest")]
    for place, name in folders:
        disc.add_directory(place, rr_name=name)

    def add(content: bytes, iso: str, name: str) -> None:
        disc.add_fp(io.BytesIO(content), len(content), iso, rr_name=name)

    add(NAME, "/DISK/INFO.;1", "info")
    add(_MARK.ljust(HOLE, b"\n"), _CONFIG_PLACE, "grub.cfg")
    if network_data:
        add(_MARK.ljust(DATA_HOLE, b"\n"), _DATA_PLACE, "network_data.json")
    esp = fat_image({f"EFI/BOOT/{name}": content for name, content in loaders.uefi.items()})
    add(esp, "/EFI/ESP.IMG;1", "esp.img")
    disc.add_file(str(kernel), "/INGOT/KERNEL.;1", rr_name="kernel")
    disc.add_file(str(ramdisk), "/INGOT/RAMDISK.;1", rr_name="ramdisk")
    if loaders.bios:
        add(loaders.bios, "/BOOT/GRUB/BIOS.IMG;1", "bios.img")
    _make_bootable(disc, bios=bool(loaders.bios))
    return _written(disc, target, network_data)


def _make_bootable(disc: Any, *, bios: bool) -> None:
    catalogue = {"bootcatfile": "/BOOT/BOOT.CAT;1"}
    if bios:
        disc.add_eltorito(
            "/BOOT/GRUB/BIOS.IMG;1",
            rr_bootcatname="boot.cat",
            boot_load_size=4,
            boot_info_table=True,
            **catalogue,
        )
    disc.add_eltorito(
        "/EFI/ESP.IMG;1", rr_bootcatname="boot.cat", platform_id=0xEF, efi=True, **catalogue
    )


def _written(disc: Any, target: Path, network_data: bool) -> Template:
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")

    def place(path: str) -> int:
        return disc.get_record(iso_path=path).extent_location() * BLOCK

    try:
        disc.write(str(draft))
        data = place(_DATA_PLACE) if network_data else 0
        made = Template(str(target), place(_CONFIG_PLACE), draft.stat().st_size, data)
        disc.close()
        _check(draft, made)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return made


def _check(path: Path, made: Template) -> None:
    with path.open("rb") as file:
        for hole in (made.hole, made.data):
            file.seek(hole)
            if hole and file.read(len(_MARK)) != _MARK:
                raise Failed("The boot medium is not laid out as expected.")
