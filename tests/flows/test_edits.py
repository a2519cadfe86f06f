"""An edit is in force at the machine's next question, and costs the same beside many nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from tests.flows.site import cloud

pytestmark = pytest.mark.anyio

NODES = 300
HEADERS = {"X-OpenStack-Ironic-API-Version": "1.99"}


def mac(number: int) -> str:
    return f"52:54:00:01:{number >> 8:02x}:{number & 255:02x}"


async def test_a_port_edited_is_a_boot_script_moved(tmp_path: Path) -> None:
    async with (
        cloud(tmp_path, helping=False) as here,
        aiohttp.ClientSession(here.url, headers=HEADERS) as client,
    ):

        def fill(conn: Any) -> list[tuple[str, str]]:
            made: list[tuple[str, str]] = []
            for number in range(NODES):
                node = here.baremetal.create_node(conn, {"driver": "fake-hardware"})
                port = here.baremetal.create_port(
                    conn, {"node_uuid": node.uuid, "address": mac(number)}
                )
                made.append((node.uuid, port))
            return made

        made = await here.db.write(fill)

        async def boots(address: str) -> int:
            async with client.get(f"/boot/{address}") as reply:
                return reply.status

        assert await boots(mac(7)) == 200
        change = [{"op": "replace", "path": "/address", "value": "52:54:00:02:00:01"}]
        async with client.patch(f"/baremetal/v1/ports/{made[7][1]}", json=change) as reply:
            assert reply.status == 200, await reply.text()
        # No wait and no loop between: the answer comes from the rows.
        assert await boots("52:54:00:02:00:01") == 200
        assert await boots(mac(7)) == 404
        # What the machine boots is decided at the question too.
        want = [{"op": "add", "path": "/properties/capabilities", "value": "boot_mode:bios"}]
        async with client.patch(f"/baremetal/v1/nodes/{made[8][0]}", json=want) as reply:
            assert reply.status == 200, await reply.text()
        async with client.get(f"/boot/{mac(8)}") as reply:
            bios = await reply.text()
        async with client.get(f"/boot/{mac(9)}") as reply:
            assert bios != await reply.text()


async def test_a_machine_that_starts_while_the_database_is_away_asks_again(tmp_path: Path) -> None:
    """Refused, its firmware would go on to the next device, and many halt there."""
    async with (
        cloud(tmp_path, helping=False) as here,
        aiohttp.ClientSession(here.url) as client,
    ):

        def enrol(conn: Any) -> None:
            node = here.baremetal.create_node(conn, {"driver": "fake-hardware"})
            here.baremetal.create_port(conn, {"node_uuid": node.uuid, "address": mac(1)})

        await here.db.write(enrol)
        await here.db.write(lambda conn: conn.execute(sa.text("ALTER TABLE nodes RENAME TO gone")))
        async with client.get(f"/boot/{mac(1)}") as reply:
            assert reply.status == 200
            text = await reply.text()
        assert "the database does not answer" in text and f"/boot/{mac(1)} || goto again" in text
        await here.db.write(lambda conn: conn.execute(sa.text("ALTER TABLE gone RENAME TO nodes")))
        async with client.get(f"/boot/{mac(1)}") as reply:
            assert reply.status == 200 and "database" not in await reply.text()
