"""network_data.json: what an operating system or ramdisk is told of its ports. Pure.

Shape: the OpenStack metadata schema (links, networks, services), as read by cloud-init and glean.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ingot.services.network.types import Network, Port, Subnet


def network_data(
    ports: Sequence[Port],
    networks: Mapping[str, Network],
    subnets: Mapping[str, Subnet],
    *,
    static: bool,
) -> dict[str, Any]:
    """The document for these ports, in their order.

    A port's address is told as `ipv4_dhcp` where its subnet has DHCP, unless `static` is wanted.
    """
    links: list[dict[str, Any]] = []
    nets: list[dict[str, Any]] = []
    services: list[dict[str, str]] = []
    for port in ports:
        link = f"tap{port.id[:11]}"
        links.append(
            {
                "id": link,
                "vif_id": port.id,
                "type": "phy",
                "ethernet_mac_address": port.mac_address,
                "mtu": networks[port.network_id].mtu,
            }
        )
        for ip in port.fixed_ips:
            subnet = subnets[ip.subnet_id]
            by_dhcp = subnet.enable_dhcp and subnet.ip_version == 4 and not static
            entry = _by_dhcp(subnet) if by_dhcp else _static(subnet, ip.ip_address)
            nets.append({"id": f"network{len(nets)}", "link": link, **entry})
            for server in subnet.dns_nameservers:
                service = {"type": "dns", "address": server}
                if service not in services:
                    services.append(service)
    return {"links": links, "networks": nets, "services": services}


def _by_dhcp(subnet: Subnet) -> dict[str, Any]:
    return {"type": f"ipv{subnet.ip_version}_dhcp", "network_id": subnet.network_id}


def _static(subnet: Subnet, address: str) -> dict[str, Any]:
    cidr = ipaddress.ip_network(subnet.cidr)
    routes: list[dict[str, str]] = []
    if subnet.gateway_ip:
        anywhere = "0.0.0.0" if subnet.ip_version == 4 else "::"
        routes.append({"network": anywhere, "netmask": anywhere, "gateway": subnet.gateway_ip})
    for route in subnet.host_routes:
        to = ipaddress.ip_network(route["destination"])
        routes.append(
            {
                "network": str(to.network_address),
                "netmask": str(to.netmask),
                "gateway": route["nexthop"],
            }
        )
    return {
        "type": f"ipv{subnet.ip_version}",
        "ip_address": address,
        "netmask": str(cidr.netmask),
        "network_id": subnet.network_id,
        "routes": routes,
        "services": [{"type": "dns", "address": server} for server in subnet.dns_nameservers],
    }
