"""Tells machines at once that the wire has no IPv6 router.

iPXE asks for a router on every boot, and does not go on to its script before one answers or 16 seconds are
over (measured: DHCP done after 3 s, script asked for after 16 s). We answer with an advertisement that
offers nothing: no prefix, no DHCPv6, lifetime 0, which by RFC 4861 means "not a default router". Real routers of the
wire are not disturbed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from ingot.kit import log

_SOLICITATION, _ADVERTISEMENT = 133, 134
_ALL_ROUTERS, _ALL_NODES = "ff02::2", "ff02::1"
_ICMP6_FILTER = 1
#: RFC 4861: receivers drop anything that has passed a router.
_HOPS = 255

#: type, code, checksum (the kernel's), hop limit, flags, lifetime, reachable time, retransmission time.
NOTHING = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)

_log = log.get("advertiser")


def is_solicitation(data: bytes) -> bool:
    return len(data) >= 8 and data[0] == _SOLICITATION and data[1] == 0


def reply_to(source: str) -> str:
    """Where the answer goes: to who asked, or to all when they have no address yet."""
    address = source.partition("%")[0]
    return _ALL_NODES if address == "::" else source


class Advertiser:
    """Answers router solicitations on one interface, from the event loop, until `close`."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Start answering. Without IPv6 on the interface nobody asks here either: then it stays closed."""
        if self._socket is not None:
            return
        made: socket.socket | None = None
        try:
            made = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            self._prepare(made)
        except OSError as error:
            _log.info("no IPv6 here", interface=self.interface, error=str(error))
            if made is not None:
                made.close()
            return
        self._socket = made
        asyncio.get_running_loop().add_reader(made.fileno(), self._answer)

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _prepare(self, made: socket.socket) -> None:
        index = socket.if_nametoindex(self.interface)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("@I", index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOPS)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _HOPS)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        # A set bit blocks a type: all but solicitations.
        blocked = [0xFFFFFFFF] * 8
        blocked[_SOLICITATION >> 5] &= ~(1 << (_SOLICITATION & 31))
        made.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *blocked))

    def _answer(self) -> None:
        if self._socket is None:
            return
        with suppress(OSError):
            data, (source, _port, _flow, scope) = self._socket.recvfrom(1500)
            if is_solicitation(data):
                self._socket.sendto(NOTHING, (reply_to(source), 0, 0, scope))
