"""The field driver_internal_info as the API shows it: what drivers keep there, and facts that are columns of a node.

Pure. Our own logic reads the columns and never this field. Names as upstream has them, where it has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingot.services.baremetal.types import Node

#: Columns of a node that are shown inside the field, in the order of the parameters of `facts`.
COLUMNS = (
    "agent_ordered_at",
    "automatic_lessee",
    "bmc_identity",
    "boot_seen_at",
    "instance_stopped",
    "started_at",
    "unasked_boot_at",
    "unasked_boot_mac",
)


def facts(
    agent_ordered_at: str | None,
    automatic_lessee: bool,
    bmc_identity: Any,
    boot_seen_at: str | None,
    instance_stopped: bool,
    started_at: str | None,
    unasked_boot_at: str | None,
    unasked_boot_mac: str | None,
) -> dict[str, Any]:
    """The columns as members of the field; what is NULL or false is left out."""
    unasked = {"at": unasked_boot_at, "mac": unasked_boot_mac} if unasked_boot_at else None
    members = {
        "agent_ordered_at": agent_ordered_at,
        "automatic_lessee": bool(automatic_lessee),
        "bmc_identity": bmc_identity,
        "boot_seen": boot_seen_at,
        "instance_stopped": bool(instance_stopped),
        "started_at": started_at,
        "unasked_boot": unasked,
    }
    return {name: value for name, value in members.items() if value}


def of_node(node: Node) -> Mapping[str, Any]:
    """The field of a node, without what is known of its agent."""
    return {**node.driver_internal_info, **facts(*(getattr(node, name) for name in COLUMNS))}
