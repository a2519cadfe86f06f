"""Servers over simulated machines: ordered, used, broken and deleted through the Compute API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compute.cloud import cloud

pytestmark = pytest.mark.anyio


async def test_from_order_to_gone(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol()
        flavor = await here.flavor()
        uuid = await here.boot(flavor)
        server = await here.server_is(uuid, "ACTIVE")
        (address,) = server["addresses"]["provider"]
        assert address["OS-EXT-IPS-MAC:mac_addr"]
        await here.call("DELETE", f"/servers/{uuid}", status=204)
        await here.server_is(uuid, "gone")
        await here.node_is(node, "available")
        assert await here.claimed() == []
