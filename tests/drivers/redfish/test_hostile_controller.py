"""What a controller tells to do harm: headers in ETags, documents of a million values, endless lists."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers.faults import Refused
from ingot.drivers.machine import Registry
from ingot.drivers.machine.types import BootDevice

sys.path.insert(0, str(Path(__file__).parent))
from service import SYSTEM, Service

pytestmark = pytest.mark.anyio


def told(service: Service, path: str, body: bytes) -> None:
    """These octets for that path, without a header of an ETag."""

    def quirk(_: Service, method: str, asked: str, _body: Any) -> web.Response | None:
        if method == "GET" and asked == path:
            return web.Response(body=body, content_type="application/json")
        return None

    service.quirks.append(quirk)


@pytest.mark.parametrize("etag", ['"a"\r\nX-Evil: 1', "\x00", "a b", '"' + "e" * 9000 + '"'])
async def test_an_etag_is_no_way_into_our_headers(
    registry: Registry, service: Service, etag: str
) -> None:
    told(service, SYSTEM, json.dumps({**service.system, "@odata.etag": etag}).encode())
    heard: list[str | None] = []

    def listen(_: Service, method: str, _path: str, _body: Any) -> None:
        heard.append(method)

    service.quirks.insert(0, listen)
    access = registry.access("redfish", service.driver_info(), key="bench")
    client = registry.management("redfish")
    try:
        await client.set_boot_device(access, BootDevice.PXE, False, None)
    except Refused:
        pass  # what it tells afterwards is not what was set; that it was asked is what counts
    assert "PATCH" in heard


async def test_a_document_of_very_many_values_is_refused_before_it_is_read(
    registry: Registry, service: Service
) -> None:
    many = b'{"Members": [' + b"{}," * 300_000 + b"{}]}"
    told(service, f"{SYSTEM}/EthernetInterfaces", many)
    access = registry.access("redfish", service.driver_info(), key="bench")
    data: Any = await registry.inspect("redfish", "redfish").inspect(access)
    assert data["inventory"]["interfaces"] == []
    (line,) = [one for one in data["untold"] if "EthernetInterfaces" in one]
    assert "more than 250000 values" in line


async def test_settings_and_sensors_without_end_are_cut(
    registry: Registry, service: Service
) -> None:
    service.system["Bios"] = {"@odata.id": "/b"}
    service.resources["/b"] = {"Attributes": {f"a{number}": "v" for number in range(20_000)}}
    service.system["Links"] = {"Chassis": [{"@odata.id": "/c"}]}
    service.resources["/c"] = {"Thermal": {"@odata.id": "/t"}}
    one = {"Name": "x\x1b" * 90, "ReadingCelsius": 1}
    service.resources["/t"] = {
        "Temperatures": [{**one, "MemberId": str(n)} for n in range(100)] * 60
    }
    access = registry.access("redfish", service.driver_info(), key="bench")
    assert len(await registry.bios("redfish").settings(access)) == 4096
    sensors = await registry.management("redfish").sensors(access)
    assert len(sensors) == 4096
    assert all(len(one.name) <= 255 and one.name.isprintable() for one in sensors)
