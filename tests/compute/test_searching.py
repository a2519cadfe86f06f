"""Lists of servers by what clients write: names and addresses by patterns, flavors, tags."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ingot.kit.auth.policy import Caller
from ingot.services.compute import store
from ingot.services.compute.service import Draft
from ingot.services.compute.types import Address, Flavor, Secrets
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio

FLAVOR = Flavor(id="small", name="small", vcpus=1, ram=1, disk=1)


async def order(here: Cloud, name: str, addr: str = "", tags: tuple[str, ...] = ()) -> str:
    """A server's record alone, nothing works on it; its uuid."""
    project = here.made.admin_project_id
    caller = Caller(user_id="u", project_id=project, roles=frozenset({"member"}))
    flavor = FLAVOR if "%" not in name else Flavor(id='o"dd', name="odd", vcpus=1, ram=1, disk=1)
    draft = Draft(
        name=name, flavor=flavor, image_id=here.image_id, networks=(), secrets=Secrets(), tags=tags
    )

    def make(conn: Any) -> str:
        (uuid,) = here.compute.create(conn, draft, caller, "req-1").uuids
        if addr:
            one = Address(label="n", addr=addr, version=4, mac="02:00:00:00:00:01", port="p")
            store.update_server(conn, uuid, addresses=(one,))
        return uuid

    return await here.db.write(make)


async def found(here: Cloud, query: str) -> list[str]:
    listed = await here.get(f"/servers?sort_key=name&sort_dir=asc&{query}", version="2.96")
    return [server["name"] for server in listed["servers"]]


async def test_servers_are_found(tmp_path: Path, database: str) -> None:
    async with cloud(tmp_path, 1, database=database) as here:
        await here.dispatcher.stop()
        await order(here, "Web-1", "192.0.2.5", ("a", "b"))
        await order(here, "web-2", "192.0.2.51", ("b", 'c"d'))
        await order(here, "db%_x", "198.51.100.7")
        for query, names in (
            ("name=web", ["Web-1", "web-2"]),
            ("name=^web-1$", ["Web-1"]),
            ("name=" + quote("web-[2-9]+"), ["web-2"]),
            ("name=" + quote("db%_"), ["db%_x"]),
            ("name=" + quote("d.%"), ["db%_x"]),
            ("name=%2B", None),
            ("name=" + "a" * 600, None),
            ("ip=192.0.2.5", ["Web-1", "web-2"]),
            ("ip=" + quote("^192.0.2.5$"), ["Web-1"]),
            ("ip=" + quote("(198|203)[.]"), ["db%_x"]),
            ("ip6=192", []),
            ("flavor=small", ["Web-1", "web-2"]),
            ("flavor=smal", []),
            ("flavor=" + quote('o"dd'), ["db%_x"]),
            ("tags=b", ["Web-1", "web-2"]),
            ("tags=a,b", ["Web-1"]),
            ("tags=B", []),
            ("tags-any=a," + quote('c"d'), ["Web-1", "web-2"]),
            ("tags=d", []),
            ("not-tags=a", ["db%_x", "web-2"]),
        ):
            if names is None:
                await here.call("GET", f"/servers?{query}", status=400)
            else:
                assert await found(here, query) == names, query
        page = await here.get("/servers?name=(web%7Cdb)&limit=1&sort_key=name&sort_dir=asc")
        assert [server["name"] for server in page["servers"]] == ["Web-1"]
        marker = page["servers"][0]["id"]
        query = f"/servers?name=(web%7Cdb)&limit=1&sort_key=name&sort_dir=asc&marker={marker}"
        page = await here.get(query)
        assert len(page["servers"]) == 1 and page["servers"][0]["name"] != "Web-1"


async def test_no_pattern_holds_anybody_up(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.dispatcher.stop()
        await order(here, "a" * 60 + "!", "192.0.2.5")
        begun = time.process_time()
        for pattern in ("(a+)+$", "(a|a)*$", "(a*)*b", "([0-9.]+)+$x"):
            for name in ("name", "ip", "ip6", "display_name"):
                await found(here, f"{name}={quote(pattern, safe='')}")
        assert time.process_time() - begun < 5
