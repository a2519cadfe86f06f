"""Which addresses a tenant may choose by an order of a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compute.cloud import cloud

pytestmark = pytest.mark.anyio


async def test_a_tenant_chooses_no_address_on_a_network_of_others(tmp_path: Path) -> None:
    """As by the Networking API, which says 403 too; least of all the gateway's."""
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        order = {"name": "x", "flavorRef": flavor, "imageRef": here.image_id}
        for address in ("192.0.2.1", "192.0.2.77"):
            networks = [{"uuid": here.network_id, "fixed_ip": address}]
            body = {"server": {**order, "networks": networks}}
            await here.post("/servers", body, who="demo", status=403)
        ports = await here.db.read(lambda conn: here.networks.ports_of_device(conn, ""))
        assert not ports
        # The network's owner may, and a tenant without a wish gets one.
        body = {
            "server": {**order, "networks": [{"uuid": here.network_id, "fixed_ip": "192.0.2.77"}]}
        }
        await here.post("/servers", body, who="admin", status=202)
        body = {"server": {**order, "networks": [{"uuid": here.network_id}]}}
        await here.post("/servers", body, who="demo", status=202)
