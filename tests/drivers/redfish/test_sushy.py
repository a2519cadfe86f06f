"""The redfish drivers against OpenStack's own emulator (sushy-tools), which we did not write."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from ingot.drivers.faults import DriverFault
from ingot.drivers.machine import DriverContext, build_registry
from ingot.drivers.machine.testing import (
    Bench,
    check_boot_device,
    check_identity,
    check_options,
    check_power,
    check_reboot,
    check_silence,
)
from ingot.drivers.machine.types import BootMode, Identity, MediaDevice
from ingot.kit.tasks.clock import SystemClock
from tools.conformance.environments import find_uv

UUID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
COMMAND = (
    ["sushy-emulator"]
    if shutil.which("sushy-emulator")
    else [find_uv(), "tool", "run", "--from", "sushy-tools>=2.2", "sushy-emulator"]
)
CONFIG = """\
SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = {port}
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_FAKE_SYSTEMS = [{{
    "uuid": "{uuid}", "name": "fake", "power_state": "Off", "external_notifier": False,
    "nics": [{{"mac": "00:5c:52:31:3a:9c", "ip": "172.22.0.100"}}],
}}]
SUSHY_EMULATOR_STATE_DIR = "{folder}"
"""

pytestmark = pytest.mark.anyio


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "sushy.conf"
    config.write_text(CONFIG.format(port=port, uuid=UUID, folder=tmp_path))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--config",
        str(config),
        stdout=(tmp_path / "log").open("wb"),
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        await wait_until_it_answers(process, base, tmp_path / "log")
        yield base
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


async def wait_until_it_answers(process: asyncio.subprocess.Process, base: str, log: Path) -> None:
    async with asyncio.timeout(100), aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(f"{base}/redfish/v1/") as reply:
                    assert reply.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
    raise AssertionError(f"sushy-emulator ended; see {log}")


async def test_conforms(address: str) -> None:
    registry = build_registry(DriverContext(SystemClock()))
    bench = Bench(
        registry=registry,
        driver="redfish",
        driver_info={
            "redfish_address": address,
            "redfish_system_id": f"/redfish/v1/Systems/{UUID}",
            "redfish_username": "admin",
            "redfish_password": "no-one-checks",
        },
        wrong_password=None,
        dead={"redfish_address": "http://127.0.0.1:9"},
        secrets=("no-one-checks",),
        tells_persistence=False,  # this emulator always says Continuous
        identity=Identity(uuid=UUID, macs=("00:5c:52:31:3a:9c",)),
    )
    check_options(bench)
    await check_power(bench)
    await check_reboot(bench)
    await check_boot_device(bench)
    await check_identity(bench)
    await check_silence(bench)
    await bench.management.set_boot_mode(bench.access, BootMode.BIOS)
    assert await bench.management.get_boot_mode(bench.access) is BootMode.BIOS
    await bench.management.sensors(bench.access)
    await check_virtual_drive(bench, address)
    await registry.aclose()


async def check_virtual_drive(bench: Bench, address: str) -> None:
    """The emulator fetches what is inserted; its own service root is as good as an ISO to it."""
    for image in (f"{address}/redfish/v1/", f"{address}/redfish/v1/Systems"):
        await bench.management.attach_media(bench.access, MediaDevice.CDROM, image)
        slots = {slot.device: slot for slot in await bench.management.media(bench.access)}
        assert (slots["cdrom"].image, slots["cdrom"].inserted) == (image, True)
    with pytest.raises(DriverFault, match="404"):
        await bench.management.attach_media(bench.access, MediaDevice.CDROM, f"{address}/no/such")
    await bench.management.detach_media(bench.access)
    slots = {slot.device: slot for slot in await bench.management.media(bench.access)}
    assert not slots["cdrom"].inserted
