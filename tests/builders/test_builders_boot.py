"""What the builders make, booted in QEMU without hardware virtualisation.

Builds both when the cache lacks them (minutes); INGOT_TEST_CACHE names another
cache.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_api import TOKEN, AgentApi

from ingot.builders import build_image, build_ramdisk
from ingot.drivers.machine.vmedia import iso
from ingot.services.baremetal.boot import network_data

pytestmark = [pytest.mark.qemu, pytest.mark.real, pytest.mark.timeout(1800)]

OVMF = Path("/usr/share/OVMF")
#: As they are on the console, with systemd's colours.
SSH_STARTED = re.compile(rb"Started \S*ssh\.service")
SSH_FAILED = re.compile(rb"Failed to start \S*ssh\.serv")
CLOUD_INIT_ENDED = re.compile(rb"Cloud-init v\. \S+ finished")
BOOT_DEADLINE = 420  # seconds; on an idle machine of 2 cores a boot takes about 60


def cache() -> Path | None:
    place = os.environ.get("INGOT_TEST_CACHE")
    return Path(place) if place else None


@contextmanager
def machine(serial: Path, *arguments: str, memory: int = 2048) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2"),
        *("-m", str(memory), "-display", "none", "-monitor", "none", "-no-reboot"),
        *("-serial", f"file:{serial}", *arguments),
    ]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(
    text: bytes | re.Pattern[bytes], serial: Path, process: subprocess.Popen[bytes]
) -> None:
    pattern = text if isinstance(text, re.Pattern) else re.compile(re.escape(text))
    end = time.monotonic() + BOOT_DEADLINE
    while time.monotonic() < end:
        seen = serial.read_bytes() if serial.exists() else b""
        if pattern.search(seen):
            return
        assert process.poll() is None, f"QEMU ended with {process.returncode}: {seen[-2000:]!r}"
        time.sleep(0.5)
    pytest.fail(
        f"no {pattern.pattern!r} on the console in {BOOT_DEADLINE} s: {serial.read_bytes()[-2000:]!r}"
    )


def test_ramdisk_looks_itself_up_and_heartbeats(tmp_path: Path) -> None:
    api, _ = heartbeat(tmp_path, "", "-nic", "user,model=virtio-net-pci")
    assert api.heartbeat["callback_url"] == "https://10.0.2.15:9999"
    assert api.heartbeat["agent_token"] == TOKEN
    assert api.heartbeat["agent_version"].startswith("13.")


@pytest.mark.nightly  # one more boot
def test_ramdisk_takes_its_addresses_from_the_medium(tmp_path: Path) -> None:
    """A VLAN on a bond of one card, beside the bond's own address; DHCP would answer and is not asked."""
    ramdisk = build_ramdisk(cache(), progress=print)
    mac = "52:54:00:12:34:56"
    files = tmp_path / "boot.iso", ramdisk.files["kernel"], ramdisk.files["kernel"]
    made = iso.build(*files, iso.BootLoaders({"BOOTX64.EFI": b"MZ"}), network_data=True)
    filled = made.filled(b"", json.dumps(_addresses(mac)).encode())
    whole = Path(made.path).read_bytes()
    Path(made.path).write_bytes(filled.patch(whole, 0))
    hardware = ("-cdrom", made.path, "-nic", f"user,model=virtio-net-pci,mac={mac}")
    api, log = heartbeat(tmp_path, " ingot.services.network=config-2", *hardware)
    assert api.heartbeat["callback_url"] == "https://10.0.2.77:9999"
    assert "lag0 has 10.0.2.77/24 from the boot medium" in log
    assert "lag0.42 has 10.9.0.5/16 from the boot medium" in log
    assert "asks for an address" not in log and "network: ip " not in log, log[-4000:]


def _addresses(mac: str) -> dict[str, Any]:
    """network_data: `lag0` of the card with its address, and a VLAN of it with another."""
    card = {"id": "card", "type": "phy", "ethernet_mac_address": mac}
    bond = {"id": "bond", "type": "bond", "bond_mode": "active-backup", "bond_links": ["card"]}
    vlan = {"id": "vlan", "type": "vlan", "vlan_id": 42, "vlan_link": "bond"}
    route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.2.2"}

    def network(link: str, address: str, mask: str, *routes: Any) -> dict[str, Any]:
        given = {"ip_address": address, "netmask": mask, "routes": list(routes)}
        return {"id": link, "network_id": link, "link": link, "type": "ipv4", **given}

    document = {
        "links": [
            {**vlan, "vlan_mac_address": mac},
            {**bond, "ethernet_mac_address": mac},
            card,
        ],
        "networks": [
            network("bond", "10.0.2.77", "255.255.255.0", route),
            network("vlan", "10.9.0.5", "255.255.0.0"),
        ],
        "services": [{"type": "dns", "address": "10.0.2.3"}],
    }
    network_data.check(document)
    return document


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_image_boots_to_the_login_prompt(firmware: str, tmp_path: Path) -> None:
    serial, arguments = tmp_path / "serial.log", image_machine(tmp_path)
    if firmware == "uefi":
        shutil.copyfile(OVMF / "OVMF_VARS_4M.fd", tmp_path / "vars.fd")
        code = OVMF / "OVMF_CODE_4M.fd"
        arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
        arguments += ["-drive", f"if=pflash,format=raw,file={tmp_path / 'vars.fd'}"]
    with machine(serial, *arguments) as process:
        wait_for(b" login: ", serial, process)


def test_who_could_log_in_can_do_so_after_power_was_cut(tmp_path: Path) -> None:
    arguments = image_machine(tmp_path)
    for serial in (tmp_path / "first.log", tmp_path / "second.log"):
        with machine(serial, *arguments) as process:
            # By then the file system has noted the new files, but not yet what is in them.
            wait_for(CLOUD_INIT_ENDED, serial, process)
            wait_for(SSH_STARTED, serial, process)
        assert not SSH_FAILED.search(serial.read_bytes()), serial.read_bytes()[-4000:]


def heartbeat(folder: Path, more: str, *hardware: str) -> tuple[AgentApi, str]:
    """Boot the ramdisk until its agent calls: what it told, and its console. more: kernel parameters, a blank first."""
    ramdisk = build_ramdisk(cache(), progress=print)
    api, serial = AgentApi(), folder / "serial.log"
    parameters = f"console=ttyS0 ipa-api-url=http://10.0.2.2:{api.port}{more}"
    try:
        with machine(
            serial,
            *("-kernel", str(ramdisk.files["kernel"]), "-append", parameters),
            *("-initrd", str(ramdisk.files["initramfs"]), *hardware),
            *("-drive", f"file={blank_disk(folder)},if=virtio,format=raw"),
        ) as process:
            wait_for(b"agent starts", serial, process)
            assert api.seen_heartbeat.wait(BOOT_DEADLINE), serial.read_bytes()[-2000:]
    finally:
        api.close()
    return api, serial.read_text(errors="replace")


def image_machine(folder: Path) -> list[str]:
    """QEMU's words for a network card, and a disk with our image that may be written to."""
    image, disk = build_image(cache(), progress=print), folder / "disk.qcow2"
    base = ["-F", "raw", "-b", str(image.files["raw"])]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk), "8G"], check=True)
    return ["-drive", f"file={disk},if=virtio", "-nic", "user,model=virtio-net-pci"]


def blank_disk(folder: Path) -> Path:
    disk = folder / "blank.raw"
    with disk.open("wb") as file:
        file.truncate(8 << 30)
    return disk
