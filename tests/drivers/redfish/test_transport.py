"""How replies of controllers come: in segments, long, packed, hostile."""

import gzip
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers import DriverContext, Registry, build_registry
from ingot.drivers.faults import Refused
from ingot.drivers.redfish.client import LONGEST_REPLY, RedfishClient
from ingot.drivers.types import Access, PowerState
from ingot.kit.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
from service import SYSTEM, Service
from test_redfish import bench_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def context() -> AsyncIterator[DriverContext]:
    made = DriverContext(SystemClock())
    yield made
    await made.aclose()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    running = await Service().start()
    yield running
    await running.stop()


@pytest.fixture
def registry(context: DriverContext) -> Registry:
    return build_registry(context)


@pytest.fixture
def client(context: DriverContext) -> RedfishClient:
    return context.shared(RedfishClient, lambda: RedfishClient(context))


@pytest.fixture
def access(service: Service) -> Access:
    return Access("redfish", service.driver_info())


def answering(path: str, body: bytes, **headers: str) -> Any:
    """A quirk: the document at `path` is `body`."""

    def quirk(_: Service, _method: str, asked: str, _body: Any) -> web.Response | None:
        if asked != path:
            return None
        return web.Response(body=body, content_type="application/json", headers=headers)

    return quirk


@pytest.mark.parametrize("seed", range(5))
async def test_replies_in_segments(registry: Registry, service: Service, seed: int) -> None:
    service.segments = random.Random(seed)
    service.system["Oem"] = {"Words": "w" * 100_000}
    bench = bench_of(registry, service)
    assert await bench.power.get(bench.access) is PowerState.OFF


@pytest.mark.parametrize("packed", [False, True])
async def test_a_registry_of_several_megabytes(
    client: RedfishClient, service: Service, access: Access, packed: bool
) -> None:
    entry = b'{"AttributeName":"Attribute%d","HelpText":"%s","Type":"Enumeration"}'
    body = b",".join(entry % (n, b"help " * 60) for n in range(15_000))
    body = b'{"Id":"Big","RegistryEntries":{"Attributes":[' + body + b"]}}"
    assert 4 << 20 < len(body) < LONGEST_REPLY
    service.segments = random.Random(7)
    wire = gzip.compress(body) if packed else body
    headers = {"Content-Encoding": "gzip"} if packed else {}
    service.quirks.append(answering("/redfish/v1/Registries/Big.json", wire, **headers))
    reply = await client.get(access, "/redfish/v1/Registries/Big.json")
    entries: Any = reply.body["RegistryEntries"]
    assert len(entries["Attributes"]) == 15_000


async def test_too_long_a_reply_is_refused(
    client: RedfishClient, service: Service, access: Access
) -> None:
    bomb = gzip.compress(b"A" * (LONGEST_REPLY * 8))
    service.quirks.append(answering(SYSTEM, bomb, **{"Content-Encoding": "gzip"}))
    service.quirks.append(answering("/redfish/v1/Long", b"A" * (LONGEST_REPLY + 1)))
    for path in (SYSTEM, "/redfish/v1/Long"):
        with pytest.raises(Refused, match=str(LONGEST_REPLY)) as told:
            await client.get(access, path)
        assert path in told.value.cause


@pytest.mark.parametrize("deep", [100, 5000])
async def test_a_nested_reply_is_refused(
    client: RedfishClient, service: Service, access: Access, deep: int
) -> None:
    service.quirks.append(answering(SYSTEM, b'{"a":' * deep + b"1" + b"}" * deep))
    with pytest.raises(Refused, match="nested"):
        await client.get(access, SYSTEM)
