"""Controllers whose address is given as http and that answer only by https, as many do after a reset."""

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from ingot.drivers.faults import DriverFault, Refused, Unreachable
from ingot.drivers.machine import DriverContext, Registry
from ingot.drivers.machine.redfish.client import RedfishClient
from ingot.drivers.machine.redfish.links import upgraded
from ingot.drivers.machine.types import Access, PowerState, PowerTarget

sys.path.insert(0, str(Path(__file__).parent))
from service import PASSWORD, SYSTEM, Service
from test_redfish import bench_of, make_certificate

pytestmark = pytest.mark.anyio

_ANSWER = "HTTP/1.1 {} Moved\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Door:
    """One port: who speaks TLS there reaches the service, who does not is sent to https (or where `lead` says)."""

    service: Service
    status: int = 301
    port: int = 0
    lead: str = ""
    plain: list[str] = field(default_factory=list[str])

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def meet(self, line: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with line:
            line.setblocking(False)
            head = await loop.sock_recv(line, 65536)
            if head[:1] == b"\x16":
                await self._pass(line, head)
                return
            while b"\r\n\r\n" not in head:
                head += await loop.sock_recv(line, 65536)
            method, path, _ = head.decode().split(" ", 2)
            self.plain.append(f"{method} {path}")
            there = self.lead or f"https://127.0.0.1:{self.port}{path}"
            await loop.sock_sendall(line, _ANSWER.format(self.status, there).encode())

    async def _pass(self, line: socket.socket, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as inner:
            inner.setblocking(False)
            await loop.sock_connect(inner, ("127.0.0.1", int(self.service.base.rpartition(":")[2])))
            await loop.sock_sendall(inner, first)

            async def pump(one: socket.socket, other: socket.socket) -> None:
                while data := await loop.sock_recv(one, 65536):
                    await loop.sock_sendall(other, data)
                with contextlib.suppress(OSError):
                    other.shutdown(socket.SHUT_WR)

            await asyncio.gather(pump(line, inner), pump(inner, line), return_exceptions=True)


@contextlib.asynccontextmanager
async def opened(door: Door) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        door.port = listening.getsockname()[1]

        async def accept() -> None:
            while True:
                line, _ = await loop.sock_accept(listening)
                tasks.add(asyncio.ensure_future(door.meet(line)))

        tasks.add(asyncio.ensure_future(accept()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(make_certificate(tmp_path))
    service = await Service().start(tls)
    made = Door(service)
    async with opened(made):
        yield made
    await service.stop()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("auth", ["session", "basic"])
async def test_a_controller_that_wants_tls(
    registry: Registry, door: Door, status: int, auth: str
) -> None:
    door.status = status
    bench = bench_of(registry, door.service)
    changes = {"redfish_address": door.base, "redfish_verify_ca": False, "redfish_auth_type": auth}
    access = bench.with_options(changes)
    assert await bench.power.get(access) is PowerState.OFF
    await bench.power.set(access, PowerTarget.ON)
    assert await bench.power.get(access) is PowerState.ON
    assert len(door.plain) == 1, "all but the first go by TLS from the beginning"


async def test_the_certificate_counts_there(registry: Registry, door: Door) -> None:
    bench = bench_of(registry, door.service)
    with pytest.raises(Unreachable, match="certificate is not trusted"):
        await bench.power.get(bench.with_options({"redfish_address": door.base}))
    assert not door.service.asked


async def test_nothing_goes_from_tls_to_none(context: DriverContext, door: Door) -> None:
    """Not for a service named by https, nor for one that had wanted it a moment ago."""
    client = context.shared(RedfishClient, lambda: RedfishClient(context))
    info = {**door.service.driver_info(), "redfish_verify_ca": False}
    secure = {**info, "redfish_address": door.base.replace("http:", "https:")}
    named, moved = (
        Access("redfish", secure),
        Access("redfish", {**info, "redfish_address": door.base}),
    )
    await client.get(moved, SYSTEM)
    door.plain.clear()

    def down(_: Service, _method: str, path: str, _body: object) -> web.Response | None:
        if path != "/redfish/v1/Down":
            return None
        return web.Response(status=308, headers={"Location": f"{door.base}{SYSTEM}"})

    door.service.quirks.append(down)
    for access in (named, moved):
        for method in ("GET", "POST", "PATCH", "DELETE"):
            with pytest.raises(Refused, match="points to"):
                await client.call(access, method, "/redfish/v1/Down", None)
    assert not door.plain


@pytest.mark.parametrize(
    "lead", ["https://127.0.0.2:PORT/", "https://127.0.0.1:1/", "//127.0.0.2/"]
)
async def test_tls_elsewhere_is_elsewhere(registry: Registry, door: Door, lead: str) -> None:
    door.lead = lead.replace("PORT", str(door.port))
    bench = bench_of(registry, door.service)
    with pytest.raises(DriverFault) as caught:
        await bench.power.get(
            bench.with_options({"redfish_address": door.base, "redfish_verify_ca": False})
        )
    assert PASSWORD not in caught.value.cause and not door.service.asked


@pytest.mark.parametrize(
    ("base", "location", "found"),
    [
        ("http://h", "https://h/redfish/v1/", "https://h"),
        ("http://h:80", "https://H:443/redfish/v1/", "https://h"),
        ("http://h:8000", "https://h/redfish/v1/", "https://h"),
        ("http://h:8000", "https://h:8000/redfish/v1/", "https://h:8000"),
        ("http://[fd00::1]", "https://[fd00::1]/redfish/v1/", "https://[fd00::1]"),
        ("http://h:8000", "https://h:8001/redfish/v1/", ""),
        ("http://h", "https://h.evil/redfish/v1/", ""),
        ("http://h", "https://u@h/redfish/v1/", ""),
        ("http://h", "https://h\\@evil/", ""),
        ("http://h", "/redfish/v1/", ""),
        ("https://h", "http://h/redfish/v1/", ""),
        ("https://h", "https://h/redfish/v1/", ""),
        ("http://h", "https://[h/", ""),
    ],
)
def test_what_counts_as_the_same_host(base: str, location: str, found: str) -> None:
    assert upgraded(base, "/redfish/v1", location) == found
