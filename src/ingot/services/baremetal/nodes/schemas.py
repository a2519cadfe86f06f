"""Bodies and queries of the Bare Metal API as types, and the small readings of their values.

The wire forms are the API's own; where it takes a boolean it takes the texts of one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingot.kit import ids
from ingot.kit.faults import Invalid
from ingot.services.baremetal.boot import network_data
from ingot.services.baremetal.nodes.patching import PatchOperation

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})

Flag = bool | str | None | UnsetType
Text = str | None | UnsetType
Object = dict[str, Any] | None | UnsetType
Short = Annotated[str, Meta(max_length=255)] | None | UnsetType


def flag(name: str, value: object) -> bool:
    """A boolean from JSON or a query string."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise Invalid(f"Invalid value for {name}: {value!r} is no boolean.")


def uuid(name: str, value: str) -> str:
    """As it is stored, in lower case with dashes."""
    if not ids.is_uuid(value):
        raise Invalid(f"Expected a UUID for {name} but received {value}.")
    return ids.canonical_uuid(value)


def patch(body: Any) -> list[PatchOperation]:
    """A patch document; Invalid names what is wrong with it."""
    try:
        return msgspec.convert(body, list[PatchOperation])
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input for field patch: {wrong}.") from None


# -- nodes ---------------------------------------------------------------------------------------


class NodeChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a node, at creation or later."""

    driver: str | UnsetType = UNSET
    name: Text = UNSET
    automated_clean: Flag = UNSET
    bios_interface: Text = UNSET
    boot_interface: Text = UNSET
    chassis_uuid: Text = UNSET
    conductor_group: Short = UNSET
    console_interface: Text = UNSET
    deploy_interface: Text = UNSET
    description: Annotated[str, Meta(max_length=4096)] | UnsetType | None = UNSET
    disable_power_off: Flag = UNSET
    driver_info: Object = UNSET
    extra: Object = UNSET
    firmware_interface: Text = UNSET
    inspect_interface: Text = UNSET
    instance_info: Object = UNSET
    instance_name: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType | None = UNSET
    instance_uuid: Text = UNSET
    lessee: Short = UNSET
    maintenance: Flag = UNSET
    management_interface: Text = UNSET
    network_data: Object = UNSET
    network_interface: Text = UNSET
    owner: Short = UNSET
    parent_node: Annotated[str, Meta(max_length=36)] | UnsetType | None = UNSET
    power_interface: Text = UNSET
    properties: Object = UNSET
    raid_interface: Text = UNSET
    rescue_interface: Text = UNSET
    resource_class: Annotated[str, Meta(max_length=80)] | UnsetType | None = UNSET
    retired: Flag = UNSET
    retired_reason: Text = UNSET
    shard: Short = UNSET
    storage_interface: Text = UNSET
    vendor_interface: Text = UNSET


class NodeCreate(NodeChange, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/nodes."""

    driver: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    uuid: Text = UNSET
    boot_mode: Text = UNSET
    secure_boot: Flag = UNSET
    console_enabled: Flag = UNSET


class NodeEdit(NodeChange, forbid_unknown_fields=True, kw_only=True):
    """A node's patched document."""

    protected: Flag = UNSET
    protected_reason: Text = UNSET


FLAGS = frozenset(
    {
        "automated_clean",
        "console_enabled",
        "disable_power_off",
        "maintenance",
        "protected",
        "retired",
        "secure_boot",
    }
)
#: Attributes that a patch may name.
PATCHABLE = tuple(NodeEdit.__struct_fields__)
#: Flags that are never null; null means no.
PLAIN_FLAGS = FLAGS - {"automated_clean", "secure_boot"}
OBJECTS = frozenset({"driver_info", "extra", "instance_info", "network_data", "properties"})


def node_values(shape: type[NodeChange], document: Mapping[str, Any]) -> dict[str, Any]:
    """A client's document as column values; only what it names. Invalid says what is wrong."""
    try:
        body = msgspec.convert(document, shape)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input for node: {wrong}.") from None
    return struct_values(body)


def struct_values(body: NodeChange) -> dict[str, Any]:
    given: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET
    }
    for name, value in given.items():
        if name in FLAGS:
            if value is not None:
                given[name] = flag(name, value)
            elif name in PLAIN_FLAGS:
                given[name] = False
        elif name in OBJECTS:
            given[name] = {} if value is None else value
            if name == "network_data":
                network_data.check(given[name])
        elif name == "conductor_group":
            given[name] = (value or "").lower()
        elif name in ("uuid", "instance_uuid", "chassis_uuid") and value is not None:
            given[name] = uuid(name, value)
    return given


class PowerBody(msgspec.Struct, forbid_unknown_fields=True):
    target: str
    timeout: int | str | None = None


class ProvisionBody(msgspec.Struct, forbid_unknown_fields=True):
    target: str
    configdrive: dict[str, Any] | str | None = None
    clean_steps: list[Any] | None = None
    deploy_steps: list[Any] | None = None
    service_steps: list[Any] | None = None
    rescue_password: str | None = None
    disable_ramdisk: bool | str | None = None
    runbook: str | None = None


class BootDeviceBody(msgspec.Struct, forbid_unknown_fields=True):
    boot_device: str
    persistent: bool | str | None = False


class VifBody(msgspec.Struct):
    id: Annotated[str, Meta(min_length=1, max_length=255)]
    port_uuid: str | None = None
    portgroup_uuid: str | None = None


class TraitsBody(msgspec.Struct, forbid_unknown_fields=True):
    traits: list[str]


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """A clean or service step."""

    interface: str
    step: Annotated[str, Meta(min_length=1)]
    args: dict[str, Any] | UnsetType = UNSET
    order: int | str | UnsetType = UNSET
    execute_on_child_nodes: bool | UnsetType = UNSET
    limit_child_node_execution: list[str] | UnsetType = UNSET


class DeployStep(msgspec.Struct, forbid_unknown_fields=True):
    interface: str
    step: Annotated[str, Meta(min_length=1)]
    args: dict[str, Any]
    priority: int | str


#: Of the greatest priority or order of a step.
_DIGITS = 18
#: Interfaces that may have steps.
STEP_INTERFACES = frozenset(
    {"network", "service", "vendor", "power", "management", "firmware", "deploy", "bios", "raid"}
)


def whole_number(number: int | str) -> bool:
    """Whether this is a number from 0 on, of no more digits than a number has that is stored."""
    return len(text := str(number)) <= _DIGITS and text.isdecimal()


def steps(kind: str, given: list[Any]) -> list[dict[str, Any]]:
    """Checked steps; kind: "clean", "deploy" or "service"."""
    shape = DeployStep if kind == "deploy" else Step
    try:
        checked = msgspec.convert(given, list[shape])
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid {kind}_steps: {wrong}.") from None
    for step in checked:
        if step.interface not in STEP_INTERFACES:
            raise Invalid(f"Invalid {kind}_steps: {step.interface!r} is no interface with steps.")
        number = step.priority if isinstance(step, DeployStep) else step.order
        if number is not UNSET and not whole_number(number):
            raise Invalid(f"Invalid {kind}_steps: {number!r} is no number from 0 on.")
    return [
        {k: v for k, v in msgspec.structs.asdict(step).items() if v is not UNSET}
        for step in checked
    ]
