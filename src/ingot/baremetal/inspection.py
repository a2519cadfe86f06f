"""From the agent's inspection data to properties, capabilities and ports: pure.

The data's shape is the agent's own (its documentation, "Inspection data"); what is derived follows the
default hooks of the Bare Metal service: ramdisk-error, validate-interfaces, ports, architecture, and memory,
cpus and disk size besides, since the scheduler wants true numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import msgspec

from ingot.drivers.types import Identity
from ingot.kit.faults import Failed, Invalid
from ingot.kit.ids import normal_mac

#: Fields that are kept apart: they are large or binary, and no inventory.
_NOT_PLUGIN_DATA = frozenset({"inventory", "logs", "error"})
_GIB = 1 << 30
#: The agent takes no smaller disk as root disk.
_SMALLEST_ROOT = 4 * _GIB


class _Nic(msgspec.Struct):
    name: str | None = None
    mac_address: str | None = None
    has_carrier: bool | None = None


class _Cpu(msgspec.Struct):
    architecture: str | None = None
    count: int | None = None


class _Memory(msgspec.Struct):
    physical_mb: int | None = None


class _Disk(msgspec.Struct):
    size: int | None = None


class _Vendor(msgspec.Struct):
    product_name: str | None = None
    serial_number: str | None = None
    manufacturer: str | None = None


class _Boot(msgspec.Struct):
    current_boot_mode: str | None = None
    pxe_interface: str | None = None


class _Inventory(msgspec.Struct):
    interfaces: list[_Nic] = []
    cpu: _Cpu | None = None
    memory: _Memory | None = None
    disks: list[_Disk] | None = None
    system_vendor: _Vendor | None = None
    boot: _Boot | None = None
    bmc_address: str | None = None
    bmc_v6address: str | None = None


class Facts(msgspec.Struct):
    """The parts of the data that we read; everything else is only kept."""

    inventory: _Inventory | None = None
    root_disk: _Disk | None = None
    boot_interface: str | None = None
    error: Any = None

    def macs(self) -> list[str]:
        """All MACs in the data, normalised, in order."""
        nics = self.inventory.interfaces if self.inventory else []
        found = (normal_mac(nic.mac_address or "") for nic in nics)
        return [mac for mac in found if mac]

    def bmc_addresses(self) -> list[str]:
        """The controller's addresses as the machine sees them, without prefix length."""
        if self.inventory is None:
            return []
        texts = (self.inventory.bmc_address, self.inventory.bmc_v6address)
        return [text for text in (_address(text) for text in texts) if text]

    def identity(self) -> Identity:
        """Who the machine says it is, from inside."""
        vendor = (self.inventory.system_vendor if self.inventory else None) or _Vendor()
        return Identity(
            serial=vendor.serial_number or "",
            manufacturer=vendor.manufacturer or "",
            model=vendor.product_name or "",
            macs=tuple(self.macs()),
        )


@dataclass(frozen=True, slots=True)
class Nic:
    """An interface that can become a port. booted: the agent was started through it."""

    mac: str
    name: str
    booted: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """What an inspection found out."""

    inventory: dict[str, Any]
    plugin_data: dict[str, Any]
    properties: dict[str, Any]
    nics: tuple[Nic, ...]
    identity: Identity
    boot_mode: str | None


def facts_of(data: Mapping[str, Any]) -> Facts:
    """The data as `Facts`; Invalid when a part that we read has another shape."""
    try:
        return msgspec.convert(data, Facts, strict=False)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"The inspection data is malformed: {wrong}.") from None


def findings(data: Mapping[str, Any]) -> Findings:
    """Read inspection data. Failed when the agent reports an error; Invalid when it makes no sense."""
    facts = facts_of(data)
    if facts.error:
        raise Failed(
            f"The agent reports: {facts.error}",
            next_action="Look at the machine's console log, then inspect again.",
        )
    if facts.inventory is None:
        raise Invalid("The inspection data has no inventory.")
    nics = _nics(facts, facts.inventory)
    if not nics:
        raise Failed(
            "The inspection found no network interface with a MAC address.",
            next_action="Check the machine's network cards, then inspect again.",
        )
    mode = facts.inventory.boot.current_boot_mode if facts.inventory.boot else None
    plugin = {k: v for k, v in data.items() if k not in _NOT_PLUGIN_DATA}
    plugin["all_interfaces"] = {
        nic.name: {"mac_address": nic.mac, "pxe_enabled": nic.booted} for nic in nics
    }
    return Findings(
        inventory=dict(data["inventory"]),
        plugin_data=plugin,
        properties=_properties(facts, facts.inventory),
        nics=nics,
        identity=facts.identity(),
        boot_mode=mode if mode in ("bios", "uefi") else None,
    )


def merge_capabilities(old: object, new: Mapping[str, str]) -> str:
    """`k:v,k:v` texts as properties.capabilities holds them."""
    pairs: dict[str, str] = {}
    for part in str(old or "").split(","):
        name, colon, value = part.partition(":")
        if colon and name.strip():
            pairs[name.strip()] = value.strip()
    pairs.update(new)
    return ",".join(f"{name}:{value}" for name, value in pairs.items())


def _address(text: str | None) -> str | None:
    plain = (text or "").split("/")[0]
    try:
        return plain if plain and not ip_address(plain).is_unspecified else None
    except ValueError:
        return None


def _nics(facts: Facts, inventory: _Inventory) -> tuple[Nic, ...]:
    booted = _boot_mac(facts, inventory)
    nics: dict[str, Nic] = {}
    for nic in inventory.interfaces:
        mac = normal_mac(nic.mac_address or "")
        if not mac or nic.name == "lo":
            continue
        # Without a word of the boot interface every connected card may boot.
        boots = mac == booted if booted else nic.has_carrier is not False
        nics[mac] = Nic(mac, nic.name or mac, boots)
    return tuple(nics.values())


def _boot_mac(facts: Facts, inventory: _Inventory) -> str | None:
    """BOOTIF as PXE gives it carries the hardware type in front: 01-52-54-…"""
    text = facts.boot_interface or (inventory.boot.pxe_interface if inventory.boot else None) or ""
    plain = text.replace("-", ":").lower()
    return normal_mac(plain[3:] if plain.count(":") == 6 else plain)


def _properties(facts: Facts, inventory: _Inventory) -> dict[str, Any]:
    cpu, memory = inventory.cpu or _Cpu(), inventory.memory or _Memory()
    found: dict[str, Any] = {
        "cpu_arch": cpu.architecture,
        "cpus": cpu.count,
        "memory_mb": memory.physical_mb,
        "vendor": inventory.system_vendor.manufacturer if inventory.system_vendor else None,
    }
    if size := _root_disk_size(facts, inventory):
        # One GiB less than the disk: room for tables and the config drive, as upstream does.
        found["local_gb"] = max(1, size // _GIB - 1)
    return {name: value for name, value in found.items() if value}


def _root_disk_size(facts: Facts, inventory: _Inventory) -> int:
    if facts.root_disk and facts.root_disk.size:
        return facts.root_disk.size
    large = [d.size for d in inventory.disks or [] if d.size and d.size >= _SMALLEST_ROOT]
    return min(large, default=0)
