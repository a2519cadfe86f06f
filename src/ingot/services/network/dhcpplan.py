"""What DHCP must know, from our rows. Pure: rows in, plans and changes out.

Every port with an IPv4 address on a subnet with DHCP is a known machine; nobody else gets an answer. A port whose
MAC we made up has no machine until it is bound, so it is left out: its address can then go to the real
card's MAC as a new host, at once.
DHCPv6 is not built: IPv6 addresses reach machines by network_data.json.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.agents.dhcp.plans import DhcpBoot, DhcpChange, DhcpHost, DhcpPlan, DhcpRange
from ingot.services.network.types import (
    BASE_MAC,
    Network,
    NetworkSettings,
    ProvisioningWire,
    Subnet,
)


@dataclass(frozen=True, slots=True)
class Known:
    """An address of a port, with what decides whether a machine may ask for it."""

    port_id: str
    network_id: str
    subnet_id: str
    mac_address: str
    ip_address: str
    admin_state_up: bool
    bound: bool

    @property
    def has_machine(self) -> bool:
        return self.admin_state_up and (self.bound or not self.mac_address.startswith(BASE_MAC))


class DhcpSnapshot:
    """What DHCP was told last: whole plans at first, then what one port's change does to them.

    generation: of the rows that it is made of. Networks and subnets are those of its beginning: when one of
    them changes a new snapshot is made.
    """

    def __init__(
        self,
        generation: int,
        networks: Sequence[Network],
        subnets: Sequence[Subnet],
        known: Sequence[Known],
        settings: NetworkSettings,
    ) -> None:
        """known: in the order of each port's addresses."""
        self.generation = generation
        self._settings = settings
        self._wires = {
            network.id: network
            for network in sorted(networks, key=lambda network: network.physical_network or "")
            if network.physical_network in settings.wires
        }
        self._served = {
            subnet.id: subnet
            for subnet in subnets
            if subnet.network_id in self._wires and subnet.enable_dhcp and subnet.ip_version == 4
        }
        self._hosts: dict[str, tuple[str, DhcpHost]] = self._hosts_of(known)

    @property
    def network_ids(self) -> list[str]:
        """The networks that it tells of."""
        return list(self._wires)

    def plans(self) -> tuple[DhcpPlan, ...]:
        """One plan per wire that carries a network, in the order of the wires' names."""
        hosts: dict[str, list[DhcpHost]] = {id: [] for id in self._wires}
        for network_id, host in self._hosts.values():
            hosts[network_id].append(host)
        return tuple(
            self._plan(network, tuple(sorted(hosts[network.id], key=lambda host: host.mac)))
            for network in self._wires.values()
        )

    def _plan(self, network: Network, hosts: tuple[DhcpHost, ...]) -> DhcpPlan:
        name, settings = network.physical_network or "", self._settings
        wire = settings.wires[name]
        served = [subnet for subnet in self._served.values() if subnet.network_id == network.id]
        return DhcpPlan(
            name=name,
            generation=self.generation,
            interface=wire.interface,
            listen=wire.listen_address,
            ranges=tuple(_range(subnet, network, settings) for subnet in served),
            hosts=hosts,
            boot=_boot(wire, settings),
        )

    def apply(
        self, generation: int, port_ids: Sequence[str], known: Sequence[Known]
    ) -> tuple[DhcpChange, ...]:
        """Take in what these ports are now; the difference for each wire, also where there is none.

        known: the addresses of all of these ports that still have some.
        """
        since, self.generation = self.generation, generation
        now = self._hosts_of(known)
        put: dict[str, set[DhcpHost]] = {id: set() for id in self._wires}
        gone: dict[str, set[DhcpHost]] = {id: set() for id in self._wires}
        for port_id in port_ids:
            if (old := self._hosts.pop(port_id, None)) is not None:
                gone[old[0]].add(old[1])
            if (new := now.get(port_id)) is not None:
                put[new[0]].add(new[1])
                self._hosts[port_id] = new
        return tuple(
            DhcpChange(
                name=network.physical_network or "",
                since=since,
                generation=generation,
                put=tuple(put[id] - gone[id]),
                gone=tuple(gone[id] - put[id]),
            )
            for id, network in self._wires.items()
        )

    def _hosts_of(self, known: Sequence[Known]) -> dict[str, tuple[str, DhcpHost]]:
        """Port -> its network and host: the port's first address on a served subnet."""
        hosts: dict[str, tuple[str, DhcpHost]] = {}
        for one in known:
            if one.has_machine and one.subnet_id in self._served and one.port_id not in hosts:
                host = DhcpHost(mac=one.mac_address, ip=one.ip_address)
                hosts[one.port_id] = (one.network_id, host)
        return hosts


def _range(subnet: Subnet, network: Network, settings: NetworkSettings) -> DhcpRange:
    return DhcpRange(
        cidr=subnet.cidr,
        router=subnet.gateway_ip,
        dns=tuple(server for server in subnet.dns_nameservers if _is_v4(server)),
        domain=settings.domain,
        mtu=network.mtu,
        routes=tuple(
            (route["destination"], route["nexthop"])
            for route in subnet.host_routes
            if _is_v4(route["destination"]) and _is_v4(route["nexthop"])
        ),
        lease_seconds=settings.lease_seconds,
    )


def _is_v4(text: str) -> bool:
    """An IPv4 address or network. dnsmasq refuses all that it is told for one of IPv6 in an option of DHCP."""
    try:
        ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return False
    return True


def _boot(wire: ProvisioningWire, settings: NetworkSettings) -> DhcpBoot:
    return DhcpBoot(
        script_url=wire.boot_url + settings.script_path,
        loader_url=wire.boot_url + settings.loader_path,
        loaders=dict(settings.loaders),
    )
