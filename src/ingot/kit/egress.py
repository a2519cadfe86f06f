"""Whom this process asks because others said so: images at URLs, agents that machines name.

Who names an address here may be a tenant or a machine, and this process stands where they do not: on the loopback
of this host, beside a metadata service, on the wires of its links. Those are refused unless the operator allows
them. A name is judged when it is known whom it means, at the moment of the connection: then it does not matter how
an address is written, what a name means the next time, or where a redirect leads.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ingot.kit.faults import Invalid

if TYPE_CHECKING:
    import aiohttp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")
LONGEST_URL = 2048
#: IPv4 inside of IPv6, as translators take it (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_HOW = "If it is meant to be asked, name it in [egress] allow."


@dataclass(frozen=True)
class Egress:
    """What is allowed besides; nothing by default."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Egress:
        """From networks in CIDR; ValueError for what is none."""
        return cls(tuple(ipaddress.ip_network(one) for one in networks))

    def permits(self, address: str) -> bool:
        """Whether an address (in the usual way of writing) may be asked."""
        try:
            known = _plain(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        if any(known in network for network in self.allowed):
            return True
        return not (
            known.is_loopback
            or known.is_link_local
            or known.is_unspecified
            or known.is_multicast
            or known.is_reserved
            or (known.version == 4 and int(known) >> 24 == 0)
        )

    def url(self, text: str, what: str) -> SplitResult:
        """An http or https URL in its parts; Invalid where it is none or its host is an address that is refused."""
        parts = split(text, what)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
            raise Invalid(f"{what} must be an http or https URL.")
        address = _literal(parts.hostname)
        if address is not None and not self.permits(str(address)):
            raise Invalid(
                f"{what} leads to {address}, which is not asked for others.", next_action=_HOW
            )
        return parts

    def connector(self, **options: Any) -> aiohttp.TCPConnector:
        """aiohttp's, with its options, which connects to nobody else. Await `outgoing.ready` before."""
        import aiohttp  # loaded by then

        return aiohttp.TCPConnector(socket_factory=self._socket, **options)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        if not self.permits(str(place[0])):
            raise OSError(errno.EACCES, f"{place[0]} is not asked for others. {_HOW}")
        return socket.socket(family, kind, protocol)


def split(text: str, what: str) -> SplitResult:
    """Any URL in its parts; Invalid for a text that is none, with what is wrong."""
    if len(text) > LONGEST_URL:
        raise Invalid(f"{what} has more than {LONGEST_URL} characters.")
    # urlsplit drops some of these in silence.
    if not text.isprintable() or "\\" in text:
        raise Invalid(f"{what} holds characters that no URL has.")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as wrong:
        raise Invalid(f"{what} is no URL: {wrong}.") from None
    return parts


def _literal(host: str) -> Address | None:
    """The address that a host is, in any of the ways that the C library takes; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError, ValueError):
        return None


def _plain(address: Address) -> Address:
    """Without the ways in which IPv6 carries IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


__all__ = ["LOOPBACK", "Egress", "split"]
