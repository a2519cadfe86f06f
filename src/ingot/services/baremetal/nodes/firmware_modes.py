"""Boot mode and secure boot: each change is an operation of its own on the node."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import BootMode
from ingot.kit.faults import Conflict, Invalid
from ingot.services.baremetal import orders
from ingot.services.baremetal.context import By, Context
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.controller_call import start
from ingot.services.baremetal.types import Node


def set_boot_mode(ctx: Context, conn: sa.Connection, node: Node, target: str, by: By) -> str:
    """Ask for a firmware mode; the operation's id."""
    if target not in set(BootMode):
        modes = ", ".join(BootMode)
        raise Invalid(
            f"Invalid boot mode {target} requested for node. Allowed boot modes are: {modes}"
        )
    _check_not_in_transition(node)
    return start(ctx, conn, node, "boot mode", orders.BootModeOrder(target=target), by)


def set_secure_boot(ctx: Context, conn: sa.Connection, node: Node, on: bool, by: By) -> str:
    """Ask for secure boot to be on or off; the operation's id."""
    _check_not_in_transition(node)
    return start(ctx, conn, node, "secure boot", orders.SecureBootOrder(on=on), by)


def _check_not_in_transition(node: Node) -> None:
    if states.STATES[node.provision_state].kind in ("working", "waiting"):
        raise Conflict(
            f"Node is in {node.provision_state} state. Since node is transitioning, the boot mode "
            "will not be set as this may interfere with ongoing changes and result in erroneous "
            "modification. Try again later."
        )
