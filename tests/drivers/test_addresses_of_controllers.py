"""Controllers that driver_info puts on this host or beside a metadata service: nothing is sent there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.hardware import build_registry
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.types import Access
from ingot.kit.faults import Fault
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import SystemClock

pytestmark = pytest.mark.anyio

#: Ways to name this host; the second one only a resolver understands.
NAMES = ("127.0.0.1", "localhost", "2130706433")


@asynccontextmanager
async def _registry(egress: Egress) -> AsyncIterator[Registry]:
    made = build_registry(DriverContext(SystemClock(), egress=egress))
    try:
        yield made
    finally:
        await made.aclose()


@asynccontextmanager
async def _http(met: list[bytes]) -> AsyncIterator[int]:
    """Notes whoever connects, and answers as any service with JSON might."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, met: list[bytes]) -> None:
        self._met = met

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._met.append(data)


@asynccontextmanager
async def _udp(met: list[bytes]) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(met), local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def _refused(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(Unsupported) as caught:
        await asyncio.wait_for(call(), 8)
    assert (
        "is not asked for others" in caught.value.cause and "[egress] allow" in caught.value.cause
    )
    assert "Correct " in caught.value.next_action and not caught.value.transient


@pytest.mark.parametrize("host", NAMES[:2])
async def test_redfish_on_this_host(host: str) -> None:
    met: list[bytes] = []
    async with _http(met) as port, _registry(Egress()) as registry:
        for scheme in ("http", "https"):
            info = {
                "redfish_address": f"{scheme}://{host}:{port}",
                "redfish_username": "root",
                "redfish_password": "secret-of-bmc",
                "redfish_verify_ca": False,
            }
            access = registry.access("redfish", info)
            await _refused(lambda access=access: registry.power("redfish").get(access))
            await _refused(
                lambda access=access: registry.management("redfish").get_boot_device(access)
            )
    assert not met


async def test_redfish_where_loopback_is_allowed() -> None:
    met: list[bytes] = []
    async with _http(met) as port, _registry(Egress.of(LOOPBACK)) as registry:
        info = {"redfish_address": f"http://localhost:{port}", "redfish_auth_type": "none"}
        with pytest.raises(Fault) as caught:
            await registry.power("redfish").get(registry.access("redfish", info))
    assert "egress" not in caught.value.text and met


@pytest.mark.parametrize("version", ["2.0", "1.5"])
@pytest.mark.parametrize("host", NAMES)
async def test_ipmi_on_this_host(host: str, version: str) -> None:
    met: list[bytes] = []
    async with _udp(met) as port, _registry(Egress()) as registry:
        access = _ipmi(registry, host, port, version)
        console = registry.console("ipmi", "ipmitool-sol")
        assert console is not None
        await _refused(lambda: registry.power("ipmi").get(access))
        await _refused(lambda: registry.management("ipmi").sensors(access))
        await _refused(lambda: console.open(access))
        await asyncio.sleep(0.1)
    assert not met


async def test_ipmi_where_loopback_is_allowed() -> None:
    met: list[bytes] = []
    async with _udp(met) as port, _registry(Egress.of(LOOPBACK)) as registry:
        access = _ipmi(registry, "localhost", port, "2.0")
        asking = asyncio.ensure_future(registry.power("ipmi").get(access))
        while not met:
            assert not asking.done()
            await asyncio.sleep(0.01)
        asking.cancel()


def _ipmi(registry: Registry, host: str, port: int, version: str) -> Access:
    info = {
        "ipmi_address": host,
        "ipmi_port": port,
        "ipmi_username": "root",
        "ipmi_password": "secret-of-bmc",
        "ipmi_protocol_version": version,
    }
    return registry.access("ipmi", info)


@pytest.mark.parametrize(
    ("driver", "info"),
    [
        ("redfish", {"redfish_address": "https://169.254.169.254"}),
        ("redfish", {"redfish_address": "127.0.0.1:8000"}),
        ("redfish", {"redfish_address": "http://[::ffff:7f00:1]:80"}),
        ("ipmi", {"ipmi_address": "0x7f000001"}),
        ("ipmi", {"ipmi_address": "::1"}),
    ],
)
async def test_validate_tells_it(driver: str, info: dict[str, str]) -> None:
    async with _registry(Egress()) as registry, _registry(Egress.anywhere()) as tools:
        for capability in ("power", "management"):
            (problem,) = registry.validate(driver, info)[capability]
            assert problem.option in info and "[egress] allow" in problem.text
            assert not tools.validate(driver, info)[capability]


@pytest.mark.parametrize("address", ["10.20.30.40", "https://[fd00:77::1]:8443", "bmc.example"])
async def test_validate_takes_the_addresses_of_controllers(address: str) -> None:
    async with _registry(Egress()) as registry:
        assert not registry.validate("redfish", {"redfish_address": address})["power"]
