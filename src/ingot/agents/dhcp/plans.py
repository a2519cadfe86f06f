"""Documents that tell a host what to do. Services write them, host daemons follow them.

A plan is whole and carries a generation, so that it may be lost, repeated or arrive late: the newest one wins,
and whoever waits for a change waits for its generation. On a wire with thousands of machines one machine's change
goes as a difference (`DhcpChange`), which is refused unless it continues what the host has; the whole plan heals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DhcpHost:
    """A known machine: its MAC, the IPv4 address it gets, and tags that options may depend on."""

    mac: str
    ip: str
    hostname: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DhcpRange:
    """An IPv4 subnet on the wire. Addresses come from hosts only; there is no pool.

    routes: (destination CIDR, next hop), told as classless static routes.
    """

    cidr: str
    router: str | None = None
    dns: tuple[str, ...] = ()
    domain: str = ""
    mtu: int | None = None
    routes: tuple[tuple[str, str], ...] = ()
    lease_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class DhcpBoot:
    """What a client that boots from the network is told.

    script_url: for those that already run iPXE. loaders: client kind ("bios", "uefi-x64", "uefi-arm64")
    -> file, sent by TFTP. loader_url: where UEFI HTTP boot finds the same files, no slash at the end.
    """

    script_url: str
    loader_url: str
    loaders: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class DhcpPlan:
    """All that the DHCP and TFTP server of one wire must know.

    name: the physical network; listen: our IPv4 address on the interface.
    """

    name: str
    generation: int
    interface: str
    listen: str
    ranges: tuple[DhcpRange, ...]
    hosts: tuple[DhcpHost, ...]
    boot: DhcpBoot | None = None


@dataclass(frozen=True, slots=True)
class DhcpChange:
    """What is new on one wire since a generation; everything else stays.

    gone: hosts that are no more, taken away before `put` is added.
    """

    name: str
    since: int
    generation: int
    put: tuple[DhcpHost, ...] = ()
    gone: tuple[DhcpHost, ...] = ()
