"""Orders of servers: what is looked up, counted and stored is so in one transaction; lists read what they show."""

from __future__ import annotations

import asyncio
import base64
import gzip
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from ingot.kit.faults import Fault
from ingot.services.compute.tables import servers
from ingot.services.compute.workflows.machines import make_ports
from ingot.services.network import quota_store
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio
T = TypeVar("T")


async def stored(here: Cloud, *columns: sa.Column[Any]) -> list[Any]:
    return await here.db.read(lambda conn: list(conn.execute(sa.select(*columns))))


async def order(here: Cloud, flavor: str, **more: Any) -> tuple[int, Any]:
    """Status and body of an order by the demo project."""
    body = {
        "name": "many",
        "flavorRef": flavor,
        "imageRef": here.image_id,
        "networks": "none",
        **more,
    }
    hints = body.pop("hints", {})
    whole = {"server": body, **({"os:scheduler_hints": hints} if hints else {})}
    status, told, _ = await here.call("POST", "/servers", whole, who="demo", version="2.64")
    return status, told


async def behind(here: Cloud, statement: str, request: Coroutine[Any, Any, T]) -> T:
    """What a request answers that comes while somebody else's change is under way."""
    begun, go = threading.Event(), threading.Event()

    def change(conn: sa.Connection) -> None:
        conn.exec_driver_sql(statement)
        begun.set()
        assert go.wait(20)

    writer = asyncio.ensure_future(here.db.write(change))
    while not begun.is_set():
        await asyncio.sleep(0.01)
        assert not writer.done() or await writer
    waits = asyncio.ensure_future(request)
    await asyncio.sleep(0.5)
    assert not waits.done(), "the request waits for the writer"
    go.set()
    await writer
    return await waits


async def test_as_many_are_made_as_the_quota_leaves(tmp_path: Path, database: str) -> None:
    """Upstream's rule: as many of max_count as there is room for, nothing below min_count."""
    async with cloud(tmp_path, 1, database=database) as here:
        flavor, project = await here.flavor(), here.made.demo_project_id
        quota = {"quota_set": {"instances": 4, "cores": 9, "ram": 3 * 1024}}
        await here.call("PUT", f"/os-quota-sets/{project}", quota, status=200)
        status, told = await order(here, flavor, min_count=4, max_count=6)
        assert status == 403 and "Quota exceeded for ram" in told["forbidden"]["message"]
        assert await stored(here, servers.c.uuid) == []
        used = (await here.get("/limits", who="demo"))["limits"]["absolute"]
        assert used["totalInstancesUsed"] == used["totalRAMUsed"] == 0
        assert (await order(here, flavor, min_count=2, max_count=6))[0] == 202
        names = sorted(name for (name,) in await stored(here, servers.c.name))
        assert names == ["many-1", "many-2", "many-3"]
        assert (await order(here, flavor, min_count=1, max_count=2))[0] == 403
        quota["quota_set"]["ram"] = -1
        await here.call("PUT", f"/os-quota-sets/{project}", quota, status=200)
        assert (await order(here, flavor, min_count=1, max_count=2))[0] == 202
        assert "many" in [name for (name,) in await stored(here, servers.c.name)]
        used = (await here.get("/limits", who="demo"))["limits"]["absolute"]
        assert used["totalInstancesUsed"] == 4 and used["totalRAMUsed"] == 4 * 1024


async def test_what_an_order_names_is_there_when_it_is_stored(tmp_path: Path) -> None:
    """What goes while an order waits for the writer is not ordered."""
    async with cloud(tmp_path, 1) as here:
        flavor, other = await here.flavor(), await here.flavor("other")
        body = {"server_group": {"name": "g", "policy": "soft-affinity"}}
        made = await here.post("/os-server-groups", body, who="demo", version="2.64", status=200)
        group = made["server_group"]["id"]
        ends = [
            (
                f"DELETE FROM server_groups WHERE id = '{group}'",
                "group",
                {"hints": {"group": group}},
            ),
            (f"DELETE FROM flavors WHERE id = '{other}'", "Flavor", {"flavorRef": other}),
            ("UPDATE image_images SET visibility = 'private'", "Image", {}),
        ]
        for statement, word, more in ends:
            status, told = await behind(here, statement, order(here, flavor, **more))
            assert status == 400 and word in told["badRequest"]["message"], told
        assert await stored(here, servers.c.uuid) == []


async def test_user_data_is_read_where_it_is_shown(tmp_path: Path) -> None:
    """What is kept of it is no longer than what came, and ends with the server."""
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        packed = base64.b64encode(gzip.compress(b"#cloud-config\n" * 70_000)).decode()
        status, told = await order(here, flavor, user_data=packed)
        assert status == 202
        uuid = told["server"]["id"]
        ((sealed,),) = await stored(here, servers.c.sealed)
        assert len(sealed) < 4 * len(packed) + 1000
        statements: list[str] = []

        def note(text: str, *_: Any) -> None:
            if "FROM servers" in text and "ORDER BY" in text:
                statements.append(text)

        here.db.on_statement(note)
        for path, who in (("/servers", "demo"), ("/servers/detail", "demo"), ("/servers", "admin")):
            for query in ("", "?name=%5Ema", "?tags=x", "?ip=1"):
                await here.get(path + query, who=who, version="2.64")
        assert statements
        hidden = ("servers.sealed", 'servers."key"')
        assert [text for text in statements if any(name in text for name in hidden)] == []
        statements.clear()
        detail = await here.get("/servers/detail?all_tenants=1", version="2.3")
        assert detail["servers"][0]["OS-EXT-SRV-ATTR:user_data"] == packed
        assert [text for text in statements if "sealed" in text]
        await here.call("DELETE", f"/servers/{uuid}", who="demo", status=204)
        await here.server_is(uuid, "gone")
        assert await stored(here, servers.c.sealed) == [("",)]
        gone = await here.get("/servers/detail?deleted=1&all_tenants=1", version="2.3")
        assert gone["servers"][0]["OS-EXT-SRV-ATTR:user_data"] is None


async def test_the_quota_of_ports_holds_for_servers(tmp_path: Path, database: str) -> None:
    """Upstream's words and rule: as many servers as there is room for their ports, 403 below min_count."""
    async with cloud(tmp_path, 1, database=database) as here:
        flavor, project = await here.flavor(), here.made.demo_project_id

        def limit(conn: sa.Connection, most: int) -> None:
            quota_store.set_quotas(conn, project, {"port": most})

        await here.db.write(lambda conn: limit(conn, 2))
        request = {"networks": [{"uuid": here.network_id}]}
        status, told = await order(here, flavor, min_count=3, max_count=4, **request)
        assert status == 403 and "Maximum number of ports exceeded" in str(told), told
        assert (await order(here, flavor, min_count=1, max_count=4, **request))[0] == 202
        assert len(await stored(here, servers.c.uuid)) == 2
        assert (await order(here, flavor, min_count=3, max_count=3))[0] == 202, "without networks"


async def test_ports_that_went_meanwhile_are_told(tmp_path: Path) -> None:
    """The order is looked at, but the ports come later: the step looks again."""
    async with cloud(tmp_path, 1) as here:
        flavor, project = await here.flavor(), here.made.demo_project_id
        assert (await order(here, flavor, networks=[{"uuid": here.network_id}]))[0] == 202
        ((uuid,),) = await stored(here, servers.c.uuid)
        await here.db.write(lambda conn: quota_store.set_quotas(conn, project, {"port": 0}))

        def wire(conn: sa.Connection) -> int:
            return make_ports(here.compute, conn, here.compute.get(conn, uuid))

        with pytest.raises(Fault, match="Quota exceeded for resources"):
            await here.db.write(wire, serializable=False)
        used = await here.db.read(lambda conn: quota_store.used(conn, project))
        assert used["port"] == 0
