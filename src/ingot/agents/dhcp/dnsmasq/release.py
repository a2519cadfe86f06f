"""Giving back an address on behalf of a machine: dnsmasq must not keep it for one that we forgot.

dnsmasq remembers a lease until it ends, and refuses the address to the next machine meanwhile. A DHCPRELEASE
(RFC 2131, 4.4.6) from the same host, bound to the wire's interface, makes it forget at once.
"""

from __future__ import annotations

import secrets
import socket
import struct

_MAGIC = bytes([99, 130, 83, 99])
_SERVER_PORT = 67


def message(mac: str, ip: str, server: str) -> bytes:
    """The packet of a DHCPRELEASE."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(
        "!BBBBIHH4s4s4s4s16s64s128s",
        1,  # a request
        1,  # Ethernet
        6,
        0,
        secrets.randbits(32),
        0,
        0,
        socket.inet_aton(ip),
        bytes(4),
        bytes(4),
        bytes(4),
        hardware.ljust(16, b"\0"),
        b"",
        b"",
    )
    options = bytes([53, 1, 7]) + bytes([54, 4]) + socket.inet_aton(server) + bytes([255])
    return head + _MAGIC + options


def release(mac: str, ip: str, server: str, interface: str) -> None:
    """Send it to our own server. Nothing comes back: DHCP has no answer to a release."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sender.sendto(message(mac, ip, server), (server, _SERVER_PORT))
