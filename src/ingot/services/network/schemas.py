"""The wire forms of the Networking API: request structs, and what a reply shows of each resource."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingot.kit.faults import Invalid
from ingot.services.network.types import (
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

# No NUL octets: PostgreSQL stores none.
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*\Z")]
Long = Annotated[str, Meta(max_length=4096, pattern=r"^[^\x00]*\Z")]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*\Z")]
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00]*\Z")]
Nothing = Annotated[list[Any], Meta(max_length=0)]
Mtu = Annotated[int, Meta(ge=68, le=65535)]
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)]


class Common(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every resource takes; `tenant_id` is the old name of `project_id`."""

    project_id: Id | UnsetType = UNSET
    tenant_id: Id | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class NetworkIn(Common, forbid_unknown_fields=True, kw_only=True):
    name: Text | UnsetType = UNSET
    admin_state_up: bool | UnsetType = UNSET
    shared: bool | UnsetType = UNSET
    external: bool | UnsetType = msgspec.field(default=UNSET, name="router:external")
    is_default: bool | UnsetType = UNSET
    mtu: Mtu | UnsetType = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    availability_zone_hints: list[Text] | UnsetType = UNSET
    network_type: Text | UnsetType = msgspec.field(default=UNSET, name="provider:network_type")
    physical_network: Text | UnsetType = msgspec.field(
        default=UNSET, name="provider:physical_network"
    )
    segmentation_id: int | UnsetType | None = msgspec.field(
        default=UNSET, name="provider:segmentation_id"
    )


class Pool(msgspec.Struct, forbid_unknown_fields=True):
    start: Text
    end: Text


class Route(msgspec.Struct, forbid_unknown_fields=True):
    destination: Text
    nexthop: Text


class SubnetIn(Common, forbid_unknown_fields=True, kw_only=True):
    name: Text | UnsetType = UNSET
    network_id: Id | UnsetType = UNSET
    ip_version: int | UnsetType = UNSET
    cidr: Text | UnsetType = UNSET
    gateway_ip: Text | UnsetType | None = UNSET
    enable_dhcp: bool | UnsetType = UNSET
    allocation_pools: list[Pool] | UnsetType | None = UNSET
    dns_nameservers: list[Text] | UnsetType | None = UNSET
    host_routes: list[Route] | UnsetType | None = UNSET
    # Accepted as null only, as some clients write them out.
    subnetpool_id: UnsetType | None = UNSET
    ipv6_ra_mode: UnsetType | None = UNSET
    ipv6_address_mode: UnsetType | None = UNSET
    service_types: Nothing | UnsetType = UNSET


class FixedIpIn(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    subnet_id: Id | UnsetType = UNSET
    ip_address: Text | UnsetType = UNSET


class PairIn(msgspec.Struct, forbid_unknown_fields=True):
    ip_address: Text
    mac_address: Text | UnsetType = UNSET


class PortIn(Common, forbid_unknown_fields=True, kw_only=True):
    name: Text | UnsetType = UNSET
    network_id: Id | UnsetType = UNSET
    mac_address: Text | UnsetType | None = UNSET
    admin_state_up: bool | UnsetType = UNSET
    fixed_ips: list[FixedIpIn] | UnsetType | None = UNSET
    device_id: Text | UnsetType = UNSET
    device_owner: Text | UnsetType = UNSET
    security_groups: list[Id] | UnsetType | None = UNSET
    allowed_address_pairs: list[PairIn] | UnsetType | None = UNSET
    port_security_enabled: bool | UnsetType = UNSET
    host_id: Text | UnsetType | None = msgspec.field(default=UNSET, name="binding:host_id")
    vnic_type: Text | UnsetType = msgspec.field(default=UNSET, name="binding:vnic_type")
    profile: dict[str, Any] | UnsetType | None = msgspec.field(
        default=UNSET, name="binding:profile"
    )
    tags: list[Tag] | UnsetType = UNSET
    # Accepted as nothing only: clients send back what they were shown.
    extra_dhcp_opts: Nothing | UnsetType | None = UNSET
    dns_name: Annotated[str, Meta(max_length=0)] | UnsetType | None = UNSET


class GroupIn(Common, forbid_unknown_fields=True, kw_only=True):
    name: Text | UnsetType = UNSET
    stateful: bool | UnsetType = UNSET


class RuleIn(Common, forbid_unknown_fields=True, kw_only=True):
    security_group_id: Id | UnsetType = UNSET
    direction: Text | UnsetType = UNSET
    ethertype: Text | UnsetType = UNSET
    protocol: str | int | UnsetType | None = UNSET
    port_range_min: int | UnsetType | None = UNSET
    port_range_max: int | UnsetType | None = UNSET
    remote_ip_prefix: Text | UnsetType | None = UNSET
    remote_group_id: Id | UnsetType | None = UNSET
    remote_address_group_id: UnsetType | None = UNSET


class QuotaIn(msgspec.Struct, forbid_unknown_fields=True):
    """Limits. force: also below what is used. check_limit says the opposite, which goes without saying."""

    force: bool | UnsetType | None = UNSET
    check_limit: bool | UnsetType | None = UNSET
    network: Limit | UnsetType = UNSET
    subnet: Limit | UnsetType = UNSET
    port: Limit | UnsetType = UNSET
    security_group: Limit | UnsetType = UNSET
    security_group_rule: Limit | UnsetType = UNSET


class TagsIn(msgspec.Struct, forbid_unknown_fields=True):
    tags: list[Tag]


def read(shape: type[Any], value: object, where: str) -> Any:
    """A part of a body as a struct; numbers and booleans may be texts, as the command line sends them."""
    try:
        return msgspec.convert(value, shape, strict=False)
    except msgspec.ValidationError as wrong:
        place = (
            str(wrong).replace("$", f"$.{where}") if "$" in str(wrong) else f"{wrong} in {where}"
        )
        raise Invalid(f"Invalid input: {place}.") from None


def given(item: msgspec.Struct) -> dict[str, Any]:
    """The fields that a request names, by our names; inner structs as plain values."""
    values: dict[str, Any] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if value is not UNSET and name not in ("tenant_id", "project_id"):
            values[name] = msgspec.to_builtins(value)
    return values


def moment(time: datetime) -> str:
    """A time as this service writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _head(of: Network | Subnet | Port | SecurityGroup | SecurityGroupRule) -> dict[str, Any]:
    return {
        "id": of.id,
        "project_id": of.project_id,
        "tenant_id": of.project_id,
        "description": of.description,
        "revision_number": of.revision_number,
        "created_at": moment(of.created_at),
        "updated_at": moment(of.updated_at),
    }


def network_wire(network: Network, admin: bool) -> dict[str, Any]:
    wire: dict[str, Any] = {
        **_head(network),
        "name": network.name,
        "admin_state_up": network.admin_state_up,
        "status": "ACTIVE",
        "subnets": list(network.subnets),
        "shared": network.shared,
        "router:external": network.external,
        "is_default": network.is_default,
        "mtu": network.mtu,
        "port_security_enabled": network.port_security_enabled,
        "availability_zone_hints": list(network.availability_zone_hints),
        "availability_zones": ["nova"],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "tags": list(network.tags),
    }
    if admin:
        wire["provider:network_type"] = network.network_type
        wire["provider:physical_network"] = network.physical_network
        wire["provider:segmentation_id"] = network.segmentation_id
    return wire


def subnet_wire(subnet: Subnet) -> dict[str, Any]:
    return {
        **_head(subnet),
        "name": subnet.name,
        "network_id": subnet.network_id,
        "ip_version": subnet.ip_version,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway_ip,
        "enable_dhcp": subnet.enable_dhcp,
        "allocation_pools": list(subnet.allocation_pools),
        "dns_nameservers": list(subnet.dns_nameservers),
        "host_routes": list(subnet.host_routes),
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "tags": list(subnet.tags),
    }


def port_wire(port: Port, admin: bool) -> dict[str, Any]:
    wire: dict[str, Any] = {
        **_head(port),
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "admin_state_up": port.admin_state_up,
        "status": "ACTIVE" if port.bound and port.admin_state_up else "DOWN",
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "fixed_ips": [
            {"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips
        ],
        "security_groups": list(port.security_groups),
        "allowed_address_pairs": list(port.allowed_address_pairs),
        "port_security_enabled": port.port_security_enabled,
        "extra_dhcp_opts": [],
        "binding:vnic_type": port.vnic_type,
        "tags": list(port.tags),
    }
    if admin:
        wire["binding:host_id"] = port.host_id
        wire["binding:profile"] = dict(port.profile)
        wire["binding:vif_type"] = port.vif_type
        # port_filter: nothing filters packets on a flat physical wire.
        wire["binding:vif_details"] = {"port_filter": False} if port.bound else {}
    return wire


def rule_wire(rule: SecurityGroupRule) -> dict[str, Any]:
    return {
        **_head(rule),
        "security_group_id": rule.security_group_id,
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol,
        "port_range_min": rule.port_range_min,
        "port_range_max": rule.port_range_max,
        "remote_ip_prefix": rule.remote_ip_prefix,
        "normalized_cidr": rule.remote_ip_prefix,
        "remote_group_id": rule.remote_group_id,
        "remote_address_group_id": None,
    }


def group_wire(group: SecurityGroup) -> dict[str, Any]:
    return {
        **_head(group),
        "name": group.name,
        "stateful": group.stateful,
        "shared": False,
        "security_group_rules": [rule_wire(rule) for rule in group.rules],
        "tags": list(group.tags),
        # Ours: says plainly that no switch or host applies the rules to metal.
        "ingot:enforced": False,
    }
