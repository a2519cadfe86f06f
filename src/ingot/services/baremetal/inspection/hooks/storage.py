"""Hooks about disks: which is the root disk, and how large it is."""

from __future__ import annotations

from typing import Any, cast

from ingot.drivers.shape import Json, child, items, text
from ingot.kit.faults import Failed, Fault
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.hooks.hardware import whole
from ingot.services.baremetal.inspection.hooks.hints import match
from ingot.services.baremetal.inspection.hooks.options import HookOptions

GIB = 1 << 30
#: The agent takes no smaller disk as root disk.
SMALLEST_ROOT = 4 * GIB


def root_device(draft: Draft, options: HookOptions) -> None:
    """properties.local_gb by the root disk: by hints, else what the agent chose, else the smallest."""
    disks = _allowed(draft)
    hints = draft.properties.get("root_device")
    if isinstance(hints, dict) and hints:
        chosen = _by_hints(draft, disks, cast("dict[str, Any]", hints))
        draft.plugin_data["root_disk"] = chosen
        size = whole(chosen.get("size"))
    else:
        size = whole(child(draft.plugin_data, "root_disk").get("size"))
        size = size or min(_large(disks), default=0)
    if size >= GIB:
        # Room for tables and the config drive, as upstream leaves it.
        draft.properties["local_gb"] = max(1, size // GIB - options.spare_gib)
        draft.plugin_data["local_gb"] = draft.properties["local_gb"]


def _large(disks: list[Json]) -> list[int]:
    sizes = (whole(disk.get("size")) for disk in disks)
    return [size for size in sizes if size >= SMALLEST_ROOT]


def _allowed(draft: Draft) -> list[Json]:
    """Disks but those that properties.skip_block_devices names."""
    disks = items(draft.inventory, "disks")
    hints = items(draft.properties, "skip_block_devices")
    return [disk for disk in disks if not any(match(disk, hint) for hint in hints)]


def _by_hints(draft: Draft, disks: list[Json], hints: dict[str, Any]) -> Json:
    try:
        found = next((disk for disk in disks if match(disk, hints)), None)
    except Fault as fault:
        raise Failed(
            f"No disks could be found using root device hints {hints}: {fault.text}",
            next_action="Correct properties.root_device of the node.",
        ) from None
    if found is None:
        raise Failed(
            f"No disks satisfied root device hints {hints}.",
            next_action="Correct properties.root_device of the node, or look for the missing disk.",
        )
    return found


def raid_device(draft: Draft, _options: HookOptions) -> None:
    """The one disk that was not there at the inspection before becomes the root device.

    Inspect before and after the creation of a RAID volume which its controller does not describe.
    """
    serials = disk_serials(draft.inventory)
    if "root_device" in draft.properties or not draft.before or not serials:
        return
    new = [serial for serial in serials if serial not in draft.before]
    if len(new) == 1:
        draft.properties["root_device"] = {"serial": new[0]}
        draft.say(f"the new disk {new[0]} is the root device")


def disk_serials(inventory: Json) -> tuple[str, ...]:
    return tuple(filter(None, (text(disk, "serial") for disk in items(inventory, "disks"))))
