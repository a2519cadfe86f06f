"""Short errands at a machine's controller that a client does not wait for: modes, virtual media, vendor calls.

Each becomes an operation of its own that holds the node, so that nothing else touches the controller
meanwhile; what goes wrong is told in `last_error`. What a client waits for (boot device, lights, NMI) is in `acts`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.types import BootMode, MediaDevice
from ingot.kit.faults import Conflict, Invalid, Unavailable
from ingot.services.baremetal import orders, store
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes import listing, states, verbs
from ingot.services.baremetal.types import Node

MEDIA_SCHEMES = ("http", "https", "nfs", "cifs", "smb")


def set_boot_mode(ctx: Context, conn: sa.Connection, node: Node, target: str, by: By) -> str:
    """Ask for a firmware mode; the operation's id."""
    if target not in set(BootMode):
        modes = ", ".join(BootMode)
        raise Invalid(
            f"Invalid boot mode {target} requested for node. Allowed boot modes are: {modes}"
        )
    _settled(node)
    return _start(ctx, conn, node, "boot mode", orders.BootModeOrder(target=target), by)


def set_secure_boot(ctx: Context, conn: sa.Connection, node: Node, on: bool, by: By) -> str:
    """Ask for secure boot to be on or off; the operation's id."""
    _settled(node)
    return _start(ctx, conn, node, "secure boot", orders.SecureBootOrder(on=on), by)


def attach_media(
    ctx: Context, conn: sa.Connection, node: Node, device: str, image_url: str, by: By
) -> str:
    """Put an image into a virtual drive; the controller fetches it by itself."""
    scheme = image_url.partition("://")[0] if "://" in image_url else ""
    if scheme not in MEDIA_SCHEMES:
        raise Invalid(f"Unsupported or missing URL scheme: {scheme}")
    _reachable(node)
    order = orders.MediaOrder(device=device, image_url=image_url)
    return _start(ctx, conn, node, "virtual media", order, by)


def detach_media(ctx: Context, conn: sa.Connection, node: Node, devices: list[str], by: By) -> str:
    """Empty the virtual drives of these kinds; all when none is named."""
    if wrong := [device for device in devices if device not in set(MediaDevice)]:
        raise Invalid(
            f"Invalid device type(s) {', '.join(wrong)} (valid are {', '.join(MediaDevice)})"
        )
    _reachable(node)
    order = orders.MediaOrder(eject=devices or list(MediaDevice))
    return _start(ctx, conn, node, "virtual media", order, by)


def vendor_call(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    method: str,
    http_method: str,
    args: dict[str, Any],
    by: By,
) -> str:
    """Run a vendor method whose reply nobody waits for."""
    store.write_secret(conn, ctx.vault, node.uuid, store.VENDOR_ARGS, args)
    order = orders.VendorOrder(method=method, http_method=http_method)
    return _start(ctx, conn, node, "vendor call", order, by, "vendor")


# -- inside --------------------------------------------------------------------------------------


def _settled(node: Node) -> None:
    if states.STATES[node.provision_state].kind in ("working", "waiting"):
        raise Conflict(
            f"Node is in {node.provision_state} state. Since node is transitioning, the boot mode "
            "will not be set as this may interfere with ongoing changes and result in erroneous "
            "modification. Try again later."
        )


def _reachable(node: Node) -> None:
    if node.maintenance and node.fault == "power failure":
        raise Unavailable(
            f"Unable to change virtual media of node {node.uuid} due to power failure state",
            next_action="Correct the cause; the fault is cleared when the controller answers.",
        )


def _start(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    kind: str,
    order: orders.Order,
    by: By,
    capability: str = "management",
) -> str:
    verbs.free(conn, node)
    listing.need_conductor(ctx, conn, node.conductor_group)
    ctx.access(conn, node, capability)
    store.update_node(conn, node.uuid, reservation=ctx.host, last_error=None, updated_at=ctx.now())
    return verbs.start(conn, node, kind, order, by)
