"""Whom we ask because others said so: never this host and its links, however they are written or reached."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientError, web
from aiohttp.abc import AbstractResolver, ResolveResult

from ingot.kit.faults import Invalid
from ingot.kit.http import client as http_client
from ingot.kit.http.egress import LOOPBACK, Egress

pytestmark = pytest.mark.anyio

REFUSED = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.169.254", "255.255.255.255"),
    *("224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1"),
    *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1", "", "name"),
    *("fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "100.100.100.200", "168.63.129.16"),
    *("192.0.0.192", "fec0::1", "64:ff9b:1::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8"),
    *("::ffff:100.100.100.200", "2002:a83f:8110::1", "2001:0:7f00:1::80ff:fffe", "169.254.1.1"),
    *("2001:0:a00:1:0:0:80ff:fffe", "0.255.255.255"),
)
TAKEN = ("10.0.0.7", "192.168.1.1", "8.8.8.8", "fd00::7", "2001:db8::1", "::ffff:10.0.0.7")


@pytest.mark.parametrize("address", REFUSED)
def test_refused_addresses(address: str) -> None:
    assert not Egress().permits(address)


@pytest.mark.parametrize("address", TAKEN)
def test_addresses_of_others(address: str) -> None:
    assert Egress.of([], own=True).permits(address)  # they may be this host's own


def test_networks_that_an_operator_closes() -> None:
    site = Egress.of(["10.1.0.0/24"], own=True, closed=["10.0.0.0/8", "fd00:5::/32"])
    for address in ("10.0.0.7", "::ffff:10.0.0.7", "64:ff9b::a00:7", "2002:a00:7::1", "fd00:5::1"):
        assert not site.permits(address)
    for address in ("10.1.0.7", "::ffff:10.1.0.7", "192.168.1.1", "fd00:6::1"):
        assert site.permits(address)
    with pytest.raises(Invalid, match="not asked for others"):
        site.url("http://10.0.0.7/", "It")


def test_what_is_allowed() -> None:
    loopback = Egress.of(LOOPBACK)
    assert loopback.permits("127.0.0.1") and loopback.permits("::1")
    assert loopback.permits("::ffff:127.0.0.1") and not loopback.permits("169.254.169.254")
    with pytest.raises(ValueError, match="nonsense"):
        Egress.of(["nonsense"])


@pytest.mark.parametrize(
    "url",
    [
        *("https://[::1", "https://[::1]:x", "https://x:99999", "gopher://x", "file:///etc/passwd"),
        *("http://", "http:///x", "", "x", "http://a b/", "http://a\nb/", "http://a\\@b/"),
        *("http://127.0.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/"),
        *("http://127.1/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/", "http://0/"),
        *("http://user@169.254.169.254/", "http://[::1]/", "HTTP://127.0.0.1", "http://[x]/"),
        "http://" + "x" * 3000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        Egress().url(url, "It")


def test_urls_that_are_taken() -> None:
    for url in ("http://images.example/a?b#c", "https://10.0.0.7:9999", "https://[fd00::7]:9999/x"):
        assert Egress().url(url, "It").geturl() == url
    assert Egress.of(LOOPBACK).url("https://[::1]:9999", "It").port == 9999


def test_any_text_is_a_url_or_refused() -> None:
    rng = random.Random(7)
    pieces = (
        *("http", "https", "://", "[", "]", ":", "@", "/", "%25", "%", "?", "#", "\\", "::1", "1"),
        *("127.0.0.1", "x", ".", "..", " ", "\n", "\0", "é", "xn--", "ß", "\ud800", "65536", "0x"),
    )
    egress = Egress()
    for _ in range(20_000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 12)))
        try:
            assert egress.url(text, "It").hostname
        except Invalid:
            continue


class _Names(AbstractResolver):
    """Gives an address the first time and another one afterwards."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]  # fmt: skip

    async def close(self) -> None:
        return None


@asynccontextmanager
async def inner(asked: list[str], port: int = 0) -> AsyncIterator[int]:
    """A server on this host that nobody may reach."""

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="secret")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _fetch(url: str, egress: Egress, **options: object) -> None:
    await http_client.ready()
    async with http_client.session(connector=egress.connector(**options)) as http, http.get(url):
        pass


async def test_names_and_numbers_that_mean_this_host() -> None:
    asked: list[str] = []
    async with inner(asked) as port:
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"):
            with pytest.raises((OSError, ClientError)):
                await _fetch(f"http://{host}:{port}/", Egress())
        with pytest.raises(OSError, match="egress"):
            await _fetch(f"http://harmless.example:{port}/", Egress(), resolver=_Names("127.0.0.1"))
        assert not asked
        await _fetch(f"http://127.0.0.1:{port}/", Egress.of(LOOPBACK))
        assert asked


async def test_redirects_and_names_that_change() -> None:
    """The first answer is of an address that is allowed, the next of another one."""
    asked: list[str] = []
    async with inner(asked) as port:

        async def lead(_request: web.Request) -> web.Response:
            raise web.HTTPFound(f"http://127.0.0.1:{port}/secret")

        app = web.Application()
        app.router.add_get("/", lead)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.2", 0).start()
        outside = runner.addresses[0][1]
        only = Egress.of(["127.0.0.2/32"])
        try:
            with pytest.raises(OSError):
                await _fetch(f"http://127.0.0.2:{outside}/", only)
            names = _Names("127.0.0.2", "127.0.0.1")
            with pytest.raises(OSError):
                await _fetch(f"http://name.example:{outside}/", only, resolver=names)
        finally:
            await runner.cleanup()
        assert not asked
