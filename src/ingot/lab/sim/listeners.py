"""Sockets on loopback addresses: Linux answers on all of 127.0.0.0/8 without any set-up."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl

from aiohttp import web


def raise_file_limit(wanted: int = 65_536) -> int:
    """Raise this process's limit of open files as far as allowed; gives what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        soft = ceiling
    with contextlib.suppress(ValueError, OSError):
        if hard != resource.RLIM_INFINITY and hard < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            soft = wanted
    return soft


def _loopback(address: str) -> str:
    if not ipaddress.ip_address(address).is_loopback:
        raise ValueError(f"{address} is not a loopback address")
    return address


def tcp_listener(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((_loopback(address), port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def udp_listener(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((_loopback(address), port))
    except OSError:
        sock.close()
        raise
    return sock


class HttpListener:
    """A web server on one address, which ends like a machine that loses power: at once."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._listening: asyncio.Server | None = None

    async def open(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._listening = await asyncio.get_running_loop().create_server(
            self._server, sock=sock, ssl=context
        )

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        # Zero would mean: wait for ever.
        await self._server.shutdown(0.01)


def claim_network(wanted: str | None) -> tuple[str, socket.socket]:
    """A free `127.n.` prefix and the socket that keeps other fleets of this host off it.

    `wanted` (such as "127.77") is taken or OSError raised; None looks for a free one.
    """
    prefixes = [wanted] if wanted else [f"127.{n}" for n in range(20, 240)]
    last: OSError | None = None
    for prefix in prefixes:
        try:
            return prefix, tcp_listener(f"{prefix}.255.254", 60_006)
        except OSError as problem:
            last = problem
    raise OSError(f"no free loopback network among {prefixes[0]}…: {last}")
