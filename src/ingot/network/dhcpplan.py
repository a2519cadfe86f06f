"""What DHCP must know, from our rows. Pure: rows in, plans out.

Every port with an IPv4 address on a subnet with DHCP is a known machine; nobody else gets an answer. A port whose
MAC we made up has no machine until it is bound, so it is left out: its address can then go to the real
card's MAC as a new host, at once.
DHCPv6 is not built: IPv6 addresses reach machines by network_data.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.hostd.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange
from ingot.network.types import BASE_MAC, Network, ProvisioningWire, Settings, Subnet


@dataclass(frozen=True, slots=True)
class Known:
    """An address of a port, with what decides whether a machine may ask for it."""

    network_id: str
    subnet_id: str
    mac_address: str
    ip_address: str
    admin_state_up: bool
    bound: bool

    @property
    def has_machine(self) -> bool:
        return self.admin_state_up and (self.bound or not self.mac_address.startswith(BASE_MAC))


def make_plans(
    generation: int,
    networks: Sequence[Network],
    subnets: Sequence[Subnet],
    known: Sequence[Known],
    settings: Settings,
) -> tuple[DhcpPlan, ...]:
    """One plan per wire that carries a network, in the order of the wires' names.

    known: in the order of each port's addresses.
    """
    plans: list[DhcpPlan] = []
    by_wire = {network.physical_network: network for network in networks}
    for name in sorted(settings.wires):
        network = by_wire.get(name)
        if network is None:
            continue
        wire = settings.wires[name]
        served = [
            subnet
            for subnet in subnets
            if subnet.network_id == network.id and subnet.enable_dhcp and subnet.ip_version == 4
        ]
        here = [one for one in known if one.network_id == network.id and one.has_machine]
        plans.append(
            DhcpPlan(
                name=name,
                generation=generation,
                interface=wire.interface,
                listen=wire.listen_address,
                ranges=tuple(_range(subnet, network, settings) for subnet in served),
                hosts=_hosts(here, {subnet.id for subnet in served}),
                boot=_boot(wire, settings),
            )
        )
    return tuple(plans)


def _range(subnet: Subnet, network: Network, settings: Settings) -> DhcpRange:
    return DhcpRange(
        cidr=subnet.cidr,
        router=subnet.gateway_ip,
        dns=tuple(subnet.dns_nameservers),
        domain=settings.domain,
        mtu=network.mtu,
        routes=tuple((route["destination"], route["nexthop"]) for route in subnet.host_routes),
        lease_seconds=settings.lease_seconds,
    )


def _hosts(known: Sequence[Known], served: set[str]) -> tuple[DhcpHost, ...]:
    """A host per MAC: its first address on a served subnet."""
    hosts: dict[str, DhcpHost] = {}
    for one in known:
        if one.subnet_id in served and one.mac_address not in hosts:
            hosts[one.mac_address] = DhcpHost(mac=one.mac_address, ip=one.ip_address)
    return tuple(hosts[mac] for mac in sorted(hosts))


def _boot(wire: ProvisioningWire, settings: Settings) -> DhcpBoot:
    return DhcpBoot(
        script_url=wire.boot_url + settings.script_path,
        loader_url=wire.boot_url + settings.loader_path,
        loaders=dict(settings.loaders),
    )
