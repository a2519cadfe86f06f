"""What the catalogue lists: the services that are served here, and what others are told to be elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.site.server import Site, site

pytestmark = pytest.mark.anyio


async def listed(here: Site) -> dict[str, str]:
    """URLs of public endpoints by type of service."""
    answer = await here.ask("identity", "GET", "/v3/auth/catalog", status=200)
    return {
        one["type"]: point["url"]
        for one in answer.body["catalog"]
        for point in one["endpoints"]
        if point["interface"] == "public"
    }


async def test_an_outside_nova_takes_the_place_of_ours(tmp_path: Path) -> None:
    """A room that is off is in nobody's way: neither in the catalogue nor as a service that cannot be changed."""
    rooms: Any = {"": {"rooms": ["identity", "baremetal", "image", "network"]}}
    async with site(tmp_path, **rooms) as here:
        assert set(await listed(here)) == {"identity", "baremetal", "image", "network"}
        body: Any = {"service": {"type": "compute", "name": "nova"}}
        made = await here.ask("identity", "POST", "/v3/services", body, status=201)
        service, url = made.body["service"]["id"], "http://nova.example/v2.1"
        body = {"endpoint": {"service_id": service, "interface": "public", "url": url}}
        await here.ask("identity", "POST", "/v3/endpoints", body, status=201)
        assert (await listed(here))["compute"] == url
        path = f"/v3/services/{service}"
        off = {"service": {"enabled": False}}
        await here.ask("identity", "PATCH", path, off, status=200)
        assert "compute" not in await listed(here)
        await here.ask("identity", "DELETE", path, status=204)
        await here.ask("compute", "GET", "/servers", status=404)
