"""Virtual media: images are attached and detached by operations of their own on the node."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import MediaDevice
from ingot.kit.faults import Invalid, Unavailable
from ingot.services.baremetal import orders
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes.controller_call import start
from ingot.services.baremetal.types import Node

MEDIA_SCHEMES = ("http", "https", "nfs", "cifs", "smb")


def attach_media(
    ctx: Context, conn: sa.Connection, node: Node, device: str, image_url: str, by: By
) -> str:
    """Put an image into a virtual drive; the controller fetches it by itself."""
    scheme = image_url.partition("://")[0] if "://" in image_url else ""
    if scheme not in MEDIA_SCHEMES:
        raise Invalid(f"Unsupported or missing URL scheme: {scheme}")
    _check_power_fault(node)
    order = orders.MediaOrder(device=device, image_url=image_url)
    return start(ctx, conn, node, "virtual media", order, by)


def detach_media(ctx: Context, conn: sa.Connection, node: Node, devices: list[str], by: By) -> str:
    """Empty the virtual drives of these kinds; all when none is named."""
    if wrong := [device for device in devices if device not in set(MediaDevice)]:
        raise Invalid(
            f"Invalid device type(s) {', '.join(wrong)} (valid are {', '.join(MediaDevice)})"
        )
    _check_power_fault(node)
    order = orders.MediaOrder(eject=devices or list(MediaDevice))
    return start(ctx, conn, node, "virtual media", order, by)


def _check_power_fault(node: Node) -> None:
    if node.maintenance and node.fault == "power failure":
        raise Unavailable(
            f"Unable to change virtual media of node {node.uuid} due to power failure state",
            next_action="Correct the cause; the fault is cleared when the controller answers.",
        )
