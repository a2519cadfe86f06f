"""Debian packages that the rack needs, each with its reason, and how to see that they are there."""

import os
import shutil
from pathlib import Path

import msgspec

from ingot.lab.rack.types import RackError, RackSpec


class Package(msgspec.Struct, frozen=True):
    """A Debian package, why the rack wants it, and a file or program that proves it."""

    name: str
    reason: str
    proof: str
    kind: str = "all"


_PACKAGES = (
    Package("iproute2", "makes the rack's network namespace, bridge and taps", "ip"),
    Package("util-linux", "keeps libvirt in namespaces of its own", "unshare"),
    Package("qemu-system-x86", "runs the machines", "qemu-system-x86_64"),
    Package("qemu-utils", "makes their disks", "qemu-img"),
    Package("ipxe-qemu", "is the network card's boot ROM", "/usr/lib/ipxe/qemu/efi-virtio.rom"),
    Package("ovmf", "is the UEFI firmware", "/usr/share/OVMF/OVMF_CODE_4M.fd", "uefi"),
    Package("openipmi", "brings ipmi_sim, the IPMI BMC", "ipmi_sim", "ipmi"),
    Package("ipmitool", "speaks to that BMC", "ipmitool", "ipmi"),
    Package("libvirt-daemon", "holds the machines behind sushy-tools", "libvirtd", "redfish"),
    Package(
        "libvirt-daemon-driver-qemu",
        "is libvirt's part for QEMU",
        "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
        "redfish",
    ),
    Package("libvirt-clients", "brings virsh", "virsh", "redfish"),
    Package(
        "python3-libvirt",
        "lets sushy-tools speak to libvirt",
        "/usr/lib/python3/dist-packages/libvirt.py",
        "redfish",
    ),
)


def required_packages(spec: RackSpec | None = None) -> list[Package]:
    """Packages for this rack, or for every kind of rack."""
    if spec is None:
        return list(_PACKAGES)
    kinds = {"all"} | {machine.firmware for machine in spec.machines}
    kinds |= {machine.bmc.kind for machine in spec.machines}
    return [package for package in _PACKAGES if package.kind in kinds]


def missing_packages(spec: RackSpec | None = None) -> list[Package]:
    """Those of `required_packages` whose proof is not on this host."""
    return [package for package in required_packages(spec) if not _present(package.proof)]


def require_packages(spec: RackSpec) -> None:
    """Raise `RackError` with the command to type when something is missing or we are not root."""
    if os.geteuid() != 0:
        raise RackError("the rack needs root (namespaces, taps, libvirt): run it with sudo")
    missing = missing_packages(spec)
    if not missing:
        return
    reasons = "\n".join(f"  {package.name}: {package.reason}" for package in missing)
    names = " ".join(package.name for package in missing)
    raise RackError(
        f"the rack needs Debian packages that are not installed:\n{reasons}\n"
        f"install them with: apt-get install -y --no-install-recommends {names}"
    )


def _present(proof: str) -> bool:
    if proof.startswith("/"):
        return Path(proof).exists()
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return shutil.which(proof, path=path) is not None
