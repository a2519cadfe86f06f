"""Rack files: defaults, identities, and errors that name the key."""

import uuid
from pathlib import Path

import pytest

from ingot.lab import RackError, enrol_file
from ingot.lab.rack import ipmi, rackfile
from ingot.lab.rack.packages import required_packages
from ingot.lab.rack.state import StateDirectory

MACHINE = '[[machine]]\nname = "a"\nbmc.kind = "ipmi"\n'


def test_built_in_rack_has_both_firmwares_and_both_bmcs() -> None:
    spec = rackfile.load(None, "secret")
    assert [(m.name, m.firmware, m.bmc.kind, m.bmc.address) for m in spec.machines] == [
        ("node-1", "bios", "ipmi", "172.30.1.11"),
        ("node-2", "uefi", "redfish", "172.30.1.12"),
        ("node-3", "uefi", "redfish", "172.30.1.13"),
    ]
    assert {m.bmc.password for m in spec.machines} == {"secret"}
    assert len({m.mac for m in spec.machines} | {m.uuid for m in spec.machines}) == 6


def test_defaults_and_overrides() -> None:
    spec = rackfile.parse(
        """
        name = "r1"
        [defaults]
        memory_mb = 1024
        pxe = "firmware"
        [[machine]]
        name = "a"
        bmc = {kind = "redfish", port = 8443, username = "root", password = "own"}
        disks_gb = [4, 8]
        mac = "52:54:00:AA:BB:01"
        uuid = "4C4C4544-0051-3010-8051-B4C04F4A3132"
        [[machine]]
        name = "b"
        firmware = "bios"
        memory_mb = 2048
        bmc = {kind = "ipmi"}
        """,
        "test",
        "secret",
    )
    a, b = spec.machines
    assert (a.memory_mb, a.disks_gb, a.pxe, a.mac) == (
        1024,
        (4, 8),
        "firmware",
        "52:54:00:aa:bb:01",
    )
    assert a.uuid == "4c4c4544-0051-3010-8051-b4c04f4a3132"
    assert (a.bmc.port, a.bmc.username, a.bmc.password) == (8443, "root", "own")
    assert (b.memory_mb, b.pxe, b.bmc.port) == (2048, "rom", 623)


def test_identity_is_the_same_in_every_run_and_differs_between_racks() -> None:
    first, again = (rackfile.parse(MACHINE, "t", "x").machines[0].uuid for _ in range(2))
    other = rackfile.parse(f'name = "other"\n{MACHINE}', "t", "x").machines[0].uuid
    assert first == again != other
    assert rackfile.parse(MACHINE, "t", "x", "other").machines[0].uuid == other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("machine = 1", "$.machine"),
        ("[[machine]", "not TOML"),
        ('name = "x"', "at least one"),
        (MACHINE + 'colour = "red"', "colour"),
        (MACHINE + "cpus = 0", "machine 'a': cpus"),
        (MACHINE + 'cpus = "two"', "$.machine[0].cpus"),
        (MACHINE + "memory_mb = 64", "memory_mb"),
        (MACHINE + "disks_gb = [0]", "disks_gb"),
        (MACHINE + 'firmware = "bios"\npxe = "firmware"', "pxe"),
        (MACHINE + 'mac = "01:00:5e:00:00:01"', "unicast"),
        (MACHINE + 'uuid = "zz"', "badly formed"),
        (MACHINE + MACHINE, "machine.name: used twice: a"),
        (MACHINE + 'mac = "52:54:00:49:4e:02"\n' + MACHINE.replace('"a"', '"b"'), "machine.mac"),
        ('[[machine]]\nname = "a b"\nbmc.kind = "ipmi"', "name"),
        ('[[machine]]\nname = "a"\nbmc.kind = "ilo"', "$.machine[0].bmc.kind"),
        ('[[machine]]\nname = "a"\nbmc.kind = "redfish-sim"', "not built yet"),
        ('[[machine]]\nname = "a"\nbmc = {kind = "ipmi", address = "300.1.1.1"}', "300.1.1.1"),
        (f'[[machine]]\nname = "a"\nbmc = {{kind = "ipmi", password = "{"p" * 21}"}}', "20 char"),
        ('network.bridge = "a bad name"\n' + MACHINE, "network.bridge"),
        ('network.bmc_network = "172.30.0.0/16"\n' + MACHINE, "overlaps"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(text: str, said: str) -> None:
    with pytest.raises(RackError) as refused:
        rackfile.parse(text, "rack.toml", "x")
    assert str(refused.value).startswith("rack.toml: ")
    assert said in str(refused.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RackError, match=r"gone\.toml: No such file"):
        rackfile.load(tmp_path / "gone.toml", "x")


def test_enrol_file_is_what_the_stock_client_takes() -> None:
    nodes = enrol_file(rackfile.load(None, "secret"))["nodes"]
    assert nodes[0] == {
        "name": "node-1",
        "driver": "ipmi",
        "driver_info": {
            "ipmi_address": "172.30.1.11",
            "ipmi_port": 623,
            "ipmi_username": "admin",
            "ipmi_password": "secret",
            "ipmi_cipher_suite": "3",
        },
        "properties": {
            "cpus": 2,
            "memory_mb": 3072,
            "local_gb": 10,
            "cpu_arch": "x86_64",
            "capabilities": "boot_mode:bios",
        },
        "ports": [{"address": "52:54:00:49:4e:01", "pxe_enabled": True}],
    }
    assert nodes[1]["driver_info"]["redfish_address"] == "http://172.30.1.12:8000"
    assert "redfish_system_id" not in nodes[1]["driver_info"]  # it would give a swap away wrongly


def test_state_directory_keeps_password_and_rack_private(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "rack")
    assert state.current() is None
    spec = state.read(None)
    state.keep(spec)
    assert state.read(None) == spec == StateDirectory(tmp_path / "rack").current()
    assert 12 <= len(spec.machines[0].bmc.password) <= 20
    for name in ("password", "rack.json"):
        assert (tmp_path / "rack" / name).stat().st_mode & 0o077 == 0


def test_ipmi_guid_is_least_significant_byte_first() -> None:
    identity = "00112233-4455-6677-8899-aabbccddeeff"
    assert ipmi.guid(identity) == "ffeeddccbbaa99887766554433221100"
    assert uuid.UUID(bytes=bytes.fromhex(ipmi.guid(identity))[::-1]) == uuid.UUID(identity)


def test_packages_follow_the_kinds_in_the_rack() -> None:
    bios = rackfile.parse(MACHINE + 'firmware = "bios"', "t", "x")
    names = {package.name for package in required_packages(bios)}
    assert {"qemu-system-x86", "openipmi"} <= names
    assert not {"ovmf", "libvirt-daemon"} & names
    assert {"ovmf", "libvirt-daemon", "python3-libvirt"} <= {p.name for p in required_packages()}
