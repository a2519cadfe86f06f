"""RAID configurations: what may stand in one, and what a step is asked to make of it.

The form is the Bare Metal API's ({"logical_disks": [{"size_gb", "raid_level", …}]}); which disks a level
needs and how they are chosen is each driver's matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ingot.drivers.faults import Refused
from ingot.drivers.shape import Json, as_list, is_map

LEVELS = ("JBOD", "0", "1", "2", "5", "6", "1+0", "5+0", "6+0")
LOGICAL_DISK_PROPERTIES: dict[str, str] = {
    "raid_level": f"RAID level of the logical disk: one of {', '.join(LEVELS)}. Required.",
    "size_gb": "Size of the logical disk in GiB (integer), or MAX for all that is left. Required.",
    "volume_name": "Name of the volume; made up when not given. Optional.",
    "is_root_volume": "Whether the instance goes to this disk; at most one. Default false. Optional.",
    "share_physical_disks": "Whether other logical disks may use the same physical disks. Default "
    "false. Optional.",
    "disk_type": "Kind of physical disks: hdd or ssd; any when not given. Optional.",
    "interface_type": "Interface of the physical disks: sata, scsi or sas; any when not given. "
    "Optional.",
    "number_of_physical_disks": "How many physical disks to use; the level's minimum when not given. "
    "Optional.",
    "controller": "RAID controller to use; a fitting one when not given. Optional.",
    "physical_disks": "Names of the physical disks, or hints for them; chosen when not given. Needs "
    "controller. Optional.",
}
APPLY_ARGS: dict[str, object] = {
    "raid_config": {"description": "The RAID configuration to apply.", "required": True},
    "create_root_volume": {
        "description": "Whether to make the root volume. Default true.",
        "required": False,
    },
    "create_nonroot_volumes": {
        "description": "Whether to make the other volumes. Default true.",
        "required": False,
    },
    "delete_existing": {
        "description": "Whether to delete what is configured first. Default true.",
        "required": False,
    },
}
CREATE_ARGS = {name: info for name, info in APPLY_ARGS.items() if name != "raid_config"}
_CHOICES = {"disk_type": ("hdd", "ssd"), "interface_type": ("sata", "scsi", "sas")}
_FLAGS = ("is_root_volume", "share_physical_disks")


def problems(config: Mapping[str, object]) -> tuple[str, ...]:
    """What is wrong with a RAID configuration; empty when nothing is."""
    found = [f"{name!r} is not known in a RAID configuration" for name in unknown(config)]
    disks = config.get("logical_disks")
    if not isinstance(disks, list) or not disks:
        return (*found, "'logical_disks' must be a list of at least one disk")
    roots = 0
    for number, disk in enumerate(cast(list[object], disks), 1):
        if not is_map(disk):
            found.append(f"logical disk {number} is no object")
            continue
        found += [f"logical disk {number}: {text}" for text in _disk(disk)]
        roots += disk.get("is_root_volume") is True
    if roots > 1:
        found.append(f"there can be only one root volume; {roots} were specified")
    return tuple(found)


def unknown(config: Mapping[str, object]) -> list[str]:
    return sorted(set(config) - {"logical_disks"})


def wanted(config: Mapping[str, object], args: Mapping[str, object]) -> list[Json]:
    """The logical disks that a step is to make. Refused when the configuration leaves none."""
    disks = [disk for disk in as_list(config.get("logical_disks")) if is_map(disk)]
    if args.get("create_root_volume", True) is False:
        disks = [disk for disk in disks if not disk.get("is_root_volume")]
    if args.get("create_nonroot_volumes", True) is False:
        disks = [disk for disk in disks if disk.get("is_root_volume")]
    if not disks:
        raise Refused(
            "the target RAID configuration has no logical disk to make",
            next_action="Set target_raid_config (PUT states/raid) or change the step's arguments.",
        )
    return disks


def _disk(disk: Json) -> Sequence[str]:
    found = [f"{name!r} is not known" for name in sorted(set(disk) - set(LOGICAL_DISK_PROPERTIES))]
    if disk.get("raid_level") not in LEVELS:
        found.append(f"raid_level is one of {', '.join(LEVELS)}")
    if disk.get("size_gb") != "MAX" and not _whole(disk.get("size_gb"), 0):
        found.append("size_gb is a number of GiB or MAX")
    if "number_of_physical_disks" in disk and not _whole(disk["number_of_physical_disks"], 1):
        found.append("number_of_physical_disks is a number from 1 on")
    for name, choices in _CHOICES.items():
        if name in disk and disk[name] not in choices:
            found.append(f"{name} is one of {', '.join(choices)}")
    found += [f"{n} is true or false" for n in _FLAGS if not isinstance(disk.get(n, True), bool)]
    found += [f"{n} is a text" for n in ("volume_name", "controller") if not _text(disk.get(n, ""))]
    if "physical_disks" in disk:
        found += _physical(disk)
    return found


def _physical(disk: Json) -> list[str]:
    given = disk["physical_disks"]
    names = cast(list[object], given) if isinstance(given, list) else [None]
    if all(is_map(name) for name in names) and len(names) < 2:
        return ["physical_disks needs at least two hints"]
    if not (all(_text(name) for name in names) or all(is_map(name) for name in names)):
        return ["physical_disks is a list of names or of hints"]
    return [] if "controller" in disk else ["physical_disks needs controller"]


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _text(value: object) -> bool:
    return isinstance(value, str)
