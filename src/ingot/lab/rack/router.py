"""Tells booting machines at once that the provisioning network has no IPv6 to offer.

iPXE asks for an IPv6 router beside DHCP and does not go on before somebody answers or its patience
of 15 seconds is over. Each router solicitation is answered by an advertisement of RFC 4861 that
offers nothing: lifetime zero, no prefix, no flags.
"""

import asyncio
import contextlib
import socket
import struct

_SOLICITATION = 133
_NOTHING = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0)
_ALL_ROUTERS = socket.inet_pton(socket.AF_INET6, "ff02::2")


class NoRouter:
    """Answers router solicitations on one interface of the namespace that we are in."""

    def __init__(self, interface: str) -> None:
        self._index = socket.if_nametoindex(interface)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        group = _ALL_ROUTERS + struct.pack("@I", self._index)
        options = ((socket.IPV6_JOIN_GROUP, group), (socket.IPV6_MULTICAST_HOPS, 255))
        for option, value in (*options, (socket.IPV6_MULTICAST_IF, self._index)):
            self._socket.setsockopt(socket.IPPROTO_IPV6, option, value)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):  # the link may be down; the machine asks again
            data, _ = self._socket.recvfrom(2048)
            if data[:1] == bytes([_SOLICITATION]):
                self._socket.sendto(_NOTHING, ("ff02::1", 0, 0, self._index))

    def close(self) -> None:
        """Stop answering."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
