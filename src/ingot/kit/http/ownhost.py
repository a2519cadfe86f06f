"""Which addresses are this host's own: those that the kernel delivers here itself, however it came to have them.

The kernel's answer to "which way?" says it (rtnetlink, RTM_GETROUTE; route(7)): the same that a connection would go
by, so addresses that come and go, secondary ones and whole networks that are routed to this host are all right.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

_GET_ROUTE, _ROUTE, _REQUEST, _DESTINATION = 26, 24, 1, 1
_HEAD, _MESSAGE, _ATTRIBUTE = "=IHHII", "=BBBBBBBBI", "=HH"
#: Kinds of routes: to this host, to all of its link, to one of some that have the address (this host too).
_HERE = frozenset({2, 3, 4})


def is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether what is sent to an address stays on this host (in this process's network namespace).

    One question to the kernel, 20 µs; nothing is sent to anybody. False where it knows no way there.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as line:
            line.settimeout(1)
            line.send(_question(address.packed))
            return _is_here(line.recv(4096))
    except OSError:
        # No rtnetlink for us (a sandbox): what a datagram would be sent from says nearly the same.
        return _sends_to_itself(str(address))


def _question(packed: bytes) -> bytes:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    attribute = struct.pack(_ATTRIBUTE, 4 + len(packed), _DESTINATION) + packed
    message = struct.pack(_MESSAGE, family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute
    return struct.pack(_HEAD, 16 + len(message), _GET_ROUTE, _REQUEST, 1, 0) + message


def _is_here(answer: bytes) -> bool:
    """Whether the answer is a route, and one that ends here; other answers say that there is none."""
    if len(answer) < 28 or struct.unpack_from("=H", answer, 4)[0] != _ROUTE:
        return False
    return answer[16 + 7] in _HERE


def _sends_to_itself(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return probe.getsockname()[0] == address
    except OSError:
        return False


__all__ = ["is_own"]
