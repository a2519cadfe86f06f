"""The serial console by websocket, all the way: `ingot serve`, OpenIPMI's simulator, the firmware of a QEMU machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ingot.lab import missing_packages
from ingot.lab.stage import Stage
from tests.flows.site import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.qemu,
    pytest.mark.real,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a network namespace"),
    pytest.mark.skipif(bool(missing_packages()), reason=f"packages: {missing_packages()}"),
]

RACK = """
[defaults]
memory_mb = 256
disks_gb = []
[[machine]]
name = "bios-1"
firmware = "bios"
bmc = { kind = "ipmi" }
"""
SETTINGS = """
state = "{state}/cloud"
listen = "{listen}"
netns = "{netns}"
"""
NODE = ("baremetal", "node")


async def speak(stage: Stage, *guests: Any) -> None:
    """Start the machine until each guest has heard its firmware: it may speak before the session is open."""
    said = [b""] * len(guests)

    async def listen(number: int) -> None:
        while b"SeaBIOS" not in said[number] or b"iPXE" not in said[number]:
            said[number] += await guests[number].recv()

    for patience in (10, 20, 40, 80):
        await stage.rack.power("bios-1", "on")
        try:
            async with asyncio.timeout(patience), asyncio.TaskGroup() as all_of_them:
                for number in range(len(guests)):
                    all_of_them.create_task(listen(number))
            return
        except TimeoutError:
            await stage.rack.power("bios-1", "off")
    raise AssertionError(f"heard only {said}")


async def test_a_machine_speaks_to_two_guests_by_websocket() -> None:
    with tempfile.TemporaryDirectory(prefix="ingot-console-") as folder:
        file = Path(folder) / "rack.toml"
        file.write_text(RACK)
        stage = Stage(Path(folder), f"127.0.0.1:{free_port()}", f"ingot-con{os.getpid()}", file)
        stage.config.write_text(
            SETTINGS.format(state=folder, listen=stage.listen, netns=stage.rack.spec.name)
        )
        try:
            await stage.rack.up()
            await stage.serve()
            await stage.enrol()
            await stage.openstack(
                *NODE, "set", "bios-1", "--console-interface", "ipmitool-websocket"
            )
            await stage.openstack(*NODE, "console", "enable", "bios-1")
            shown = json.loads(
                await stage.openstack(*NODE, "console", "show", "bios-1", "-f", "json")
            )
            assert shown["console_info"]["type"] == "websocket", shown
            url = shown["console_info"]["url"]
            async with connect(url) as one, connect(url) as two:
                await speak(stage, one, two)
                await stage.openstack(*NODE, "console", "disable", "bios-1")
                async with asyncio.timeout(60):
                    for guest in (one, two):
                        with contextlib.suppress(ConnectionClosed):
                            while True:  # what the machine has said lies before the goodbye
                                await guest.recv()
                assert (one.close_code, two.close_code) == (1008, 1008)
        except Exception:
            print((stage.state / "serve.log").read_text()[-4000:])
            raise
        finally:
            await stage.close()
