"""A QEMU machine without an operating system: its disk says on the serial line that it booted."""

import asyncio
import struct
import subprocess
from pathlib import Path

WORDS = "DISK-BOOTED"
OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
IPXE_EFI = Path("/usr/lib/ipxe/ipxe.efi")


def bios_disk(path: Path) -> None:
    """A disk whose boot sector writes WORDS to COM1 and halts."""
    code = bytes.fromhex("be117cac08c07406baf803eeebf5f4ebfd")
    sector = (code + WORDS.encode() + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector.ljust(1 << 20, b"\0"))


def efi_program() -> bytes:
    """A PE32+ EFI application that writes WORDS to COM1 and halts."""
    # lea rsi,[rip+msg]; next: lodsb; test al,al; jz halt; mov dx,0x3f8; out dx,al; jmp next;
    # halt: hlt; jmp halt
    code = bytes.fromhex("488d3510000000ac84c0740766baf803eeebf4f4ebfd")
    offset = len(code) - 7
    code = code[:3] + struct.pack("<i", offset) + code[7:] + WORDS.encode() + b"\r\n\0"
    text = code.ljust(512, b"\0")
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x222E & ~1)
    optional = struct.pack(
        "<HBBIIIII QII HHHHHH IIII HH QQQQ II",
        *(0x20B, 2, 0, 512, 0, 0, 0x1000, 0x1000),
        *(0x400000, 0x1000, 512),
        *(0, 0, 0, 0, 0, 0),
        *(0, 0x2000, 512, 0),
        *(10, 0),
        *(0x10000, 0x10000, 0x10000, 0),
        *(0, 16),
    ) + bytes(128)
    section = struct.pack("<8sIIIIIIHHI", b".text", 512, 0x1000, 512, 512, 0, 0, 0, 0, 0x60000020)
    return (head + coff + optional + section).ljust(512, b"\0") + text


def efi_disk(path: Path, program: bytes) -> None:
    """A FAT disk with `program` as the default boot file."""
    with path.open("wb") as disk:
        disk.truncate(48 << 20)
    loader = path.with_suffix(".efi")
    loader.write_bytes(program)
    image = ["-i", str(path)]
    subprocess.run(["mformat", *image, "-F", "::"], check=True)
    subprocess.run(["mmd", *image, "::/EFI", "::/EFI/BOOT"], check=True)
    target = "::/EFI/BOOT/BOOTX64.EFI"
    subprocess.run(["mcopy", *image, str(loader), target], check=True)


def bios_command(disk: Path, script_url: str) -> list[str]:
    """iPXE is the ROM of the network card, first in the boot order."""
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-display", "none"),
        *("-serial", "stdio", "-monitor", "none", "-no-reboot"),
        *("-netdev", f"user,id=n,bootfile={script_url}"),
        *("-device", "virtio-net-pci,netdev=n,bootindex=0"),
        *("-drive", f"file={disk},format=raw,if=none,id=d"),
        *("-device", "virtio-blk-pci,drive=d,bootindex=1"),
    ]


def uefi_command(loader: Path, disk: Path, variables: Path, script_url: str) -> list[str]:
    """iPXE is on a disk of its own, first in the boot order; it asks DHCP for its script."""
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "512"),
        *("-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"),
        *("-drive", f"file={OVMF_CODE},format=raw,if=pflash,readonly=on"),
        *("-drive", f"file={variables},format=raw,if=pflash"),
        *("-netdev", f"user,id=n,bootfile={script_url}"),
        *("-device", "virtio-net-pci,netdev=n,romfile="),
        *("-drive", f"file={loader},format=raw,if=none,id=l"),
        *("-device", "virtio-blk-pci,drive=l,bootindex=0"),
        *("-drive", f"file={disk},format=raw,if=none,id=d"),
        *("-device", "virtio-blk-pci,drive=d,bootindex=1"),
    ]


async def serial_until(
    command: list[str], words: str, seconds: float, stop: asyncio.Event | None = None
) -> str:
    """Serial output up to and with `words`; all that came until `stop` or the deadline."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    seen = ""
    try:
        async with asyncio.timeout(seconds):
            stopped = asyncio.ensure_future((stop or asyncio.Event()).wait())
            while words not in seen:
                reading = asyncio.ensure_future(process.stdout.read(4096))
                await asyncio.wait({reading, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done() or not reading.result():
                    reading.cancel()
                    break
                seen += reading.result().decode(errors="replace")
            stopped.cancel()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return seen
