"""The scripts in a real iPXE on real firmware (QEMU): fetched by HTTP, then the disk boots."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from ingot.drivers.machine.ipxe.scripts import render_agent, render_local, render_wait
from ingot.drivers.machine.types import BootMode
from ingot.services.baremetal.boot.plan import first_script

sys.path.insert(0, str(Path(__file__).parent))
import machine

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.qemu,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86"),
]
uefi_ready = pytest.mark.skipif(
    not (shutil.which("mcopy") and machine.OVMF_CODE.exists() and machine.IPXE_EFI.exists()),
    reason="needs packages ovmf, ipxe and mtools",
)


class Scripts:
    """Serves one script at /boot; QEMU's network sees this host as 10.0.2.2."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.script = ""
        self.url = ""
        self.away = 0
        self.later = ""
        self.enough = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.away and request.path != "/boot":
            self.away -= 1
            return web.Response(status=503)
        if len(self.asked) >= 3:
            self.enough.set()
        if self.later and request.path.startswith("/boot/"):
            return web.Response(text=self.later)
        if request.path != "/boot":
            return web.Response(status=404)
        return web.Response(text=self.script)


@pytest.fixture
async def scripts() -> AsyncIterator[Scripts]:
    served = Scripts()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://10.0.2.2:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


async def test_bios_boots_its_disk(scripts: Scripts, tmp_path: Path) -> None:
    scripts.script = render_local(BootMode.BIOS)
    machine.bios_disk(tmp_path / "disk")
    command = machine.bios_command(tmp_path / "disk", f"{scripts.url}/boot")
    seen = await machine.serial_until(command, machine.WORDS, 90)
    assert scripts.asked == ["/boot"], seen
    assert machine.WORDS in seen, seen


async def test_the_first_script_asks_again(scripts: Scripts, tmp_path: Path) -> None:
    """iPXE understands it: it counts, waits, and asks by its card's address until there is an answer."""
    scripts.script = first_script(scripts.url, 1)
    scripts.away, scripts.later = 2, render_local(BootMode.BIOS)
    machine.bios_disk(tmp_path / "disk")
    command = machine.bios_command(tmp_path / "disk", f"{scripts.url}/boot")
    seen = await machine.serial_until(command, machine.WORDS, 90)
    assert scripts.asked == ["/boot", *["/boot/52:54:00:12:34:56"] * 3], seen
    assert machine.WORDS in seen, seen


async def test_bios_asks_for_kernel_and_tries_again(scripts: Scripts, tmp_path: Path) -> None:
    """The agent script is understood: its kernel is asked for, and the script asked again."""
    scripts.script = render_agent(
        f"{scripts.url}/kernel", f"{scripts.url}/initrd", {"a": 1}, retry_url=f"{scripts.url}/boot"
    )
    machine.bios_disk(tmp_path / "disk")
    command = machine.bios_command(tmp_path / "disk", f"{scripts.url}/boot")
    await machine.serial_until(command, machine.WORDS, 60, scripts.enough)
    assert scripts.asked[:3] == ["/boot", "/kernel", "/boot"], scripts.asked


async def test_waiting_script_asks_again(scripts: Scripts, tmp_path: Path) -> None:
    scripts.script = render_wait("nothing to boot yet", f"{scripts.url}/boot", 1)
    machine.bios_disk(tmp_path / "disk")
    command = machine.bios_command(tmp_path / "disk", f"{scripts.url}/boot")
    await machine.serial_until(command, machine.WORDS, 60, scripts.enough)
    assert len(scripts.asked) > 2, scripts.asked


@uefi_ready
async def test_uefi_boots_its_disk(scripts: Scripts, tmp_path: Path) -> None:
    scripts.script = render_local(BootMode.UEFI)
    machine.efi_disk(tmp_path / "loader", machine.IPXE_EFI.read_bytes())
    machine.efi_disk(tmp_path / "disk", machine.efi_program())
    shutil.copy(machine.OVMF_VARS, tmp_path / "variables")
    command = machine.uefi_command(
        tmp_path / "loader", tmp_path / "disk", tmp_path / "variables", f"{scripts.url}/boot"
    )
    seen = await machine.serial_until(command, machine.WORDS, 110)
    assert scripts.asked == ["/boot"], seen
    assert machine.WORDS in seen, seen
