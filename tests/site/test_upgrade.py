"""A database that an earlier release left, in use, is brought up to date with all that is in it.

`release_0008.sql` was written by that release: a server on a machine, an image, an upload whose host is gone, a key
pair, a server group, an application credential, and a console door of which nobody noted who opened it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.site.server import Site, run, site

pytestmark = pytest.mark.anyio

LEFT = Path(__file__).with_name("release_0008.sql")
#: The key file of that cloud, which was made for this test and is no more.
KEY = "ANZwpkW8MpxFK-GqmjsylAhgVGwMLs3L4AZqsbq8x7E="


async def images(here: Site) -> dict[str, str]:
    found = (await here.ask("image", "GET", "/v2/images", status=200)).body["images"]
    return {one["name"]: one["status"] for one in found}


async def test_what_was_there_is_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with sqlite3.connect(state / "ingot.db") as db:
        db.executescript(LEFT.read_text())
    (state / "vault.key").write_text(KEY)
    (state / "vault.key").chmod(0o600)
    async with site(tmp_path) as here:
        servers = (await here.ask("compute", "GET", "/servers/detail", status=200)).body["servers"]
        assert [(one["name"], one["status"]) for one in servers] == [("srv1", "ACTIVE")]
        assert servers[0]["addresses"]["net1"][0]["addr"] == "10.9.0.2"
        (node,) = (await here.ask("baremetal", "GET", "/v1/nodes/detail", status=200)).body["nodes"]
        assert node["instance_uuid"] == servers[0]["id"] and node["provision_state"] == "active"
        groups = (await here.ask("compute", "GET", "/os-server-groups", status=200)).body
        assert [one["name"] for one in groups["server_groups"]] == ["g1"]
        keys = (await here.ask("compute", "GET", "/os-keypairs", status=200)).body["keypairs"]
        assert [one["keypair"]["name"] for one in keys] == ["k1"]
        async with asyncio.timeout(30):
            while (await here.node(node["uuid"]))["console_enabled"]:
                await asyncio.sleep(0.1)  # nobody answers for that door
            while await images(here) != {"i1": "active", "i2": "queued"}:
                await asyncio.sleep(0.1)
        # And all goes on: the old server ends, and its machine is free.
        await here.remove_server(servers[0]["id"])
        await here.node_in(node["uuid"], "available")
        await here.nothing_claimed(node["uuid"])
        assert "Traceback" not in here.log()
        code, told, _ = await run("db", "check", "--config", "ingot.toml", cwd=tmp_path)
        assert code == 0 and "newest" in told
