"""A running rack, looked at from outside with ipmitool, plain HTTP and the serial console.

Machines boot a 512-byte disk of our own, or their network card's iPXE; nothing else is needed.
"""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingot.lab import Rack, RackError, missing_packages
from ingot.lab.rack import namespace, process

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(bool(missing_packages()), reason=f"packages: {missing_packages()}"),
]

RACK = """
name = "{name}"
accel = "tcg"
[defaults]
memory_mb = 512
disks_gb = [1]
[[machine]]
name = "bios-1"
firmware = "bios"
bmc.kind = "ipmi"
[[machine]]
name = "bios-2"
firmware = "bios"
bmc.kind = "ipmi"
[[machine]]
name = "uefi-1"
bmc.kind = "redfish"
[[machine]]
name = "uefi-2"
pxe = "firmware"
bmc.kind = "redfish"
"""

# Prints its message by the BIOS, waits for a key, and resets the machine by the keyboard
# controller: xor ax,ax; mov ds,ax; mov si,MESSAGE; next: lodsb; test al,al; jz key;
# mov ah,0eh; mov bx,7; int 10h; jmp next; key: xor ah,ah; int 16h; mov al,0feh; out 64h,al; hlt
BOOT_SECTOR = (
    bytes.fromhex("31c08ed8be207cac84c07409b40ebb0700cd10ebf230e4cd16b0fee664f4").ljust(32, b"\xf4")
    + b"BOOTED-FROM-DISK\r\n\0"
).ljust(510, b"\0") + b"\x55\xaa"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A rack held by a supervisor that ends when we close its standard input."""
    folder = tmp_path_factory.mktemp("rack")
    (folder / "rack.toml").write_text(RACK.format(name=f"igr-t{os.getpid()}"))
    state = folder / "state"
    child = subprocess.Popen(
        [sys.executable, "-m", "ingot.lab.rack.supervisor", state, folder / "rack.toml"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None
    reply = json.loads(child.stdout.readline())
    assert reply["ok"], reply
    yield state
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()


@pytest.fixture
async def rack(running: Path) -> AsyncIterator[Rack]:
    rack = Rack.at(running)
    yield rack
    for machine in rack.machines:
        await rack.power(machine.name, "off")


async def inside(rack: Rack, *argv: str) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        *rack.inside(*argv), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        output, _ = await child.communicate()
    return child.returncode or 0, output.decode(errors="replace").strip()


async def ipmitool(rack: Rack, name: str, *words: str, password: str | None = None) -> str:
    bmc = rack.machine(name).bmc
    argv = ["ipmitool", "-I", "lanplus", "-C", "3", "-R", "1", "-H", bmc.address]
    argv += ["-U", bmc.username, "-P", password or bmc.password, *words]
    code, output = await inside(rack, *argv)
    return output if code == 0 else f"failed: {output}"


async def redfish(
    rack: Rack, name: str, path: str, method: str = "GET", body: Any = None, password: str = ""
) -> tuple[int, Any]:
    bmc = rack.machine(name).bmc
    secret = base64.b64encode(f"{bmc.username}:{password or bmc.password}".encode()).decode()
    argv = ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", "-X", method]
    argv += ["-H", f"Authorization: Basic {secret}", "-H", "Content-Type: application/json"]
    if body is not None:
        argv += ["-d", json.dumps(body)]
    _, output = await inside(rack, *argv, f"http://{bmc.address}:{bmc.port}{path}")
    text, _, status = output.rpartition("\n")
    return int(status), json.loads(text) if text.startswith("{") else text


def system(rack: Rack, name: str) -> str:
    return f"/redfish/v1/Systems/{rack.machine(name).uuid}"


async def reset(rack: Rack, name: str, kind: str) -> None:
    path = f"{system(rack, name)}/Actions/ComputerSystem.Reset"
    status, said = await redfish(rack, name, path, "POST", {"ResetType": kind})
    assert status == 204, said


async def type_key(rack: Rack, name: str) -> None:
    status = await rack.status()
    path = next(machine.console_socket for machine in status.machines if machine.name == name)
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"x")
    await writer.drain()
    writer.close()


def write_boot_sector(rack: Rack, name: str) -> None:
    with (rack.state / name / "disk0.raw").open("r+b") as disk:
        disk.write(BOOT_SECTOR)


async def test_ipmi_power_and_identity(rack: Rack) -> None:
    assert await ipmitool(rack, "bios-1", "power", "status") == "Chassis Power is off"
    assert rack.machine("bios-1").uuid in await ipmitool(rack, "bios-1", "mc", "guid")
    assert "failed" in await ipmitool(rack, "bios-1", "power", "status", password="wrong")
    await ipmitool(rack, "bios-1", "power", "on")
    assert await ipmitool(rack, "bios-1", "power", "status") == "Chassis Power is on"
    assert await ipmitool(rack, "bios-2", "power", "status") == "Chassis Power is off"
    await rack.wait_console("bios-1", f"Machine UUID {rack.machine('bios-1').uuid}", 10)
    await ipmitool(rack, "bios-1", "power", "off")
    assert await ipmitool(rack, "bios-1", "power", "status") == "Chassis Power is off"


async def test_ipmi_boot_device_counts_at_the_next_boot_also_after_a_reboot(rack: Rack) -> None:
    write_boot_sector(rack, "bios-1")
    start = len(rack.console_log("bios-1"))
    await ipmitool(rack, "bios-1", "chassis", "bootdev", "disk", "options=persistent")
    said = await ipmitool(rack, "bios-1", "chassis", "bootparam", "get", "5")
    assert "Force Boot from default Hard-Drive" in said
    await ipmitool(rack, "bios-1", "power", "on")
    await rack.wait_console("bios-1", "BOOTED-FROM-DISK", 20, start)

    await ipmitool(rack, "bios-1", "chassis", "bootdev", "pxe", "options=persistent")
    start = len(rack.console_log("bios-1"))
    await type_key(rack, "bios-1")  # the guest resets itself; the BMC's device decides
    await rack.wait_console("bios-1", "starting execution", 20, start)
    assert await ipmitool(rack, "bios-1", "power", "status") == "Chassis Power is on"
    assert "BOOTED-FROM-DISK" not in rack.console_log("bios-1")[start:]

    await ipmitool(rack, "bios-1", "chassis", "bootdev", "disk")
    for verb in ("cycle", "reset"):
        start = len(rack.console_log("bios-1"))
        await ipmitool(rack, "bios-1", "power", verb)
        await rack.wait_console("bios-1", "BOOTED-FROM-DISK", 20, start)


async def test_serial_over_lan_shows_what_the_machine_says(rack: Rack) -> None:
    bmc = rack.machine("bios-2").bmc
    argv = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", bmc.address, "-U", bmc.username]
    # ipmitool wants a terminal for SOL: script(1) gives it one.
    command = " ".join([*argv, "-P", bmc.password, "sol", "activate"])
    child = await asyncio.create_subprocess_exec(
        *rack.inside("script", "-qec", command, "/dev/null"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None and child.stdout is not None
    seen = b""
    async with asyncio.timeout(20):
        while b"operational" not in seen:
            seen += await child.stdout.read(4096)
        await rack.power("bios-2", "on")
        while b"SeaBIOS" not in seen:
            seen += await child.stdout.read(4096)
        child.stdin.write(b"\r~.")
        child.stdin.close()
        await child.wait()


async def test_redfish_power_identity_and_boot_override(rack: Rack) -> None:
    machine = rack.machine("uefi-1")
    status, _ = await redfish(rack, "uefi-1", "/redfish/v1/Systems", password="wrong")
    assert status == 401
    _, listed = await redfish(rack, "uefi-1", "/redfish/v1/Systems")
    assert listed["Members"] == [{"@odata.id": system(rack, "uefi-1")}]
    status, _ = await redfish(rack, "uefi-1", system(rack, "uefi-2"))
    assert status >= 400  # sushy-tools 2.2.0 says 500 where it means 404

    override = {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
    status, said = await redfish(rack, "uefi-1", system(rack, "uefi-1"), "PATCH", override)
    assert status == 204, said
    _, shown = await redfish(rack, "uefi-1", system(rack, "uefi-1"))
    assert (shown["UUID"], shown["PowerState"]) == (machine.uuid, "Off")
    assert shown["Boot"]["BootSourceOverrideTarget"] == "Pxe"
    await reset(rack, "uefi-1", "On")
    await rack.wait_console("uefi-1", "Configuring (net0 52:54:00:49:4e:03)", 60)
    # The disk was not tried before the network.
    assert "failed to load" not in rack.console_log("uefi-1")
    await reset(rack, "uefi-1", "ForceOff")
    _, shown = await redfish(rack, "uefi-1", system(rack, "uefi-1"))
    assert shown["PowerState"] == "Off"


async def test_firmware_boots_from_the_network_without_a_rom(rack: Rack) -> None:
    await rack.power("uefi-2", "on")
    await rack.wait_console("uefi-2", "Start PXE over IPv4", 60)
    assert "iPXE" not in rack.console_log("uefi-2")


async def test_swapped_bmcs_reach_the_other_machine(rack: Rack) -> None:
    one, two = rack.machine("bios-1").uuid, rack.machine("bios-2").uuid
    await rack.swap_bmcs("bios-1", "bios-2")
    assert two in await ipmitool(rack, "bios-1", "mc", "guid")
    await ipmitool(rack, "bios-1", "power", "on")
    powers = {machine.name: machine.power for machine in (await rack.status()).machines}
    assert (powers["bios-1"], powers["bios-2"]) == ("off", "on")
    await rack.power("bios-2", "off")
    await rack.swap_bmcs("bios-1", "bios-2")

    await rack.swap_bmcs("bios-1", "bios-2", lying=True)
    assert one in await ipmitool(rack, "bios-1", "mc", "guid")
    await ipmitool(rack, "bios-1", "power", "on")
    powers = {machine.name: machine.power for machine in (await rack.status()).machines}
    assert (powers["bios-1"], powers["bios-2"]) == ("off", "on")
    await rack.power("bios-2", "off")
    await rack.swap_bmcs("bios-1", "bios-2", lying=True)

    with pytest.raises(RackError, match="two BMCs of one kind"):
        await rack.swap_bmcs("bios-1", "uefi-1")


async def test_redfish_bmcs_with_crossed_wires_lie_about_their_machine(rack: Rack) -> None:
    await rack.swap_bmcs("uefi-1", "uefi-2", lying=True)
    try:
        _, listed = await redfish(rack, "uefi-1", "/redfish/v1/Systems")
        assert listed["Members"] == [{"@odata.id": system(rack, "uefi-1")}]
        await reset(rack, "uefi-1", "On")
        powers = {machine.name: machine.power for machine in (await rack.status()).machines}
        assert (powers["uefi-1"], powers["uefi-2"]) == ("off", "on")
        with pytest.raises(RackError, match="uefi-2 is on"):
            await rack.swap_bmcs("uefi-1", "uefi-2", lying=True)
        await rack.power("uefi-2", "off")
    finally:
        await rack.swap_bmcs("uefi-1", "uefi-2", lying=True)


async def test_bad_requests_are_refused(rack: Rack) -> None:
    with pytest.raises(RackError, match="no machine named 'nobody'"):
        await rack.power("nobody", "on")
    with pytest.raises(RackError, match="wants one of"):
        await rack.power("bios-1", "explode")  # pyright: ignore[reportArgumentType]
    with pytest.raises(RackError, match="is up already"):
        await rack.up()


async def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    name = f"igr-k{os.getpid()}"
    (tmp_path / "rack.toml").write_text(RACK.format(name=name))
    rack = Rack.load(tmp_path / "rack.toml", state=tmp_path / "state")
    await rack.up()
    await rack.power("bios-1", "on")
    await rack.power("uefi-1", "on")
    supervisor = (await rack.status()).supervisor_pid
    inhabitants = pids_in(name)
    assert len(inhabitants) >= 8  # supervisor, 4 BMCs, libvirt's cell, 2 machines
    os.kill(supervisor, signal.SIGKILL)
    async with asyncio.timeout(10):
        while any(process.start_time(pid) for pid in inhabitants):
            await asyncio.sleep(0.02)
    await rack.down()
    assert not namespace.exists(name)

    async with rack:  # and it can be brought up again over the remains
        assert namespace.exists(name)
        inhabitants = pids_in(name)
    assert not namespace.exists(name)
    assert not [pid for pid in inhabitants if process.start_time(pid)]


def pids_in(name: str) -> list[int]:
    listed = subprocess.run(
        ["ip", "netns", "pids", name], capture_output=True, text=True, check=True
    )
    return [int(word) for word in listed.stdout.split()]


async def test_a_process_in_the_rack_keeps_its_outside_listener(rack: Rack) -> None:
    """How the cloud lives: its API stays on the host's loopback, its hands are in the rack."""
    bmc = rack.machine("uefi-1").bmc
    program = f"""
import socket, sys, urllib.request
from ingot.kit.namespace import enter_namespace
with socket.create_server(("127.0.0.1", 0)) as listener:
    enter_namespace({rack.spec.name!r})
    seen = urllib.request.urlopen("http://{bmc.address}:{bmc.port}/redfish/v1/", timeout=10).status
    print(listener.getsockname()[1], flush=True)
    listener.settimeout(10)
    connection, _ = listener.accept()
    connection.sendall(str(seen).encode())
    connection.close()
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    port = int(await child.stdout.readline())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.read() == b"200"
    writer.close()
    assert await child.wait() == 0
