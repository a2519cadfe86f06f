"""Ports by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, world

pytestmark = pytest.mark.anyio
LINK = {"switch_id": "00:11:22:33:44:55", "port_id": "Eth1"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def port(api: World, number: int, **values: Any) -> dict[str, Any]:
    body = {"address": f"52:54:00:00:00:{number:02x}", **values}
    reply = await api.ask("POST", "/v1/ports", body)
    assert reply.status == 201, reply.json
    return reply.json


async def test_create_show_patch_delete(api: World) -> None:
    node = await api.node(name="n1")
    body = {"node_uuid": node["uuid"], "address": "52-54-00-AA-BB-CC", "name": "eth0"}
    reply = await api.ask("POST", "/v1/ports", body)
    assert reply.status == 201 and reply.json["address"] == "52:54:00:aa:bb:cc"
    path = f"/v1/ports/{reply.json['uuid']}"
    assert reply.headers["location"].endswith("/baremetal" + path)
    assert (await api.ask("GET", path)).json == reply.json
    assert (await api.ask("GET", "/v1/ports/eth0")).json == reply.json
    patch = [
        {"op": "add", "path": "/extra/a", "value": 1},
        {"op": "replace", "path": "/pxe_enabled", "value": "false"},
        {"op": "add", "path": "/local_link_connection", "value": LINK},
    ]
    shown = (await api.ask("PATCH", path, patch)).json
    assert shown["extra"] == {"a": 1} and shown["pxe_enabled"] is False
    assert shown["local_link_connection"] == LINK
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("GET", path)).status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"address": "52:54:00:00:00:09"}, 400),
        ({"address": "nonsense", "node_ident": "n1"}, 400),
        ({"address": 5, "node_ident": "n1"}, 400),
        ({"address": "52:54:00:00:00:09", "node_uuid": "n1"}, 400),
        ({"address": "52:54:00:00:00:09", "node_ident": "nobody"}, 400),
        ({"address": "52:54:00:00:00:09", "node_ident": "n1", "more": 1}, 400),
        ({"address": "52:54:00:00:00:09", "node_ident": "n1", "extra": 1}, 400),
        ({"address": "52:54:00:00:00:09", "node_ident": "n1", "physical_network": ""}, 400),
        ({"address": "52:54:00:00:00:09", "node_ident": "n1", "is_smartnic": True}, 400),
        (
            {
                "address": "52:54:00:00:00:09",
                "node_ident": "n1",
                "local_link_connection": {"port_id": "x"},
            },
            400,
        ),
        (
            {
                "address": "52:54:00:00:00:09",
                "node_ident": "n1",
                "local_link_connection": {**LINK, "switch_id": "?"},
            },
            400,
        ),
        ({"address": "52:54:00:00:00:01", "node_ident": "n1"}, 409),
        ({"address": "52:54:00:00:00:09", "node_ident": "n1", "name": "taken"}, 409),
    ],
)
async def test_bad_bodies(api: World, body: dict[str, Any], status: int) -> None:
    await api.node(name="n1")
    await port(api, 1, node_ident="n1", name="taken")
    reply = await api.ask("POST", "/v1/ports", body)
    assert reply.status == status and reply.error
    assert len((await api.ask("GET", "/v1/ports")).json["ports"]) == 1


async def test_fields_by_version(api: World) -> None:
    await api.node(name="n1")
    made = await port(api, 1, node_ident="n1")
    path = f"/v1/ports/{made['uuid']}"
    for name, since in {
        "internal_info": 18,
        "pxe_enabled": 19,
        "portgroup_uuid": 24,
        "physical_network": 34,
        "is_smartnic": 53,
        "name": 88,
        "description": 97,
        "vendor": 100,
        "category": 101,
        "available_for_dynamic_portgroup": 111,
    }.items():
        for minor in (since - 1, since):
            shown = (await api.ask("GET", path, version=f"1.{minor}")).json
            assert (name in shown) is (minor >= since)
            listed = await api.ask("GET", f"/v1/ports?fields={name}", version=f"1.{minor}")
            # As upstream: internal_info is left out in silence, all others are refused.
            refused = minor < since and name != "internal_info"
            assert listed.status == (406 if refused else 200)
    patch = [{"op": "add", "path": "/physical_network", "value": "p"}]
    assert (await api.ask("PATCH", path, patch, "1.33")).status == 406


async def test_lists(api: World) -> None:
    for name, owner in (("n1", "p1"), ("n2", None)):
        await api.node(name=name, owner=owner)
    ports = [await port(api, n, node_ident="n1" if n < 4 else "n2") for n in range(1, 6)]
    first = (await api.ask("GET", "/v1/ports?limit=3")).json
    assert [set(p) for p in first["ports"]] == [{"uuid", "address", "links"}] * 3
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    assert [p["uuid"] for p in first["ports"] + rest["ports"]] == [p["uuid"] for p in ports]
    for query, count in {
        "node=n1": 3,
        f"node_uuid={ports[0]['node_uuid']}": 3,
        "address=52:54:00:00:00:05": 1,
        "address=52:54:00:00:00:99": 0,
        "sort_key=address&sort_dir=desc&limit=1000": 5,
    }.items():
        assert len((await api.ask("GET", f"/v1/ports?{query}")).json["ports"]) == count, query
    assert len((await api.ask("GET", "/v1/nodes/n2/ports")).json["ports"]) == 2
    for query, status in {
        "address=x": 400,
        "limit=0": 400,
        "sort_key=extra": 400,
        "node=nobody": 404,
        "node=n1&shard=s": 403,
        "marker=4dba6db3-96d7-4cf1-bc8b-d77df3461545": 404,
        "surprise=1": 400,
        "portgroup=x": 404,
    }.items():
        assert (await api.ask("GET", f"/v1/ports?{query}")).status == status, query
    api.become(project("reader"))
    assert len((await api.ask("GET", "/v1/ports")).json["ports"]) == 3
    assert (await api.ask("GET", f"/v1/ports/{ports[4]['uuid']}")).status == 404
    assert (await api.ask("GET", "/v1/nodes/n2/ports")).status == 404
    assert (await api.ask("DELETE", f"/v1/ports/{ports[0]['uuid']}")).status == 403


async def test_guards(api: World) -> None:
    node = await api.node(name="n1")
    made = await port(api, 1, node_ident="n1")
    path = f"/v1/ports/{made['uuid']}"
    await api.ask("POST", "/v1/nodes/n1/vifs", {"id": "v1"})
    assert (await api.ask("DELETE", path)).status == 409
    await api.force("n1", provision_state="active")
    for name, value, status in (
        ("address", "52:54:00:00:00:02", 409),
        ("pxe_enabled", False, 409),
        ("physical_network", "p", 409),
        ("extra", {"a": 1}, 200),
    ):
        patch = [{"op": "add", "path": f"/{name}", "value": value}]
        assert (await api.ask("PATCH", path, patch)).status == status, name
    await api.force("n1", maintenance=True)
    patch = [{"op": "replace", "path": "/address", "value": "52:54:00:00:00:02"}]
    assert (await api.ask("PATCH", path, patch)).json["address"] == "52:54:00:00:00:02"
    for bad in ("/uuid", "/internal_info/x", "/created_at"):
        reply = await api.ask("PATCH", path, [{"op": "add", "path": bad, "value": "x"}])
        assert reply.status == 400
    remove = [{"op": "remove", "path": "/address"}]
    assert (await api.ask("PATCH", path, remove)).status == 400
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("GET", f"/v1/nodes/{node['uuid']}/vifs")).json == {"vifs": []}
