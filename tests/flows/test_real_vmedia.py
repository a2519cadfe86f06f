"""The real thing by virtual media: sushy-tools' drive, GRUB from our ISO, the stock agent, a real image.

The machine's network card boots nothing: DHCP gives addresses to the agent and the instance only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.cli.client import cloud
from ingot.lab.stage import Stage
from tests.flows.site import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.qemu,
    pytest.mark.nightly,  # minutes of emulated machines: `make test` has to end within thirty
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86"),
]

RACK = """
[[machine]]
name = "uefi-1"
firmware = "uefi"
bmc = { kind = "redfish" }
"""


@contextlib.asynccontextmanager
async def rack() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="ingot-vmedia-") as folder:
        file = Path(folder) / "rack.toml"
        file.write_text(RACK)
        stage = Stage(Path(folder), f"127.0.0.1:{free_port()}", "ingot-vmedia", file)
        try:
            await stage.build()
            await stage.rack.up()
            await stage.serve()
            yield stage
        finally:
            await stage.close()


async def test_a_deploy_by_virtual_media() -> None:
    async with rack() as stage:
        await stage.enrol()
        words = ("--boot-interface", "redfish-virtual-media", "--no-automated-clean")
        await stage.openstack("baremetal", "node", "set", "uefi-1", *words)
        for verb in ("manage", "provide"):
            await stage.openstack("baremetal", "node", verb, "uefi-1", "--wait", "120")
        await stage.prepare_tenant()
        await stage.order("one")
        try:
            await stage.active("one", 600)
        except Exception:
            log = next(stage.rack.state.glob("**/uefi-1/console.log"))
            print(log.read_text(errors="replace")[-6000:])
            print((stage.state / "serve.log").read_text()[-4000:])
            raise
        console = next(stage.rack.state.glob("**/uefi-1/console.log"))
        log = console.read_text(errors="replace")
        assert "boot_method=vmedia" in log, "the agent was started from our medium"
        assert "iPXE" not in log, "the network card booted nothing"
        here = cloud("ingot-system", str(stage.clouds))
        path = "/timeline/v1/events?limit=1000"
        events = (await asyncio.to_thread(here.get, path))["events"]
        assert any(event.get("step") == "write the image" for event in events)
        async with asyncio.timeout(300):
            while "Debian GNU/Linux" not in console.read_text(errors="replace"):
                await asyncio.sleep(0.5)  # the disk's own boot loader: the medium is out
