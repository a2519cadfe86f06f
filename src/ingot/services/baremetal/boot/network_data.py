"""A node's static network configuration: whether it has the form that config drives give to machines.

Pure. The form is that of the Compute service's `network_data.json`: links, networks on them, services.
Members that are not named here may be there too. Source: the Bare Metal API's schema of network_data.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ingot.kit import ids
from ingot.kit.faults import Invalid

Mtu = Annotated[float, Meta(ge=1, le=65535)] | None
_ZONE = re.compile(r"%[0-9a-zA-Z]+\Z")


class _Link(msgspec.Struct):
    id: str
    ethernet_mac_address: str
    type: str
    mtu: Mtu = None
    vif_id: str = ""


class _Bond(_Link, kw_only=True):
    bond_mode: Literal[
        "802.3ad",
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "balance-tlb",
        "balance-alb",
    ]
    bond_links: list[str]


class _Vlan(msgspec.Struct):
    id: str
    vlan_mac_address: str
    type: str
    vlan_link: str
    vlan_id: int
    mtu: Mtu = None
    vif_id: str = ""


class _Service(msgspec.Struct):
    address: str
    type: Literal["dns"]


class _Route(msgspec.Struct):
    network: str
    netmask: str
    gateway: str
    services: list[_Service] = []


class _Network(msgspec.Struct):
    id: str
    link: str
    network_id: str
    type: str
    ip_address: str | None = None
    netmask: str | None = None
    routes: list[_Route] = []


class _Document(msgspec.Struct):
    links: list[dict[str, Any]]
    networks: list[dict[str, Any]]
    services: list[_Service]


_PLAIN = frozenset({"bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif", "phy"})
_FAMILY = {"ipv4": 4, "ipv4_dhcp": 4, "ipv6": 6, "ipv6_dhcp": 6, "ipv6_slaac": 6}


def check(document: Mapping[str, Any]) -> None:
    """Invalid, with what is wrong and where, unless the document is empty or in the right form."""
    if not document:
        return
    whole = _read(document, _Document, "")
    for number, link in enumerate(whole.links):
        _link(link, f"links[{number}]")
    for number, network in enumerate(whole.networks):
        _network(network, f"networks[{number}]")
    for number, service in enumerate(whole.services):
        _address(service.address, None, f"services[{number}].address")


def _read(value: Any, shape: type[Any], place: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as wrong:
        raise _wrong(place, str(wrong)) from None


def _link(link: dict[str, Any], place: str) -> None:
    kind = link.get("type")
    if kind == "vlan":
        mac: str = _read(link, _Vlan, place).vlan_mac_address
    elif kind == "bond":
        mac = _read(link, _Bond, place).ethernet_mac_address
    elif kind in _PLAIN:
        mac = _read(link, _Link, place).ethernet_mac_address
    else:
        raise _wrong(place, f"{kind!r} is no type of link")
    if ids.normal_mac(mac) is None:
        raise _wrong(place, f"{mac!r} is no MAC address")


def _network(network: dict[str, Any], place: str) -> None:
    kind = network.get("type")
    family = _FAMILY.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise _wrong(place, f"{kind!r} is no type of network")
    read: _Network = _read(network, _Network, place)
    for name in ("ip_address", "netmask"):
        if name in network and network[name] is None:
            raise _wrong(place, f"{name} may be left out but not be null")
    if read.ip_address is not None:
        _address(read.ip_address, family, f"{place}.ip_address")
    if read.netmask is not None:
        _netmask(read.netmask, family, f"{place}.netmask")
    for number, route in enumerate(read.routes):
        here = f"{place}.routes[{number}]"
        _address(route.network, family, f"{here}.network")
        _netmask(route.netmask, family, f"{here}.netmask")
        _address(route.gateway, family, f"{here}.gateway")
        for service in route.services:
            _address(service.address, family, f"{here}.services")


def _address(text: str, family: int | None, place: str) -> None:
    """An address; one of IPv6 may have a prefix length or a zone."""
    bare = text
    if family != 4 and ":" in text:
        bare = _ZONE.sub("", re.sub(r"/[0-9]{1,2}\Z", "", text))
    kinds: dict[int | None, Callable[[str], object]] = {
        4: ipaddress.IPv4Address,
        6: ipaddress.IPv6Address,
    }
    try:
        kinds.get(family, ipaddress.ip_address)(bare)
    except ValueError:
        raise _wrong(place, f"{text!r} is no IPv{family or ''} address") from None


def _netmask(text: str, family: int, place: str) -> None:
    _address(text, family, place)
    if family == 4:
        bits = int(ipaddress.IPv4Address(text))
        if (bits | (bits - 1)) & 0xFFFFFFFF != 0xFFFFFFFF and bits != 0:
            raise _wrong(place, f"{text!r} is no network mask")


def _wrong(place: str, reason: str) -> Invalid:
    where = f" ({place})" if place else ""
    return Invalid(f"Invalid network_data{where}: {reason}.")
