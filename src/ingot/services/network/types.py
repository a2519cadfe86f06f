"""What other services see of networks: plain frozen values, never rows.

Names are those of the Networking API v2.0. Times are UTC. Lists and mappings inside are not to be changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: The first three octets of made-up MACs, as the Networking API's users know them.
BASE_MAC = "fa:16:3e"


@dataclass(frozen=True, slots=True)
class Network:
    """A layer-2 network. `physical_network` names the wire of a flat network."""

    id: str
    project_id: str
    name: str
    description: str
    admin_state_up: bool
    shared: bool
    external: bool
    is_default: bool
    mtu: int
    network_type: str
    physical_network: str | None
    segmentation_id: int | None
    port_security_enabled: bool
    availability_zone_hints: Sequence[str]
    tags: Sequence[str]
    revision_number: int
    created_at: datetime
    updated_at: datetime
    subnets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Subnet:
    """An address range of a network.

    allocation_pools: [{"start": ip, "end": ip}]; host_routes: [{"destination": cidr, "nexthop": ip}].
    """

    id: str
    project_id: str
    network_id: str
    name: str
    description: str
    ip_version: int
    cidr: str
    gateway_ip: str | None
    enable_dhcp: bool
    allocation_pools: Sequence[Mapping[str, str]]
    dns_nameservers: Sequence[str]
    host_routes: Sequence[Mapping[str, str]]
    tags: Sequence[str]
    revision_number: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FixedIp:
    """An address that a port owns on a subnet."""

    subnet_id: str
    ip_address: str


@dataclass(frozen=True, slots=True)
class Port:
    """A place on a network. Bound to bare metal (a VIF) when `host_id` is not empty."""

    id: str
    project_id: str
    network_id: str
    name: str
    description: str
    mac_address: str
    admin_state_up: bool
    device_id: str
    device_owner: str
    host_id: str
    vnic_type: str
    vif_type: str
    profile: Mapping[str, Any]
    port_security_enabled: bool
    security_groups: Sequence[str]
    allowed_address_pairs: Sequence[Mapping[str, str]]
    tags: Sequence[str]
    revision_number: int
    created_at: datetime
    updated_at: datetime
    fixed_ips: Sequence[FixedIp] = ()

    @property
    def bound(self) -> bool:
        return self.vif_type not in ("unbound", "binding_failed")


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """One allowed kind of traffic. Stored and shown; not enforced on metal."""

    id: str
    project_id: str
    security_group_id: str
    description: str
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None
    remote_group_id: str | None
    revision_number: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A named set of rules. Stored and shown; not enforced on metal."""

    id: str
    project_id: str
    name: str
    description: str
    stateful: bool
    default_of: str | None
    tags: Sequence[str]
    revision_number: int
    created_at: datetime
    updated_at: datetime
    rules: Sequence[SecurityGroupRule] = ()


@dataclass(frozen=True, slots=True)
class ProvisioningWire:
    """How this host reaches one physical network on which machines boot.

    interface: the network device here; listen_address: our IPv4 address on it, which answers DHCP and TFTP.
    boot_url: where booting machines reach our boot listener, e.g. "http://192.0.2.1:8088", no slash at the end.
    """

    interface: str
    listen_address: str
    boot_url: str


def _quotas() -> dict[str, int]:
    return {
        "network": 100,
        "subnet": 100,
        "port": 500,
        "security_group": 50,
        "security_group_rule": 500,
    }


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What an operator decides.

    wires: physical network name -> how this host reaches it. Only these get DHCP from us.
    lease_seconds: how long an address is promised; addresses come from our rows, so it may be short.
    quotas: default limits per project; -1 is no limit.
    loaders: client kind -> file of the first loader ("bios", "uefi-x64", "uefi-arm64").
    loader_path: below boot_url, where the boot listener serves loaders to UEFI HTTP boot.
    """

    wires: Mapping[str, ProvisioningWire] = field(default_factory=dict[str, ProvisioningWire])
    lease_seconds: int = 3600
    domain: str = ""
    default_mtu: int = 1500
    quotas: Mapping[str, int] = field(default_factory=_quotas)
    loaders: Mapping[str, str] = field(
        default_factory=lambda: {"bios": "undionly.kpxe", "uefi-x64": "snponly.efi"}
    )
    script_path: str = "/boot.ipxe"
    loader_path: str = "/files"
    policy: Mapping[str, str] = field(default_factory=dict[str, str])
