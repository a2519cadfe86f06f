"""A wire of two network namespaces, and a machine on it that speaks DHCP octet by octet.

One end is for the server under test, the other for the machine. Sockets stay in the namespace in which they
were made, so the machine's socket can be used from everywhere.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import netns

SERVER_IP = "192.0.2.1"
_MAGIC = bytes([99, 130, 83, 99])


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread in a namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netns.setns(name)
        yield
    finally:
        netns.setns(home)
        os.close(home)


@dataclass
class Wire:
    """server_ns has `srv0` with SERVER_IP; client_ns has `cli0` without address."""

    server_ns: str
    client_ns: str

    @classmethod
    def up(cls) -> Wire:
        tail = secrets.token_hex(3)
        wire = cls(f"ign-{tail}-s", f"ign-{tail}-c")
        for name in (wire.server_ns, wire.client_ns):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", wire.server_ns, "link", "add", "srv0", "type", "veth",
            "peer", "name", "cli0", "netns", wire.client_ns)  # fmt: skip
        _ip("-n", wire.server_ns, "address", "add", f"{SERVER_IP}/24", "dev", "srv0")
        _ip("-n", wire.server_ns, "link", "set", "srv0", "up")
        _ip("-n", wire.client_ns, "link", "set", "cli0", "up")
        return wire

    def down(self) -> None:
        for name in (self.client_ns, self.server_ns):
            _ip("netns", "delete", name)

    def client_address(self, cidr: str | None, mac: str | None = None) -> None:
        _ip("-n", self.client_ns, "address", "flush", "dev", "cli0")
        if mac is not None:
            _ip("-n", self.client_ns, "link", "set", "cli0", "address", mac)
        if cidr is not None:
            _ip("-n", self.client_ns, "address", "add", cidr, "dev", "cli0")

    async def run(self, *words: str, deadline: float = 20) -> tuple[int, str]:
        """A command on the machine's side: exit code and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            "ip", "netns", "exec", self.client_ns, *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), deadline)
        except TimeoutError:
            process.kill()
            raise
        return process.returncode or 0, output.decode(errors="replace")

    async def udhcpc(self, folder: Path, mac: str, *options: str) -> dict[str, str] | None:
        """Debian's busybox client: what it was told, None when nobody answered."""
        self.client_address(None, mac)
        script, told = folder / "told.sh", folder / "told"
        script.write_text(f'#!/bin/sh\n[ "$1" = bound ] && env > {told}\nexit 0\n')
        script.chmod(0o755)
        told.unlink(missing_ok=True)
        await self.run("busybox", "udhcpc", "-i", "cli0", "-n", "-q", "-f", "-t", "2", "-T", "1",
                       "-A", "0", "-s", str(script), *options)  # fmt: skip
        if not told.exists():
            return None
        return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)


@dataclass
class Answer:
    """A DHCP reply. kind: 2 offer, 5 ack, 6 nak."""

    kind: int
    ip: str
    file: str
    next_server: str
    options: dict[int, bytes]


class Machine:
    """Speaks DHCP with any MAC over one socket on the machine's side."""

    def __init__(self, wire: Wire) -> None:
        with inside(wire.client_ns):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"cli0")
        self._socket.bind(("0.0.0.0", 68))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    async def ask(
        self,
        kind: int,
        mac: str,
        options: dict[int, bytes] | None = None,
        *,
        wait: float = 0.5,
    ) -> Answer | None:
        """One message (1 discover, 3 request) and its answer; None when there is none in time."""
        xid = secrets.token_bytes(4)
        hardware = bytes.fromhex(mac.replace(":", ""))
        head = struct.pack("!4B4sHH16s16s192s", 1, 1, 6, 0, xid, 0, 0x8000, b"",
                           hardware, b"")  # fmt: skip
        told = {53: bytes([kind]), 55: bytes([1, 3, 6, 15, 26, 66, 67, 121, 60]), **(options or {})}
        tail = b"".join(bytes([code, len(value)]) + value for code, value in told.items())
        packet = head + _MAGIC + tail + b"\xff"
        loop = asyncio.get_running_loop()
        self._socket.sendto(packet, ("255.255.255.255", 67))
        end = loop.time() + wait
        while (left := end - loop.time()) > 0:
            try:
                data = await asyncio.wait_for(loop.sock_recv(self._socket, 2048), left)
            except TimeoutError:
                break
            if data[4:8] == xid:
                return _answer(data)
        return None

    async def lease(self, mac: str, options: dict[int, bytes] | None = None) -> Answer | None:
        """Discover and request."""
        offer = await self.ask(1, mac, options)
        if offer is None:
            return None
        wanted = {50: socket.inet_aton(offer.ip), 54: offer.options[54], **(options or {})}
        return await self.ask(3, mac, wanted)


def _answer(data: bytes) -> Answer:
    options: dict[int, bytes] = {}
    at = 240
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        size = data[at + 1]
        options[data[at]] = data[at + 2 : at + 2 + size]
        at += 2 + size
    file = options.get(67) or data[108:236]
    return Answer(
        kind=options[53][0],
        ip=socket.inet_ntoa(data[16:20]),
        file=file.rstrip(b"\0").decode(),
        next_server=socket.inet_ntoa(data[20:24]),
        options=options,
    )
