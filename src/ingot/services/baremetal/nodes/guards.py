"""What may be done with a node in its present state: the rules that stand before every change.

Each function returns nothing or raises the fault that the API tells. Source: the Bare Metal API's
behaviour for updates, deletion and flags (reference: "Update / delete guards", "Flags").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ingot.kit.faults import Conflict, Forbidden, Invalid
from ingot.services.baremetal.nodes import states as machine
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.types import Node

#: With a target set, a node may be changed in these states only.
UPDATE_ALLOWED = frozenset(
    {
        machine.DEPLOYFAIL,
        machine.INSPECTING,
        machine.INSPECTFAIL,
        machine.INSPECTWAIT,
        machine.CLEANFAIL,
        machine.ERROR,
        machine.VERIFYING,
        machine.ADOPTFAIL,
        machine.RESCUEFAIL,
        machine.UNRESCUEFAIL,
        machine.SERVICEFAIL,
        machine.SERVICEHOLD,
    }
)
#: A port's wiring may be changed in these states only (outside maintenance).
REWIRABLE = machine.UPDATABLE - {machine.AVAILABLE}
INSPECT_WAIT_SINCE = 39
WIRING = frozenset({"portgroup_uuid", "pxe_enabled", "local_link_connection", "physical_network"})
MOST_TRAITS = 50

_HOST_NAME = re.compile(
    r"^(?=.{1,255}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)"
    r"(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z",
    re.I,
)
_LOGICAL_NAME = re.compile(r"^[A-Za-z0-9\-._~]{1,255}\Z")
_TRAIT = re.compile(
    r"^(CUSTOM|COMPUTE|HW|STORAGE|MISC|OWNER)_[A-Z0-9_]+\Z"  # what the traits library's names begin with
)
_RESERVED = frozenset({"detail", "validate", "states", "management", "maintenance"}) | frozenset(
    {"vendor_passthru", "ports", "portgroups", "vifs", "volume", "traits", "bios", "allocation"}
    | {"history", "inventory", "children", "firmware", "vmedia", "get_all", "get_one"}
)


# -- names and traits ----------------------------------------------------------------------------


def node_name(name: object, minor: int) -> None:
    """A node's name: a host name, from 1.10 on any unreserved characters; never a uuid."""
    good = isinstance(name, str) and logical_name(name, minor) and not _uuid_like(name)
    if not good:
        raise Invalid(f"Cannot use invalid name '{name}' for a node.")
    if name in _RESERVED:
        raise Invalid(f'The word "{name}" is reserved and can not be used as a node name.')


def logical_name(name: str, minor: int = 10) -> bool:
    return bool((_LOGICAL_NAME if minor >= 10 else _HOST_NAME).match(name))


def _uuid_like(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{32}", text.replace("-", "").lower()))


def traits(names: Collection[str]) -> None:
    for name in names:
        if len(name) > 255 or not _TRAIT.match(name):
            raise Invalid(
                f"Invalid trait {name!r}: a trait is a standard one or begins with CUSTOM_ and has "
                f"only upper-case letters, digits and underscores, at most 255 in all."
            )
    if len(names) > MOST_TRAITS:
        raise Invalid(f"A node can have at most {MOST_TRAITS} traits.")


#: What ends up in boot scripts and on kernels' command lines, by document.
BOOT_WORDS = {
    "driver_info": (
        *("deploy_kernel", "deploy_ramdisk", "deploy_iso", "rescue_kernel", "rescue_ramdisk"),
        *("kernel_append_params", "bootloader"),
    ),
    "instance_info": (
        *("kernel", "ramdisk", "boot_iso", "kernel_append_params", "ramdisk_kernel_arguments"),
        "image_source",
    ),
}


def boot_words(values: Mapping[str, Any]) -> None:
    """Nothing that a machine is to boot by has more than one line: at the boot it would be too late to say so."""
    for document, names in BOOT_WORDS.items():
        told: Mapping[str, Any] = values.get(document) or {}
        for name in names:
            if not str(told.get(name) or "").isprintable():
                raise Invalid(f"{document}/{name} holds a control character.")


# -- changes of a node ---------------------------------------------------------------------------


def patch_in_state(node: Node, changes: Sequence[PatchOperation], minor: int) -> None:
    """Whether a node may be changed at all just now."""
    only_frees = (
        len(changes) == 1 and changes[0].op == "remove" and changes[0].path == "/instance_uuid"
    )
    if node.maintenance and only_frees:
        return
    state = node.provision_state
    if node.target_provision_state and state not in UPDATE_ALLOWED:
        raise Conflict(
            f"Node {node.label} can not be updated while a state transition is in progress."
        )
    if state == machine.INSPECTING and minor >= INSPECT_WAIT_SINCE:
        raise Conflict(
            f'Cannot update node "{node.uuid}" while it is in state "{machine.INSPECTING}".'
        )


def changed_fields(node: Node, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Rules of single fields. before, after: the node's whole document."""
    delta = {name for name in after if after[name] != before.get(name)}
    movable = node.provision_state in machine.UPDATABLE
    for name in sorted(delta):
        if name == "driver" or name.endswith("_interface"):
            if not (movable or node.maintenance):
                raise Conflict(_only_in_states(node, name) + " or in maintenance mode.")
        elif name == "resource_class" and before["resource_class"] and not movable:
            raise Conflict(_only_in_states(node, name) + ".")
        elif name == "instance_uuid" and before.get("allocation_uuid") and not after[name]:
            _may_leave(node, movable)
    for name in sorted(delta & {"driver", "console_interface"}):
        if before.get("console_enabled"):
            raise Conflict(
                f"Node {node.label} can not update the {name} while the console is enabled. "
                "Please stop the console first."
            )
    if "instance_uuid" in delta:
        occupied(node)
    if "instance_uuid" in delta and after["instance_uuid"] and before["instance_uuid"]:
        raise Conflict(f"Node {node.uuid} is associated with instance {before['instance_uuid']}.")
    _flags(node, delta, after)


def _may_leave(node: Node, movable: bool) -> None:
    """An instance that came with an allocation leaves only a machine that is at rest."""
    if not (movable or node.maintenance):
        raise Conflict(_only_in_states(node, "instance_uuid") + " or in maintenance mode.")


def _flags(node: Node, delta: Collection[str], after: Mapping[str, Any]) -> None:
    state = node.provision_state
    if (
        "protected" in delta
        and after["protected"]
        and state not in (machine.ACTIVE, machine.RESCUE)
    ):
        raise Conflict(
            f"Node {node.uuid} can only be made protected in provision states 'active' or "
            f"'rescue', the current state is '{state}'."
        )
    if "retired" in delta and after["retired"] and state == machine.AVAILABLE:
        raise Conflict(
            f"Node {node.uuid} can not have 'retired' set in provision state 'available'."
        )
    for flag in ("protected", "retired"):
        reason = f"{flag}_reason"
        if reason in delta and after[reason] and not after[flag]:
            raise Invalid(f"The {reason} field can only be set when {flag} is True.")


def _only_in_states(node: Node, field: str) -> str:
    states = ", ".join(sorted(machine.UPDATABLE))
    return (
        f"Node {node.uuid} can not have {field} updated while it is in state "
        f"'{node.provision_state}': it must be in one of the states {states}"
    )


def deletion(node: Node, available_too: bool) -> None:
    """Whether a node may leave the inventory."""
    if node.instance_uuid is not None and not node.maintenance:
        raise Conflict(f"Node {node.uuid} is associated with instance {node.instance_uuid}.")
    if node.protected:
        raise protected(node)
    deletable = machine.DELETABLE if available_too else machine.DELETABLE - {machine.AVAILABLE}
    if not node.maintenance and node.provision_state not in deletable:
        raise Conflict(
            f'Can not delete node "{node.uuid}" while it is in provision state '
            f'"{node.provision_state}". Valid provision states to perform deletion are: '
            f'"{", ".join(sorted(deletable))}", or set the node into maintenance mode.'
        )


def deallocation(node: Node, allocation: str) -> None:
    """Whether an allocation may be taken from its node: not while something runs there."""
    if node.maintenance:
        return
    state = node.provision_state
    if node.target_provision_state and state not in UPDATE_ALLOWED:
        raise Conflict(
            f"Cannot remove allocation {allocation} for node {node.uuid}, because the node is in "
            f"state {state} where updates are not allowed (and maintenance mode is off)"
        )
    if state == machine.ACTIVE:
        raise Conflict(
            f"Cannot remove allocation {allocation} for node {node.uuid}, because the node is "
            "active (and maintenance mode is off)"
        )


def protected(node: Node) -> Forbidden:
    return Forbidden(f"Node {node.uuid} is protected and cannot be undeployed, rebuilt or deleted.")


# -- verbs ---------------------------------------------------------------------------------------


#: What the API calls an operation that a flag forbids.
_MAINTAINED = {
    "deploy": "provisioning",
    "rebuild": "provisioning",
    "rescue": "rescuing",
    "unrescue": "unrescuing",
    "clean": "cleaning",
    "service": "service",
}


def maintenance(node: Node, event: str, provide_too: bool = False) -> None:
    """A machine in maintenance is left alone by what works on it with its instance or its operator."""
    operation = _MAINTAINED.get(event)
    if event == "provide" and provide_too:
        operation = "providing"
    if node.maintenance and operation:
        raise Invalid(
            f"The {operation} operation can't be performed on node {node.uuid} because it's in "
            "maintenance mode.",
            next_action="Take the node out of maintenance first.",
        )


def verb(node: Node, event: str, provided_in_maintenance: bool = True) -> None:
    """Flags that forbid a verb that the state itself would allow."""
    maintenance(node, event, not provided_in_maintenance)
    if node.protected and event in ("delete", "rebuild"):
        raise protected(node)
    if node.retired and event == "provide":
        raise Invalid(
            f"The providing operation can't be performed on node {node.uuid} because it is retired."
        )


def occupied(node: Node, instance: str = "") -> None:
    """Whether the instance may be taken off a machine: a server's only by the server, or in maintenance."""
    if node.under_server and node.instance_uuid != instance and not node.maintenance:
        raise Conflict(
            f"Node {node.uuid} is the machine of server {node.instance_uuid}.",
            next_action="Delete the server; or set the node into maintenance first, to take the machine "
            "from the server, which is then in ERROR.",
        )


def power(node: Node, target: str, supported: Collection[str]) -> None:
    """Whether the power may be changed through the API."""
    state = node.provision_state
    if target not in supported:
        raise Invalid(
            f'The requested action "{target}" can not be performed on node "{node.uuid}": its '
            f"power interface supports {', '.join(supported)}."
        )
    if state in (machine.CLEANING, machine.CLEANWAIT):
        raise Invalid(
            f'The requested action "{target}" can not be performed on node "{node.uuid}" while '
            f'it is in state "{state}".'
        )
    if node.disable_power_off and target in ("power off", "soft power off"):
        raise Conflict(
            f"Failed to set node power state to {target}.",
            next_action="Powering off is disabled for this node (disable_power_off); reboot it.",
        )


# -- ports ---------------------------------------------------------------------------------------


def port_change(node: Node, port_uuid: str, delta: Collection[str]) -> None:
    """Whether these fields of a node's port may be changed just now."""
    if node.maintenance:
        return
    if "address" in delta and (node.provision_state == machine.ACTIVE or node.instance_uuid):
        raise Conflict(
            f"Cannot update hardware address for port {port_uuid} as node {node.uuid} is active "
            "or has instance UUID assigned."
        )
    wiring = sorted(WIRING & set(delta))
    if wiring and node.provision_state not in REWIRABLE:
        raise Conflict(
            f"Port {port_uuid} can not have any connectivity attributes ({', '.join(wiring)}) "
            f"updated unless node {node.uuid} is in one of the states "
            f"{', '.join(sorted(REWIRABLE))} or in maintenance mode. The current state is "
            f"{node.provision_state}."
        )
