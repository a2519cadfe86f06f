"""A node, its inventory and a draft of it, for tests of hooks and rules."""

from __future__ import annotations

import copy
from typing import Any

from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.facts import InspectionBounds, parted
from ingot.services.baremetal.nodes.schemas import OBJECTS, PATCHABLE
from ingot.services.baremetal.types import Node

GIB = 1 << 30

NODE = Node(
    uuid="aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    name="n1",
    driver="fake-hardware",
    interfaces={},
    driver_info={},
    driver_internal_info={},
    properties={},
    extra={},
    instance_info={},
    instance_uuid=None,
    power_state="power on",
    target_power_state=None,
    provision_state="inspecting",
    target_provision_state="manageable",
    maintenance=False,
    fault=None,
    resource_class=None,
    conductor_group="",
    automated_clean=None,
    owner=None,
    lessee=None,
    retired=False,
    protected=False,
    disable_power_off=False,
    boot_mode=None,
    boot_intent=None,
)


def data(**more: Any) -> dict[str, Any]:
    """What an agent may post."""
    inventory: dict[str, Any] = {
        "interfaces": [
            {"name": "eno1", "mac_address": "52:54:00:00:00:01", "has_carrier": True},
            {"name": "eno2", "mac_address": "52-54-00-00-00-02", "has_carrier": False},
            {"name": "lo", "mac_address": "00:00:00:00:00:00"},
        ],
        "cpu": {"architecture": "x86_64", "count": 8, "flags": ["vmx", "aes", "fpu"]},
        "memory": {"physical_mb": 16384},
        "disks": [
            {"name": "sda", "size": 2 * GIB, "serial": "D0", "rotational": False},
            {"name": "sdb", "size": 480 * GIB, "serial": "D1", "rotational": True},
            {"name": "sdc", "size": 960 * GIB, "serial": "D2", "rotational": False},
        ],
        "system_vendor": {"serial_number": "S1", "manufacturer": "Maker", "product_name": "M"},
        "boot": {"current_boot_mode": "uefi", "pxe_interface": None},
        "bmc_address": "10.0.0.9/24",
    }
    for disk, model in zip(inventory["disks"], ("Small", "Big", "Fast NVMe"), strict=True):
        disk["model"] = model
    return {"inventory": inventory, **more}


def draft_of(sent: dict[str, Any], **fields: Any) -> Draft:
    """A draft of `NODE` with this inspection data."""
    _, inventory, plugin_data = parted(copy.deepcopy(sent), InspectionBounds())
    empty: dict[str, Any] = {name: {} if name in OBJECTS else None for name in PATCHABLE}
    whole = {**empty, "driver": "fake-hardware", "name": "n1", **fields}
    return Draft(NODE, whole, [], inventory, plugin_data)
