"""What a simulated machine is made of, drawn from the seed, and how the agent tells it."""

from __future__ import annotations

import random
import uuid
from typing import Any

from ingot.lab.sim.types import BootMode, Disk, Hardware, Identity, Nic

AGENT_VERSION = "13.0.0"

_MODELS = (
    ("Dell Inc.", "PowerEdge R660", "Intel(R) Xeon(R) Gold 6430", 32),
    ("HPE", "ProLiant DL360 Gen11", "Intel(R) Xeon(R) Silver 4416+", 20),
    ("Lenovo", "ThinkSystem SR650 V3", "Intel(R) Xeon(R) Gold 5416S", 16),
    ("Supermicro", "SYS-121H-TNR", "AMD EPYC 9354", 32),
)
_GIB = 1024**3


def make_identity(index: int, rng: random.Random) -> tuple[Identity, Hardware]:
    """Identity and hardware of machine `index` of a fleet; `rng` is that machine's own."""
    maker, model, cpu, cores = _MODELS[rng.randrange(len(_MODELS))]
    serial = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789") for _ in range(10))
    prefix = rng.getrandbits(8)
    base = (0x52 << 40) | (0x54 << 32) | (prefix << 24) | (index << 3)
    macs = [_mac(base + n) for n in range(3)]
    nics = (
        Nic("eno1", macs[0], 25_000, "0000:31:00.0"),
        Nic("eno2", macs[1], 25_000, "0000:31:00.1"),
    )
    first = Disk(
        "/dev/sda", 480 * _GIB, "MTFDDAK480TDS", f"{serial}D0", _wwn(rng), rotational=False
    )
    second = Disk(
        "/dev/sdb", 1920 * _GIB, "ST2000NX0253", f"{serial}D1", _wwn(rng), rotational=True
    )
    sockets = rng.choice((1, 2))
    hardware = Hardware(
        nics=nics,
        disks=(first, second),
        cpus=cores * sockets * 2,
        sockets=sockets,
        cpu_model=cpu,
        arch="x86_64",
        memory_mb=rng.choice((64, 128, 256)) * 1024,
        firmware=rng.choice((BootMode.UEFI, BootMode.UEFI, BootMode.BIOS)),
    )
    identity = Identity(
        str(uuid.UUID(int=rng.getrandbits(128), version=4)), serial, maker, model, macs[2]
    )
    return identity, hardware


def _mac(number: int) -> str:
    return ":".join(f"{(number >> shift) & 255:02x}" for shift in range(40, -8, -8))


def _wwn(rng: random.Random) -> str:
    return f"0x5000c5{rng.getrandbits(40):010x}"


def hardware_inventory(
    identity: Identity, hardware: Hardware, mode: BootMode, address: str, bmc: str, boot_mac: str
) -> dict[str, Any]:
    """The agent's `inventory`, key for key as ironic-python-agent 13 gives it."""
    return {
        "interfaces": [
            _interface(nic, address if nic.mac == boot_mac else None) for nic in hardware.nics
        ],
        "cpu": {
            "model_name": hardware.cpu_model,
            "frequency": "3000.0000",
            "count": hardware.cpus,
            "architecture": hardware.arch,
            "flags": ["fpu", "vme", "vmx", "aes", "avx2"],
            "socket_count": hardware.sockets,
        },
        "disks": [_disk(disk, number) for number, disk in enumerate(hardware.disks)],
        "memory": {
            "total": (hardware.memory_mb - 900) * 1024 * 1024,
            "physical_mb": hardware.memory_mb,
        },
        "bmc_address": bmc,
        "bmc_v6address": "::/0",
        "bmc_mac": identity.bmc_mac,
        "system_vendor": {
            "product_name": identity.model,
            "serial_number": identity.serial,
            "manufacturer": identity.manufacturer,
            "firmware": {
                "vendor": identity.manufacturer,
                "version": "2.14.1",
                "build_date": "05/14/2026",
            },
        },
        "boot": {"current_boot_mode": mode.value, "pxe_interface": boot_mac},
        "hostname": "localhost.localdomain",
    }


def _interface(nic: Nic, address: str | None) -> dict[str, Any]:
    return {
        "name": nic.name,
        "mac_address": nic.mac,
        "ipv4_address": address,
        "ipv6_address": None,
        "has_carrier": nic.cabled,
        "lldp": None,
        "vendor": "0x8086",
        "product": "0x1593",
        "client_id": None,
        "biosdevname": None,
        "speed_mbps": nic.speed_mbps,
        "pci_address": nic.pci_address,
        "driver": "ice",
    }


def _disk(disk: Disk, number: int) -> dict[str, Any]:
    return {
        "name": disk.name,
        "model": disk.model,
        "size": disk.size,
        "rotational": disk.rotational,
        "wwn": disk.wwn,
        "serial": disk.serial,
        "vendor": "ATA",
        "wwn_with_extension": disk.wwn,
        "wwn_vendor_extension": None,
        "hctl": f"{number}:0:0:0",
        "by_path": f"/dev/disk/by-path/pci-0000:00:17.0-ata-{number + 1}",
        "logical_sectors": 512,
        "physical_sectors": 4096,
        "tran": "sata",
    }


def inspection_data(inventory: dict[str, Any], mac: str, collectors: str) -> dict[str, Any]:
    """The whole body that the agent posts to the inspection callback."""
    names = [name.strip() for name in (collectors or "default,logs").split(",") if name.strip()]
    disks: list[dict[str, Any]] = inventory["disks"]
    large = [disk for disk in disks if disk["size"] >= 4 * _GIB]
    data: dict[str, Any] = {
        "inventory": inventory,
        "root_disk": min(large, key=lambda disk: disk["size"]) if large else None,
        "boot_interface": mac,
        "configuration": {
            "collectors": names,
            "managers": [{"name": "generic_hardware_manager", "version": "1.2"}],
        },
        "error": None,
    }
    if "logs" in names:
        data["logs"] = ""
    return data
