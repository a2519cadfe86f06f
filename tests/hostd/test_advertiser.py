"""A machine that asks for an IPv6 router is told at once that there is none."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from ingot.agents.dhcp.advertiser import NOTHING, Advertiser, is_solicitation, reply_to

from .wire import Wire, inside

SOLICITATION = bytes([133, 0, 0, 0, 0, 0, 0, 0])


@pytest.mark.anyio
async def test_it_answers_with_nothing(wire: Wire) -> None:
    advertiser = Advertiser("srv0")
    with inside(wire.client_ns):
        asker = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex("cli0")
    advertiser.open()
    try:
        asker.setblocking(False)
        asker.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"cli0")
        asker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        asker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        answer = await _ask(asker, index)
        assert answer[:2] == NOTHING[:2] and answer[4:16] == NOTHING[4:]
    finally:
        advertiser.close()
        asker.close()


async def _ask(asker: socket.socket, index: int) -> bytes:
    """Ask until answered: the link's own address needs a second until it may be used."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 10
    while loop.time() < end:
        with contextlib.suppress(OSError):
            asker.sendto(SOLICITATION, ("ff02::2", 0, 0, index))
        deadline = loop.time() + 0.3
        while (left := deadline - loop.time()) > 0:
            try:
                data = await asyncio.wait_for(loop.sock_recv(asker, 1500), left)
            except TimeoutError:
                break
            if data[0] == NOTHING[0]:
                return data
    raise AssertionError("no advertisement came")


@pytest.mark.anyio
async def test_without_the_interface_it_stays_closed(wire: Wire) -> None:
    advertiser = Advertiser("nothere0")
    advertiser.open()
    advertiser.close()


def test_words() -> None:
    assert is_solicitation(SOLICITATION)
    assert not is_solicitation(NOTHING) and not is_solicitation(b"\x85")
    assert reply_to("::") == "ff02::1"
    assert reply_to("fe80::1%srv0") == "fe80::1%srv0"
