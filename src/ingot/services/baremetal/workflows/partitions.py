"""Whether an image is that of a file system, and how the disk is divided for it.

Upstream's rule: instance_info.image_type says so; without it an image with kernel and ramdisk is one.
"""

from __future__ import annotations

from typing import Any

from ingot.drivers.machine.agent.image import Partitions
from ingot.kit.faults import Invalid
from ingot.services.baremetal.types import Node

PARTITION, WHOLE = "partition", "whole-disk"


def partitions_of(node: Node) -> Partitions | None:
    """None for the image of a whole disk. Invalid when sizes are missing or are none."""
    info = node.instance_info
    kind = info.get("image_type")
    if kind not in (None, "", PARTITION, WHOLE):
        raise Invalid(f"instance_info.image_type is {kind!r}, neither {PARTITION} nor {WHOLE}.")
    if (kind or "") != PARTITION and (kind or not (info.get("kernel") and info.get("ramdisk"))):
        return None
    root = _number(info, "root_gb")
    if not root:
        raise Invalid(
            "instance_info.root_gb is missing: the image is that of a file system.",
            next_action="Set instance_info.root_gb to the size of the root partition in GiB.",
        )
    return Partitions(
        root=root * 1024,
        swap=_number(info, "swap_mb"),
        ephemeral=_number(info, "ephemeral_gb") * 1024,
        ephemeral_format=str(info.get("ephemeral_format") or "") or None,
        preserve_ephemeral=str(info.get("preserve_ephemeral") or "").lower() in ("true", "1"),
    )


def _number(info: dict[str, Any], name: str) -> int:
    try:
        number = int(str(info.get(name) or 0))
    except ValueError:
        number = -1
    if number < 0:
        raise Invalid(f"instance_info.{name} is {info.get(name)!r}, which is no whole number.")
    return number
