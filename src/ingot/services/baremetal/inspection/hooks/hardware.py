"""Hooks that turn processors, memory and PCI devices into properties and capabilities."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from ingot.drivers.shape import Json, child, items, strings, text
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.hooks.options import HookOptions


def architecture(draft: Draft, _options: HookOptions) -> None:
    if arch := text(child(draft.inventory, "cpu"), "architecture"):
        draft.properties["cpu_arch"] = arch


def cpus(draft: Draft, _options: HookOptions) -> None:
    if count := whole(child(draft.inventory, "cpu").get("count")):
        draft.properties["cpus"] = count


def memory(draft: Draft, _options: HookOptions) -> None:
    if size := whole(child(draft.inventory, "memory").get("physical_mb")):
        draft.properties["memory_mb"] = size


def boot_mode(draft: Draft, _options: HookOptions) -> None:
    mode = text(child(draft.inventory, "boot"), "current_boot_mode")
    if mode in ("bios", "uefi"):
        draft.boot_mode = mode
        draft.set_capabilities({"boot_mode": mode})


def cpu_capabilities(draft: Draft, options: HookOptions) -> None:
    flags = set(strings(child(draft.inventory, "cpu"), "flags"))
    found = {name: "true" for flag, name in options.cpu_capabilities.items() if flag in flags}
    draft.set_capabilities(found)


def accelerators(draft: Draft, options: HookOptions) -> None:
    """properties.accelerators lists the known ones, with their place; empty when there are none."""
    devices = _pci_devices(draft)
    if not devices:
        return
    found: list[dict[str, str]] = []
    for device in devices:
        known = options.accelerators.get(_ids(device))
        if known is not None:
            vendor, product = _ids(device)
            found.append(
                {
                    "vendor_id": vendor,
                    "device_id": product,
                    "type": known[0],
                    "device_info": known[1],
                    "pci_address": text(device, "bus"),
                }
            )
    draft.properties["accelerators"] = found


def pci_devices(draft: Draft, options: HookOptions) -> None:
    """Capabilities that count the devices which have an alias."""
    aliases = options.pci_aliases
    counted = Counter(aliases[_ids(one)] for one in _pci_devices(draft) if _ids(one) in aliases)
    draft.set_capabilities({name: str(count) for name, count in counted.items()})


def _pci_devices(draft: Draft) -> list[Json]:
    """The agent has them in its plugin data, an out-of-band inspection in the inventory."""
    return items(draft.plugin_data, "pci_devices") or items(draft.inventory, "pci_devices")


def _ids(device: Json) -> tuple[str, str]:
    return _hex(text(device, "vendor_id")), _hex(text(device, "product_id"))


def _hex(number: str) -> str:
    """Controllers write 0x10de, agents 10de."""
    return number.lower().removeprefix("0x")


def extra_hardware(draft: Draft, options: HookOptions) -> None:
    """The records of hardware-detect (`data`: [[a, b, c, value]]) as nested objects in `extra`."""
    if "data" not in draft.plugin_data:
        return
    data = draft.plugin_data["data"]
    lists = isinstance(data, list) and all(isinstance(one, list) for one in cast("list[Any]", data))
    records = cast("list[list[Any]]", data) if lists else []
    short = options.extra_hardware_strict and any(len(record) != 4 for record in records)
    if not lists or short:
        if options.extra_hardware_strict:
            del draft.plugin_data["data"]
        return
    extra: dict[str, Any] = {}
    for record in records:
        if len(record) < 4 or not all(isinstance(key, str) for key in record[:3]):
            continue
        first, second, third, value = record[:4]
        holder = extra.setdefault(first, {}).setdefault(second, {})
        holder[third] = _number(value)
    draft.plugin_data["extra"] = extra
    del draft.plugin_data["data"]


def _number(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return value


def whole(value: object) -> int:
    """A whole number from what may be one or its text; 0 otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        return int(value)
    except (ValueError, OverflowError):
        return 0
