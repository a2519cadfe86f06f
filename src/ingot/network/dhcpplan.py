"""What DHCP must know, from our rows. Pure: rows in, plans out.

Every port with an IPv4 address on a subnet with DHCP is a known machine; nobody else gets an answer. A port whose
MAC we made up has no machine until it is bound, so it is left out: its address can then go to the real
card's MAC as a new host, at once.
DHCPv6 is not built: IPv6 addresses reach machines by network_data.json.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingot.hostd.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange
from ingot.network.types import BASE_MAC, Network, Port, ProvisioningWire, Settings, Subnet


def make_plans(
    generation: int,
    networks: Sequence[Network],
    subnets: Sequence[Subnet],
    ports: Sequence[Port],
    settings: Settings,
) -> tuple[DhcpPlan, ...]:
    """One plan per wire that carries a network, in the order of the wires' names."""
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
        here = [port for port in ports if port.network_id == network.id and _has_machine(port)]
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


def _has_machine(port: Port) -> bool:
    made_up = port.mac_address.startswith(BASE_MAC)
    return port.admin_state_up and (port.bound or not made_up)


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


def _hosts(ports: Sequence[Port], served: set[str]) -> tuple[DhcpHost, ...]:
    """A host per port: the first address on a served subnet."""
    hosts: list[DhcpHost] = []
    for port in ports:
        for ip in port.fixed_ips:
            if ip.subnet_id in served:
                hosts.append(DhcpHost(mac=port.mac_address, ip=ip.ip_address))
                break
    return tuple(sorted(hosts, key=lambda host: host.mac))


def _boot(wire: ProvisioningWire, settings: Settings) -> DhcpBoot:
    return DhcpBoot(
        script_url=wire.boot_url + settings.script_path,
        loader_url=wire.boot_url + settings.loader_path,
        loaders=dict(settings.loaders),
    )
