"""Values of the bare-metal service: a row is a domain value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """A node as work sees it; JSON columns parsed, secrets not included."""

    uuid: str
    name: str | None
    driver: str
    interfaces: Mapping[str, str | None]
    driver_info: dict[str, Any]
    driver_internal_info: dict[str, Any]
    properties: dict[str, Any]
    extra: dict[str, Any]
    instance_info: dict[str, Any]
    instance_uuid: str | None
    power_state: str | None
    target_power_state: str | None
    provision_state: str
    target_provision_state: str | None
    maintenance: bool
    fault: str | None
    resource_class: str | None
    conductor_group: str
    automated_clean: bool | None
    owner: str | None
    lessee: str | None
    retired: bool
    protected: bool
    disable_power_off: bool
    boot_mode: str | None
    boot_intent: dict[str, Any] | None
    agent_ordered_at: str | None = None
    automatic_lessee: bool = False
    bmc_identity: dict[str, Any] | None = None
    boot_seen_at: str | None = None
    instance_stopped: bool = False
    started_at: str | None = None
    unasked_boot_at: str | None = None
    unasked_boot_mac: str | None = None
    traits: tuple[str, ...] = ()
    reservation: str | None = None
    server_uuid: str | None = None

    @property
    def under_server(self) -> bool:
        """Whether its instance is a server of our own Compute service."""
        return self.instance_uuid is not None and self.instance_uuid == self.server_uuid

    @property
    def label(self) -> str:
        """Name or uuid, for people."""
        return self.name or self.uuid

    @property
    def subject(self) -> str:
        """The subject of this node's operations and events."""
        return f"node:{self.uuid}"


@dataclass(frozen=True, slots=True)
class Port:
    """A network interface of a node, or a port group that stands for several (`part_store.carriers`).

    kind: "port" or "portgroup". links: where the cables of a port group's members go.
    """

    uuid: str
    node_uuid: str
    address: str
    pxe_enabled: bool
    physical_network: str | None
    portgroup_uuid: str | None
    local_link_connection: dict[str, Any]
    internal_info: dict[str, Any]
    extra: dict[str, Any]
    name: str | None = None
    kind: str = "port"
    links: tuple[dict[str, Any], ...] = ()
    standalone_ports_supported: bool = True

    @property
    def vif(self) -> str | None:
        """The network port that is attached here, if any."""
        return self.internal_info.get("tenant_vif_port_id")


@dataclass(frozen=True, slots=True)
class Portgroup:
    """Several network interfaces of a node that work as one (a bond)."""

    uuid: str
    node_uuid: str
    address: str | None
    name: str | None
    standalone_ports_supported: bool
    physical_network: str | None
    internal_info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent that runs on a machine now. token is None until a lookup has fetched one."""

    url: str | None
    version: str | None
    verify_ca: str | None
    last_heartbeat: str | None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image as a file. id: names this content for ever; url: where it is for a while."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image as the agent is told about it. url is made at the moment of writing, since it expires.

    size: bytes that are sent. progress: bytes sent so far, None when somebody else serves them.
    """

    id: str
    url: str
    disk_format: str
    hash_algo: str
    hash_value: str
    size: int | None = None
    container_format: str = "bare"
    sent: Callable[[], int] | None = field(default=None, compare=False)
