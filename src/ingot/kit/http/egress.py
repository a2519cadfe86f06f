"""Whom this process asks because others said so: images at URLs, controllers of machines, agents that machines name.

Who names an address here may be a tenant or a machine, and this process stands where they do not: on the loopback
and the other addresses of this host, beside a metadata service, on the wires of its links. Those are refused unless
the operator allows them. A name is judged when it is known whom it means, at the moment of the connection: then it
does not matter how an address is written, what a name means the next time, or where a redirect leads.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ingot.kit.faults import Invalid
from ingot.kit.http.ownhost import is_own

if TYPE_CHECKING:
    import aiohttp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")
LONGEST_URL = 2048
#: IPv4 inside of IPv6, as translators take it (RFC 6052); those of a site's own prefix (RFC 8215) are all refused.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
#: Beside what Python tells: "this" network, the old site-local one, and where clouds answer their machines.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "64:ff9b:1::/48",
        "fd00:42::42/128",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "fec0::/10",
    )
)
HOW = "If it is meant to be asked, name it in [egress] allow."


class AddressRefused(OSError):
    """An address that is refused, where a connection to it was to be made."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, f"{address} is not asked for others. {HOW}")


def is_refusal(error: BaseException) -> bool:
    """Whether an error is AddressRefused, or says so for each address of a name (as aiohttp puts them together)."""
    if isinstance(error, OSError) and not isinstance(error, AddressRefused):
        return error.errno == errno.EACCES and HOW in str(error)
    return isinstance(error, AddressRefused)


@dataclass(frozen=True)
class Egress:
    """What is allowed besides; nothing by default. own: whether all addresses of this host are.

    closed: networks of others that are not asked either, but for what is allowed.
    """

    allowed: tuple[Network, ...] = ()
    own: bool = False
    closed: tuple[Network, ...] = ()

    @classmethod
    def of(
        cls, networks: Iterable[str], *, own: bool = False, closed: Iterable[str] = ()
    ) -> Egress:
        """From networks in CIDR; ValueError for what is none."""
        allowed, refused = (
            tuple(ipaddress.ip_network(one) for one in listed) for listed in (networks, closed)
        )
        return cls(allowed, own, refused)

    @classmethod
    def anywhere(cls) -> Egress:
        """Refuses nobody: where whoever runs the program names the addresses."""
        return cls.of(["0.0.0.0/0", "::/0"], own=True)

    def permits(self, address: str) -> bool:
        """Whether an address (in the usual way of writing) may be asked."""
        try:
            given = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        meant = {given, *_carried(given)}
        if any(one in network for one in meant for network in self.allowed):
            return True
        if any(one in network for one in meant for network in self.closed):
            return False
        # What carries IPv4 is of its own a reserved kind of IPv6.
        judged = meant - {given} or meant
        return not any(_refused(one) for one in judged) and (
            self.own or not any(is_own(one) for one in meant)
        )

    def judge(self, host: str) -> str:
        """What is wrong with a host that is an address, however written; "" for others, and for names."""
        address = _literal(host)
        if address is None or self.permits(str(address)):
            return ""
        return f"{address} is not asked for others. {HOW}"

    async def find(self, host: str, port: int) -> str:
        """The address at which to ask a host by UDP. AddressRefused when all that it has are refused, OSError without any."""
        known = _literal(host)
        if known is not None:
            found = [host if "%" in host else str(known)]
        else:
            loop = asyncio.get_running_loop()
            try:
                told = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            except UnicodeError:
                raise OSError(errno.EINVAL, "this is no name of a host") from None
            found = [str(place[0]) for *_, place in told]
        for address in found:
            if self.permits(address):
                return address
        raise AddressRefused(", ".join(dict.fromkeys(found)))

    def url(self, text: str, what: str) -> SplitResult:
        """An http or https URL in its parts; Invalid where it is none or its host is an address that is refused."""
        parts = split(text, what)
        if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
            raise Invalid(f"{what} must be an http or https URL.")
        address = _literal(parts.hostname)
        if address is not None and not self.permits(str(address)):
            raise Invalid(
                f"{what} leads to {address}, which is not asked for others.", next_action=HOW
            )
        return parts

    def connector(self, **options: Any) -> aiohttp.TCPConnector:
        """aiohttp's, with its options, which connects to nobody else. Await `outgoing.ready` before."""
        import aiohttp  # loaded by then

        return aiohttp.TCPConnector(socket_factory=self._socket, **options)

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        if not self.permits(str(place[0])):
            raise AddressRefused(str(place[0]))
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


def _carried(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """What an address of IPv6 leads to in IPv4, in the ways that IPv6 carries it."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.teredo is not None:
        return address.teredo
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _TRANSLATED:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return () if inner is None else (inner,)


def _refused(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
        or any(address in network for network in _NEVER)
    )


__all__ = ["HOW", "LOOPBACK", "AddressRefused", "Egress", "is_refusal", "split"]
