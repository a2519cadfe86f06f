"""Bodies of ports, port groups, chassis and volumes as types, and the readings of their values.

One reading serves all: a name means the same in each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingot.kit import ids
from ingot.kit.faults import Invalid
from ingot.services.baremetal.nodes import patching
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.nodes.schemas import Flag, Object, Short, Text, flag, uuid

Network = Annotated[str, Meta(max_length=64)] | UnsetType | None
Category = Annotated[str, Meta(max_length=80)] | UnsetType | None


class PortChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a port."""

    address: str | UnsetType = UNSET
    node_uuid: str | UnsetType = UNSET
    node_ident: str | UnsetType = UNSET
    extra: Object = UNSET
    is_smartnic: Flag = UNSET
    local_link_connection: Object = UNSET
    physical_network: Network = UNSET
    portgroup_uuid: Text = UNSET
    pxe_enabled: Flag = UNSET
    name: Short = UNSET
    description: Short = UNSET
    vendor: Annotated[str, Meta(max_length=32)] | UnsetType | None = UNSET
    category: Category = UNSET
    available_for_dynamic_portgroup: bool | UnsetType = UNSET


class PortCreate(PortChange, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/ports."""

    address: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    uuid: Text = UNSET


class PortgroupChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a port group."""

    node_uuid: str | UnsetType = UNSET
    address: Text = UNSET
    name: Short = UNSET
    mode: Short = UNSET
    properties: Object = UNSET
    extra: Object = UNSET
    standalone_ports_supported: Flag = UNSET
    physical_network: Network = UNSET
    category: Category = UNSET


class PortgroupCreate(PortgroupChange, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/portgroups."""

    node_uuid: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    uuid: Text = UNSET


class ChassisBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a chassis; uuid only when it is made."""

    uuid: Text = UNSET
    description: Short = UNSET
    extra: Object = UNSET


class ConnectorChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a volume connector."""

    node_uuid: str
    type: Annotated[str, Meta(max_length=32)]
    connector_id: Annotated[str, Meta(max_length=255)]
    extra: Object = UNSET


class ConnectorCreate(ConnectorChange, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/volume/connectors."""

    uuid: Text = UNSET


class TargetChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a client may set of a volume target."""

    node_uuid: str
    volume_type: Annotated[str, Meta(max_length=64)]
    boot_index: int
    volume_id: Annotated[str, Meta(max_length=255)]
    properties: Object = UNSET
    extra: Object = UNSET


class TargetCreate(TargetChange, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/volume/targets."""

    uuid: Text = UNSET


# -- readings ------------------------------------------------------------------------------------

OBJECTS = frozenset({"extra", "local_link_connection", "properties"})
#: Flags, and what null means for each.
_NULL_FLAGS = {"is_smartnic": False, "pxe_enabled": True, "standalone_ports_supported": True}


def values(shape: type[msgspec.Struct], noun: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as column values; only what it names. Invalid says what is wrong."""
    try:
        body = msgspec.convert(document, shape)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input for {noun}: {wrong}.") from None
    return struct_values(body)


def struct_values(body: msgspec.Struct) -> dict[str, Any]:
    """Column values of what a client names."""
    given: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET
    }
    for name, value in given.items():
        if name in _NULL_FLAGS:
            given[name] = _NULL_FLAGS[name] if value is None else flag(name, value)
        elif name in OBJECTS:
            given[name] = value or {}
        elif name in ("uuid", "node_uuid", "portgroup_uuid") and value is not None:
            written = uuid(name, value)
            # The node is looked up, and its own uuid is stored.
            given[name] = value if name == "node_uuid" else written
        elif name == "address" and value is not None:
            given[name] = mac(value)
    if isinstance(body, PortChange) and given.get("physical_network") == "":
        raise Invalid("A non-empty value is required when setting physical_network")
    if "local_link_connection" in given:
        given["local_link_connection"] = local_link(given["local_link_connection"])
    return given


def mac(text: str) -> str:
    address = ids.normal_mac(text)
    if address is None:
        raise Invalid(f"Expected a MAC address but received {text}.")
    return address


def patched(
    before: Mapping[str, Any], changes: Sequence[PatchOperation], allowed: Sequence[str]
) -> dict[str, Any]:
    """The document with all changes; Invalid for attributes that a client may not change."""
    for change in changes:
        if change.root not in allowed:
            raise Invalid(
                f"Cannot patch {change.path}. Only the following can be updated: "
                f"{', '.join(allowed)}"
            )
    return patching.apply(dict(before), changes)


# -- the other end of the cable ------------------------------------------------------------------

_LINK_KEYS = frozenset(
    {"switch_id", "port_id", "switch_info", "hostname", "network_type"}
    | {"vtep-logical-switch", "vtep-physical-switch"}
)
_VTEP = {"vtep-logical-switch", "vtep-physical-switch"}


def local_link(link: dict[str, Any]) -> dict[str, Any]:
    """Where the other end of the cable is; switch_id as a MAC address in the usual form."""
    if not link:
        return {}
    unknown = sorted(set(link) - _LINK_KEYS)
    if unknown or not all(isinstance(value, str) for value in link.values()):
        raise Invalid(
            f"Invalid local_link_connection: {', '.join(unknown) or 'texts are expected'}."
        )
    kind, names = link.get("network_type"), set(link)
    if kind not in (None, "managed", "unmanaged"):
        raise Invalid("Invalid local_link_connection: network_type is managed or unmanaged.")
    if len(_VTEP & names) == 1:
        raise Invalid("Invalid local_link_connection: a VTEP has a logical and a physical switch.")
    full = ({"port_id", "switch_id"}, {"port_id", "hostname"}, {"port_id"} | _VTEP)
    if kind != "unmanaged" and not any(needed <= names for needed in full):
        raise Invalid("Invalid local_link_connection: it needs port_id and switch_id.")
    if "switch_id" in link:
        switch = ids.normal_mac(link["switch_id"]) or _datapath(link["switch_id"])
        if switch is None:
            raise Invalid(
                f"Expected a MAC address or OpenFlow datapath ID but received {link['switch_id']}."
            )
        return {**link, "switch_id": switch}
    return link


def smart_nic(given: Mapping[str, Any]) -> None:
    """A smart NIC is found by its host's name."""
    link: dict[str, Any] = given.get("local_link_connection") or {}
    if given.get("is_smartnic") and not {"port_id", "hostname"} <= set(link):
        raise Invalid("Smart NIC port must have port_id and hostname in local_link_connection")


def _datapath(text: str) -> str | None:
    plain = text.lower()
    good = len(plain) == 18 and plain.startswith("0x")
    return plain if good and all(c in "0123456789abcdef" for c in plain[2:]) else None
