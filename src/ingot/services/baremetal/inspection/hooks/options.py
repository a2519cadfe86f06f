"""Options of inspections, as the settings give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: CPU flag -> capability, upstream's defaults.
CPU_CAPABILITIES: Mapping[str, str] = {
    "vmx": "cpu_vt",
    "svm": "cpu_vt",
    "aes": "cpu_aes",
    "pse": "cpu_hugepages",
    "pdpe1gb": "cpu_hugepages_1g",
    "smx": "cpu_txt",
}
#: (vendor, device) -> (type, what it is); PCI ids as the agent writes them.
ACCELERATORS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("10de", "1eb8"): ("GPU", "NVIDIA Corporation Tesla T4"),
    ("10de", "1df6"): ("GPU", "NVIDIA Corporation GV100GL"),
    ("10de", "2236"): ("GPU", "NVIDIA Corporation A10"),
    ("10de", "2235"): ("GPU", "NVIDIA Corporation A40"),
    ("10de", "26b9"): ("GPU", "NVIDIA Corporation L40S"),
    ("10de", "26ba"): ("GPU", "NVIDIA Corporation L20"),
}
ADD_PORTS = ("pxe", "all", "active", "disabled")
KEEP_PORTS = ("all", "present", "added")


@dataclass(frozen=True)
class HookOptions:
    """add_ports: which cards become ports: that which booted, all, those with an address, none.

    keep_ports: which ports stay: all, those whose card is present, those that add_ports names.
    update_pxe_enabled: mark the ports by the card that booted. cpu_capabilities: CPU flag -> capability.
    accelerators: (vendor, device) -> (type, text). pci_aliases: (vendor, product) -> capability.
    physical_networks: network in CIDR -> physical network. extra_hardware_strict: refuse short records.
    spare_gib: of the root disk, left for partition tables.
    """

    add_ports: str = "pxe"
    keep_ports: str = "all"
    update_pxe_enabled: bool = True
    cpu_capabilities: Mapping[str, str] = field(default_factory=lambda: CPU_CAPABILITIES)
    accelerators: Mapping[tuple[str, str], tuple[str, str]] = field(
        default_factory=lambda: ACCELERATORS
    )
    pci_aliases: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    physical_networks: Mapping[str, str] = field(default_factory=dict[str, str])
    extra_hardware_strict: bool = False
    spare_gib: int = 1
