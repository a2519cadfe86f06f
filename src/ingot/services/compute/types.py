"""Values of the compute service: what its verbs, workflows and views are told with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec


def _quotas() -> dict[str, int]:
    return {
        "instances": 1000,
        "cores": -1,
        "ram": -1,
        "key_pairs": 100,
        "metadata_items": 128,
        "server_groups": 50,
        "server_group_members": 1000,
    }


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """What an operator decides.

    quotas: default limits per project (key_pairs per user); -1 is no limit.
    attempts: on how many machines a server is tried before it is given up.
    build_seconds: the longest that one deploy may take before the server gives up waiting; the node's
        own steps have deadlines of their own, far shorter.
    power_seconds: the longest wait for a power change.
    soft_seconds: how long an operating system may take to shut down before it is switched off.
    release_seconds: the longest wait until a machine has let go of its server.
    any_class: whether a flavor without a resource class takes machines of any class, not only those without one.
    host: name that clients see as the compute host.
    domain: appended to host names in the config drive, where not empty.
    """

    quotas: Mapping[str, int] = field(default_factory=_quotas)
    attempts: int = 3
    build_seconds: float = 6 * 3600
    power_seconds: float = 1800
    soft_seconds: int = 60
    release_seconds: float = 1800
    any_class: bool = False
    availability_zone: str = "nova"
    host: str = "ingot"
    domain: str = ""
    policy: Mapping[str, str] = field(default_factory=dict[str, str])


class ConsoleLog(Protocol):
    """What machines said on their serial consoles."""

    async def tail(self, server: str, node: str, lines: int | None) -> str:
        """The last lines of what a server said on its machine's console, all that is kept for None.

        server, node: uuids. Raises a fault of kind UNIMPLEMENTED where the machine's console cannot be
        captured, MISSING where it cannot be reached, CONFLICT where the machine is not the server's any more.
        """
        ...


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored only encrypted. user_data: base64 as it came."""

    user_data: str | None = None
    admin_pass: str = ""
    files: list[dict[str, str]] = []


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The key pair as it was when the server was ordered."""

    name: str
    type: str
    public_key: str


class RequestedNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """One network that a server wants: a network of its choice, or a port that exists."""

    network: str | None = None
    port: str | None = None
    fixed_ip: str | None = None


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A network port of a server. ours: made for it, and to be deleted with it."""

    port: str
    network: str
    ours: bool


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address as clients see it; label: the network's name."""

    label: str
    addr: str
    version: int
    mac: str
    port: str


class ServerFault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a server is in ERROR."""

    code: int
    message: str
    created: str
    details: str = ""


class Flavor(msgspec.Struct, frozen=True, kw_only=True):
    """What may be ordered. Sizes: ram and swap in MiB, disk and ephemeral in GiB."""

    id: str
    name: str
    vcpus: int
    ram: int
    disk: int
    ephemeral: int = 0
    swap: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    description: str | None = None
    extra_specs: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Keypair:
    number: int
    user_id: str
    name: str
    type: str
    public_key: str
    fingerprint: str
    created_at: str


@dataclass(frozen=True, slots=True)
class ServerGroup:
    id: str
    project_id: str
    user_id: str
    name: str
    policy: str
    rules: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """A server as work and views see it; secrets stay sealed. Times are stored texts."""

    number: int
    uuid: str
    project_id: str
    user_id: str
    name: str
    hostname: str
    description: str | None
    vm_state: str
    task_state: str | None
    power_state: int
    flavor: Flavor
    image_id: str | None
    key_name: str | None
    key: Key | None
    config_drive: str
    disk_config: str
    access_ip_v4: str | None
    access_ip_v6: str | None
    availability_zone: str | None
    pinned_zone: str | None
    wanted_node: str | None
    reservation_id: str
    launch_index: int
    locked: bool
    locked_reason: str | None
    locked_by: str | None
    networks: tuple[RequestedNetwork, ...]
    ports: tuple[Nic, ...]
    addresses: tuple[Address, ...]
    security_groups: tuple[str, ...]
    metadata: dict[str, str]
    tags: tuple[str, ...]
    group_id: str | None
    fault: ServerFault | None
    node_uuid: str | None
    node_name: str | None
    sealed: str = field(repr=False)
    created_at: str
    updated_at: str
    launched_at: str | None
    terminated_at: str | None
    deleted_at: str | None

    @property
    def subject(self) -> str:
        """The subject of this server's operations and events."""
        return f"server:{self.uuid}"
