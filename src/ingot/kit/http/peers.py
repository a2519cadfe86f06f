"""Network addresses of whoever sends us something: in which networks they are, and which of them are one host's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


class Networks:
    """Some networks: addresses or CIDRs; ValueError for what is neither."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in networks)

    def hold(self, text: str) -> bool:
        """Whether it is an address in one of them."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address):  # of IPv4, at a listener on [::]
            address = address.ipv4_mapped or address
        return any(address in network for network in self._networks)


def peer_of(address: object) -> str:
    """Whose an address is: an IPv4 address, a /64 of IPv6 (one host has all of it); "" for what is none."""
    try:
        known = ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        return ""
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((int(known), 64), strict=False))
    return str(known)


__all__ = ["Networks", "peer_of"]
