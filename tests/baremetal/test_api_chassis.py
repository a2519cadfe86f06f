"""Chassis, shards and network events by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, project, system, world

from ingot.kit.tasks import events

pytestmark = pytest.mark.anyio
NOBODY = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def chassis(api: World, **values: Any) -> dict[str, Any]:
    reply = await api.ask("POST", "/v1/chassis", values)
    assert reply.status == 201, reply.json
    return reply.json


def put(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": value}]


async def timeline(api: World, subject: str) -> list[events.Event]:
    return await api.db.read(lambda conn: events.query(conn, subject=subject))


# -- chassis -------------------------------------------------------------------------------------


async def test_create_show_patch_delete(api: World) -> None:
    body = {"uuid": NOBODY, "description": "row 4", "extra": {"a": 1}}
    reply = await api.ask("POST", "/v1/chassis", body, version="1.1")
    assert reply.status == 201
    path = f"/v1/chassis/{NOBODY}"
    assert reply.headers["location"].endswith("/baremetal" + path)
    made = reply.json
    assert set(made) == {*body, "created_at", "updated_at", "links", "nodes"}
    # Upstream tells a list in a list.
    assert made["nodes"][0][0]["href"].endswith(f"{path}/nodes")
    assert (await api.ask("GET", path)).json == made
    patch = [{"op": "remove", "path": "/description"}, *put("/extra/b", 2)]
    shown = (await api.ask("PATCH", path, patch)).json
    assert (shown["description"], shown["extra"]) == (None, {"a": 1, "b": 2})
    assert (await api.ask("POST", "/v1/chassis", {"uuid": NOBODY})).status == 409
    assert (await api.ask("DELETE", path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await api.ask(method, path)).status == 404
    kinds = [event.kind for event in await timeline(api, f"chassis:{NOBODY}")]
    assert kinds == ["chassis created", "chassis deleted"]


async def test_bad_input(api: World) -> None:
    made = await chassis(api)
    path = f"/v1/chassis/{made['uuid']}"
    for body in ({"uuid": "x"}, {"description": "x" * 256}, {"extra": []}, {"surprise": 1}, []):
        assert (await api.ask("POST", "/v1/chassis", body)).status == 400, body
    for patch in (
        put("/uuid", NOBODY),
        put("/created_at", "x"),
        put("/description", 5),
        put("/extra/a/b", 5),
        [{"op": "replace", "path": "/extra/a", "value": 1}],
        {"op": "add"},
    ):
        assert (await api.ask("PATCH", path, patch)).status == 400, patch
    for method, address in (("GET", "x"), ("DELETE", "x"), ("GET", "x/nodes")):
        assert (await api.ask(method, f"/v1/chassis/{address}")).status == 400
    assert (await api.ask("PATCH", "/v1/chassis/x", [])).status == 400
    assert (await api.ask("GET", path)).json == made


async def test_lists(api: World) -> None:
    made = [await chassis(api, description=f"row {n}") for n in range(3)]
    first = (await api.ask("GET", "/v1/chassis?limit=2")).json
    assert [set(one) for one in first["chassis"]] == [{"uuid", "description", "links"}] * 2
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    uuids = [one["uuid"] for one in first["chassis"] + rest["chassis"]]
    assert uuids == [one["uuid"] for one in made] and "next" not in rest
    assert (await api.ask("GET", "/v1/chassis/detail")).json["chassis"] == made
    assert (await api.ask("GET", "/v1/chassis?detail=true")).json["chassis"] == made
    newest = (await api.ask("GET", "/v1/chassis?sort_key=description&sort_dir=desc")).json
    assert newest["chassis"][0]["uuid"] == uuids[2]
    only = (await api.ask("GET", f"/v1/chassis/{uuids[0]}?fields=extra,nodes")).json
    assert set(only) == {"extra", "nodes", "links"}
    for query, minor, status in (
        ("fields=uuid", 7, 406),
        ("fields=uuid", 8, 200),
        ("fields=nothing", 8, 400),
        ("detail=true", 42, 400),
        ("detail=true", 43, 200),
        ("fields=uuid&detail=true", 43, 400),
        ("sort_key=extra", 1, 400),
        ("sort_key=nothing", 1, 400),
        ("limit=-1", 1, 400),
        ("marker=x", 1, 400),
        (f"marker={NOBODY}", 1, 404),
        ("surprise=1", 1, 400),
    ):
        reply = await api.ask("GET", f"/v1/chassis?{query}", version=f"1.{minor}")
        assert reply.status == status, (query, minor)


async def test_nodes_in_a_chassis(api: World) -> None:
    made = await chassis(api)
    uuid = made["uuid"]
    path = f"/v1/chassis/{uuid}"
    for name in ("n1", "n2"):
        await api.node(name=name, chassis_uuid=uuid)
    await api.node(name="n3")
    for address in (f"{path}/nodes", f"/v1/nodes?chassis_uuid={uuid}"):
        found = (await api.ask("GET", address)).json["nodes"]
        assert [one["name"] for one in found] == ["n1", "n2"]
    whole = (await api.ask("GET", f"{path}/nodes/detail")).json["nodes"]
    assert [one["chassis_uuid"] for one in whole] == [uuid, uuid]
    first = (await api.ask("GET", f"{path}/nodes?limit=1")).json
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    assert [one["name"] for one in first["nodes"] + rest["nodes"]] == ["n1", "n2"]
    for address in (f"/v1/chassis/{NOBODY}/nodes", f"/v1/nodes?chassis_uuid={NOBODY}"):
        assert (await api.ask("GET", address)).status == 404
    assert (await api.ask("GET", "/v1/nodes?chassis_uuid=x")).status == 400
    assert (await api.ask("GET", f"{path}/nodes/n1")).status == 400
    assert (await api.ask("POST", f"{path}/nodes", {})).status == 400
    assert (await api.ask("DELETE", path)).status == 400
    # A node leaves its chassis since 1.25, and another takes its place at any time.
    out = [{"op": "remove", "path": "/chassis_uuid"}]
    assert (await api.ask("PATCH", "/v1/nodes/n1", out, "1.24")).status == 406
    assert (await api.ask("PATCH", "/v1/nodes/n1", out, "1.25")).json["chassis_uuid"] is None
    node = (await api.ask("GET", "/v1/nodes/n3")).json["uuid"]
    reply = await api.ask("PATCH", f"/v1/nodes/{node}", put("/chassis_uuid", uuid), "1.1")
    assert reply.json["chassis_uuid"] == uuid
    reply = await api.ask("PATCH", "/v1/nodes/n1", put("/chassis_uuid", NOBODY))
    assert reply.status == 400
    for name in ("n2", "n3"):
        await api.ask("DELETE", f"/v1/nodes/{name}")
    assert (await api.ask("DELETE", path)).status == 204


async def test_they_belong_to_the_system(api: World) -> None:
    path = f"/v1/chassis/{(await chassis(api))['uuid']}"
    tries = [("GET", "/v1/chassis", None), ("GET", path, None), ("PATCH", path, put("/extra/a", 1))]
    tries += [("POST", "/v1/chassis", {}), ("DELETE", path, None)]
    for caller, allowed in (
        (project("admin"), 0),
        (system("reader"), 2),
        (system("member"), 3),
        (system("admin"), 5),
    ):
        api.become(caller)
        for number, (method, address, body) in enumerate(tries):
            status = (await api.ask(method, address, body)).status
            assert (status != 403) is (number < allowed), (caller.roles, method, address)


async def test_a_project_learns_of_no_chassis_but_those_of_its_nodes(api: World) -> None:
    with_mine, with_others, empty = [(await chassis(api))["uuid"] for _ in range(3)]
    await api.node(name="mine", owner="p1", chassis_uuid=with_mine)
    await api.node(name="lent", lessee="p1", chassis_uuid=with_mine)
    await api.node(name="theirs", owner="p2", chassis_uuid=with_mine)
    await api.node(name="far", owner="p2", chassis_uuid=with_others)
    api.become(project("member", "p1"))
    for path in (
        "/v1/chassis/{}/nodes",
        "/v1/chassis/{}/nodes/detail",
        "/v1/nodes?chassis_uuid={}",
    ):
        seen = (await api.ask("GET", path.format(with_mine))).json["nodes"]
        assert [one["name"] for one in seen] == ["mine", "lent"]
        for other in (with_others, empty, NOBODY):
            reply = await api.ask("GET", path.format(other))
            assert (reply.status, reply.error.replace(other, "it")) == (
                404,
                "Chassis it could not be found.",
            ), path


# -- shards --------------------------------------------------------------------------------------


async def test_shards(api: World) -> None:
    assert (await api.ask("GET", "/v1/shards")).json == {"shards": []}
    for name, shard in (("n1", "a"), ("n2", "b"), ("n3", "b"), ("n4", None), ("n5", None)):
        await api.node(name=name, shard=shard)
    await api.ask("PATCH", "/v1/nodes/n5", put("/shard", "b"))
    told = (await api.ask("GET", "/v1/shards")).json["shards"]
    # Upstream counts nodes without a shard under the name None.
    assert told[0] == {"name": "b", "count": 3}
    assert sorted(one["name"] for one in told) == ["None", "a", "b"]
    assert (await api.ask("GET", "/v1/shards", version="1.81")).status == 404
    assert (await api.ask("GET", "/v1/shards/a")).status == 404
    for query, names in {
        "shard=a": ["n1"],
        "shard=a,b": ["n1", "n2", "n3", "n5"],
        "shard=a&shard=b": ["n1", "n2", "n3", "n5"],
        "sharded=false": ["n4"],
        "sharded=true": ["n1", "n2", "n3", "n5"],
    }.items():
        found = (await api.ask("GET", f"/v1/nodes?{query}")).json["nodes"]
        assert [one["name"] for one in found] == names, query
        assert (await api.ask("GET", f"/v1/nodes?{query}", version="1.81")).status == 406
    api.become(project("admin"))
    assert (await api.ask("GET", "/v1/shards")).status == 403
    api.become(system("reader"))
    assert (await api.ask("GET", "/v1/shards")).status == 200


# -- network events ------------------------------------------------------------------------------

EVENT = {
    "event": "network.bind_port",
    "port_id": NOBODY,
    "mac_address": "52:54:00:00:00:01",
    "status": "ACTIVE",
    "device_id": None,
    "binding:host_id": NOBODY,
    "binding:vnic_type": "baremetal",
}


async def test_network_events_are_told_on_the_timeline(api: World) -> None:
    node = await api.node(name="n1")
    body = {"address": EVENT["mac_address"], "node_ident": "n1"}
    assert (await api.ask("POST", "/v1/ports", body)).status == 201
    foreign = {**EVENT, "mac_address": "52:54:00:00:00:99"}
    assert (await api.ask("POST", "/v1/events", {"events": [EVENT, foreign]})).status == 204
    notes = [e for e in await timeline(api, f"node:{node['uuid']}") if e.kind == "note"]
    assert [note.title for note in notes] == [
        "Network service: bind port of 52:54:00:00:00:01, ACTIVE"
    ]
    assert notes[0].data == {"port_id": NOBODY, "status": "ACTIVE"}


async def test_bad_events(api: World) -> None:
    assert (await api.ask("POST", "/v1/events", {"events": [EVENT]}, "1.53")).status == 404
    for body in (
        {},
        {"events": []},
        {"events": {}},
        {"events": [EVENT], "more": 1},
        *(
            {"events": [{**EVENT, name: value}]}
            for name, value in (
                ("event", "network.eat_port"),
                ("port_id", "x"),
                ("mac_address", "x"),
                ("status", None),
                ("device_id", "x"),
                ("binding:host_id", "x"),
                ("binding:vnic_type", 5),
                ("surprise", 1),
            )
        ),
        *(
            {"events": [{k: v for k, v in EVENT.items() if k != name}]}
            for name in ("event", "port_id", "mac_address", "status")
        ),
    ):
        assert (await api.ask("POST", "/v1/events", body)).status == 400, body
    for caller in (system("member"), project("admin")):
        api.become(caller)
        assert (await api.ask("POST", "/v1/events", {"events": [EVENT]})).status == 403


async def test_all_that_comes_and_goes_is_on_the_timeline(api: World) -> None:
    node = await api.node(name="n1")
    uuid = node["uuid"]
    for path, body in {
        "/v1/ports": {"address": "52:54:00:00:00:01", "node_uuid": uuid},
        "/v1/portgroups": {"node_uuid": uuid},
        "/v1/volume/connectors": {"node_uuid": uuid, "type": "ip", "connector_id": "10.0.0.1"},
        "/v1/volume/targets": {
            "node_uuid": uuid,
            "volume_type": "iscsi",
            "volume_id": NOBODY,
            "boot_index": 0,
        },
    }.items():
        made = (await api.ask("POST", path, body)).json
        assert (await api.ask("DELETE", f"{path}/{made['uuid']}")).status == 204
    kinds = [event.kind for event in await timeline(api, f"node:{uuid}")]
    things = ("port", "port group", "volume connector", "volume target")
    assert kinds[1:] == [f"{thing} {verb}" for thing in things for verb in ("created", "deleted")]


def test_tables_are_read_with_their_constraints() -> None:
    """What only one may have is kept by the database too, for requests at the same moment."""
    from ingot.services.baremetal import tables

    told = {
        (table.name, tuple(sorted(column.name for column in constraint.columns)))
        for table in (tables.portgroups, tables.volume_connectors, tables.volume_targets)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    }
    assert ("volume_connectors", ("connector_id", "type")) in told
    assert ("volume_targets", ("boot_index", "node_uuid")) in told
