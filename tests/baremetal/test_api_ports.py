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


async def test_a_working_node_is_held_a_waiting_one_is_not(api: World) -> None:
    await api.node(name="n1")
    made = await port(api, 1, node_ident="n1")
    path = f"/v1/ports/{made['uuid']}"
    await api.force("n1", provision_state="manageable")
    reply = await api.ask("PUT", "/v1/nodes/n1/states/provision", {"target": "inspect"})
    assert reply.status == 202
    extra = [{"op": "add", "path": "/extra/a", "value": 1}]
    wiring = [{"op": "replace", "path": "/pxe_enabled", "value": False}]
    for state, noted, rewired in (
        ("cleaning", 409, 409),
        ("clean wait", 200, 409),
        ("inspecting", 409, 409),
        ("inspect wait", 200, 200),
    ):
        await api.force("n1", provision_state=state)
        assert (await api.ask("PATCH", path, extra)).status == noted, state
        assert (await api.ask("PATCH", path, wiring)).status == rewired, state
        trait = await api.ask("PUT", "/v1/nodes/n1/traits/CUSTOM_A")
        assert trait.status == (204 if noted == 200 else 409)


async def test_old_microversions_name_what_is_too_new(api: World) -> None:
    """Creation refuses all that is newer, a patch only what upstream's does."""
    await api.node(name="n1")
    uuid = (await api.ask("GET", "/v1/nodes/n1")).json["uuid"]
    number = 0
    for name, value, since, patched in (
        ("pxe_enabled", True, 19, 406),
        ("local_link_connection", LINK, 19, 406),
        ("portgroup_uuid", None, 24, 406),
        ("physical_network", "p", 34, 406),
        ("is_smartnic", False, 53, 406),
        ("name", "x", 88, 200),
        ("description", "x", 97, 200),
        ("vendor", "x", 100, 200),
        ("category", "x", 101, 200),
        ("available_for_dynamic_portgroup", True, 111, 200),
    ):
        number += 1
        body = {"address": f"52:54:00:00:01:{number:02x}", "node_uuid": uuid, name: value}
        old, new = f"1.{since - 1}", f"1.{since}"
        assert (await api.ask("POST", "/v1/ports", body, old)).status == 406, name
        reply = await api.ask("POST", "/v1/ports", body, new)
        assert reply.status == 201, name
        path = f"/v1/ports/{reply.json['uuid']}"
        patch = [{"op": "add", "path": f"/{name}", "value": value}]
        assert (await api.ask("PATCH", path, patch, old)).status == patched, name
        assert (await api.ask("PATCH", path, patch, new)).status == 200, name
    body = {"address": "52:54:00:00:02:01", "node_uuid": uuid}
    link = {**LINK, "network_type": "managed"}
    vtep = {"port_id": "x", "vtep-logical-switch": "l", "vtep-physical-switch": "p"}
    for given, minor, status in (
        (link, 63, 406),
        (link, 64, 201),
        (vtep, 89, 406),
        (vtep, 90, 201),
        (vtep, 105, 406),
        ({"network_type": "unmanaged"}, 64, 201),
        ({"network_type": "wild", **LINK}, 64, 400),
        ({"port_id": "x", "vtep-logical-switch": "l"}, 90, 400),
    ):
        number += 1
        body |= {"address": f"52:54:00:00:01:{number:02x}", "local_link_connection": given}
        assert (await api.ask("POST", "/v1/ports", body, f"1.{minor}")).status == status, given
    whole = (await api.ask("GET", "/v1/ports/detail?limit=1000", version="1.104")).json["ports"]
    assert vtep in [one["local_link_connection"] for one in whole]
    whole = (await api.ask("GET", "/v1/ports/detail?limit=1000", version="1.105")).json["ports"]
    assert vtep not in [one["local_link_connection"] for one in whole]


async def test_more_filters(api: World) -> None:
    for name, shard, group in (("n1", "s1", "g1"), ("n2", "s2", "")):
        await api.node(name=name, shard=shard, conductor_group=group)
    await port(api, 1, node_ident="n1", description="left 100%")
    await port(api, 2, node_ident="n2", description="right")
    for query, count in {
        "shard=s1": 1,
        "shard=s1,s2": 2,
        "shard=s3": 0,
        "conductor_groups=g1": 1,
        "conductor_groups=g2": 0,
        "description_contains=t": 2,
        "description_contains=100%25": 1,
        "description_contains=_eft": 0,
        "node=n1&description_contains=right": 0,
        "fields=UUID,extra&shard=s1": 1,
    }.items():
        for path in ("/v1/ports", "/v1/ports/detail"):
            if "fields" in query and path.endswith("detail"):
                continue
            found = (await api.ask("GET", f"{path}?{query}")).json["ports"]
            assert len(found) == count, query
    for query, minor, status in (
        ("shard=s1", 81, 406),
        ("portgroup=x", 23, 406),
        ("node=n1", 4, 406),
        ("detail=true", 42, 400),
        ("fields=uuid", 7, 406),
        ("sort_key=pxe_enabled", 18, 406),
        ("node_uuid=n1", 115, 400),
        ("conductor_groups=g1&address=52:54:00:00:00:01", 115, 400),
        ("conductor_groups=g1&node=n1", 115, 400),
    ):
        reply = await api.ask("GET", f"/v1/ports?{query}", version=f"1.{minor}")
        assert reply.status == status, query
    uuid = (await api.ask("GET", "/v1/ports")).json["ports"][0]["uuid"]
    for method, path in (
        ("GET", f"/v1/nodes/n1/ports/{uuid}"),
        ("DELETE", f"/v1/nodes/n1/ports/{uuid}"),
        ("POST", "/v1/nodes/n1/ports"),
    ):
        reply = await api.ask(method, path)
        assert (reply.status, "Malformed" in reply.error) == (400, True)
    assert (await api.ask("GET", "/v1/ports/no%20name")).status == 400
    assert (await api.ask("GET", "/v1/ports/nobody", version="1.1")).status == 404
