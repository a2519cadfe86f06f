"""From inspection data to a finished draft of the node: pure.

The data's shape is the agent's own (its documentation, "Inspection data"). `hooks` make properties,
capabilities and ports of it, `rules` do what operators want done.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from ingot.drivers.machine.types import Identity
from ingot.drivers.shape import child, text
from ingot.kit.faults import Invalid
from ingot.kit.ids import normal_mac
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.hooks import (
    DEFAULT,
    HookOptions,
    mistakes,
    run_hooks,
)
from ingot.services.baremetal.inspection.hooks.options import CPU_CAPABILITIES
from ingot.services.baremetal.inspection.rules import Applied, Rule, apply_rules
from ingot.services.baremetal.inspection.rules.builtin import load_rules

#: Fields that are kept apart: they are large or binary, and no inventory.
_NOT_PLUGIN_DATA = frozenset({"inventory", "logs"})


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


@dataclass(frozen=True)
class InspectionBounds:
    """What a machine may tell at the most: it is not known who says so, and all of it is looked at.

    octets, values: of the whole message. interfaces, disks: in the inventory, as many as become ports and are
    compared with hints.
    """

    octets: int = 16 << 20
    values: int = 200_000
    interfaces: int = 256
    disks: int = 1024

    def check(self, facts: Facts) -> None:
        """Invalid when there is more of something than may be."""
        inventory = facts.inventory or _Inventory()
        counted = (
            ("network interfaces", "interfaces", len(inventory.interfaces), self.interfaces),
            ("disks", "disks", len(inventory.disks or ()), self.disks),
        )
        for what, name, count, most in counted:
            if count > most:
                raise Invalid(
                    f"The inspection data has {count} {what}; at most {most} are taken.",
                    next_action=f"For a machine that has so many, raise [inspection] max_{name}.",
                )


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


@dataclass(frozen=True)
class InspectionOptions:
    """How inspections are done.

    hooks: by name, for what the agent posts; out_of_band_hooks: for what controllers tell. rules: built-in
    ones, besides those of the API. mask_secrets: whether rules see secrets in the data ("always",
    "sensitive", "never" masked). create_ports: a node without ports gets those that its controller tells,
    before the agent is booted. bounds: how much a machine may tell.
    """

    hooks: tuple[str, ...] = DEFAULT
    out_of_band_hooks: tuple[str, ...] = DEFAULT
    hook_options: HookOptions = field(default_factory=HookOptions)
    rules: tuple[Rule, ...] = ()
    mask_secrets: str = "always"
    create_ports: bool = True
    bounds: InspectionBounds = InspectionBounds()


def inspection_options(given: Mapping[str, Any]) -> InspectionOptions:
    """Options as the settings have them (their names are theirs); Invalid says what cannot be."""
    hooks: dict[str, tuple[str, ...]] = {}
    for name in ("hooks", "out_of_band_hooks"):
        hooks[name] = tuple(given[name]) or DEFAULT
        if wrong := mistakes(hooks[name]):
            raise Invalid(f"Settings: inspection.{name}: {'; '.join(wrong)}.")
    return InspectionOptions(
        **hooks,
        hook_options=HookOptions(
            add_ports=given["add_ports"],
            keep_ports=given["keep_ports"],
            update_pxe_enabled=given["update_pxe_enabled"],
            cpu_capabilities=given["cpu_capabilities"] or CPU_CAPABILITIES,
            pci_aliases={
                (one["vendor_id"].lower(), one["product_id"].lower()): one["name"]
                for one in given["pci_aliases"]
            },
            physical_networks=given["physical_networks"],
            extra_hardware_strict=given["extra_hardware_strict"],
        ),
        rules=load_rules(Path(given["built_in_rules"])) if given["built_in_rules"] else (),
        mask_secrets=given["mask_secrets"],
        create_ports=given["create_ports"],
        bounds=InspectionBounds(
            octets=given["max_bytes"],
            values=given["max_values"],
            interfaces=given["max_interfaces"],
            disks=given["max_disks"],
        ),
    )


def facts_of(data: Mapping[str, Any]) -> Facts:
    """The data as `Facts`; Invalid when a part that we read has another shape."""
    try:
        return msgspec.convert(data, Facts, strict=False)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"The inspection data is malformed: {wrong}.") from None


def parted(
    data: Mapping[str, Any], bounds: InspectionBounds
) -> tuple[Facts, dict[str, Any], dict[str, Any]]:
    """Inspection data as facts, inventory and plugin data. Invalid when it makes no sense or is too much."""
    facts = facts_of(data)
    bounds.check(facts)
    if facts.inventory is None:
        raise Invalid("The inspection data has no inventory.")
    plugin_data = {name: value for name, value in data.items() if name not in _NOT_PLUGIN_DATA}
    return facts, dict(data["inventory"]), copy.deepcopy(plugin_data)


def finish(
    draft: Draft, options: InspectionOptions, names: Iterable[str], rules: Iterable[Rule]
) -> list[Applied]:
    """Hooks, then rules, on a draft; the rules that applied. Faults say which of them failed and why."""
    run_hooks(draft, options.hook_options, names)
    if maker := text(child(draft.inventory, "system_vendor"), "manufacturer"):
        draft.properties["vendor"] = maker
    draft.plugin_data.pop("error", None)
    return apply_rules(draft, [*rules, *options.rules], options.mask_secrets)


def _address(given: str | None) -> str | None:
    plain = (given or "").split("/")[0]
    try:
        return plain if plain and not ip_address(plain).is_unspecified else None
    except ValueError:
        return None
