"""Facts that follow from a node's own fields."""

from __future__ import annotations

from urllib.parse import urlsplit

from ingot.drivers.machine.types import BootMode
from ingot.services.baremetal.types import Node


def boot_mode(node: Node) -> BootMode | None:
    """The firmware mode that is asked for: instance_info, then properties, then what was found."""
    for source in (node.instance_info, node.properties):
        for part in str(source.get("capabilities") or "").split(","):
            name, _, value = part.partition(":")
            if name.strip() == "boot_mode" and value.strip() in ("bios", "uefi"):
                return BootMode(value.strip())
    return BootMode(node.boot_mode) if node.boot_mode in ("bios", "uefi") else None


def controller_host(node: Node) -> str | None:
    """Host or address of a node's controller, from whatever `<driver>_address` it has."""
    for name, value in node.driver_info.items():
        if name.endswith("_address") and isinstance(value, str):
            return urlsplit(value if "//" in value else f"//{value}").hostname
    return None
