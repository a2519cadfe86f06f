"""The same API on PostgreSQL: reading, paging, filters, conflicts, verbs and claims."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, world

from ingot.services.baremetal.ports import resources as port_resources
from tests import postgres

pytestmark = pytest.mark.anyio
INSTANCE = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as server:
        made = server.create()
        yield made
        server.drop(made)


@pytest.fixture
async def api(tmp_path: Path, url: str) -> AsyncIterator[World]:
    async with world(tmp_path, url=url) as made:
        yield made


async def test_the_thread_of_a_node(api: World) -> None:
    for number in range(5):
        await api.node(
            name=f"n{number}",
            owner="p1" if number % 2 else None,
            resource_class="x" * number or None,
        )
    await api.ask("PUT", "/v1/nodes/n1/traits", {"traits": ["CUSTOM_B", "CUSTOM_A"]})
    one = (await api.ask("GET", "/v1/nodes/n1")).json
    assert one["traits"] == ["CUSTOM_A", "CUSTOM_B"] and one["maintenance"] is False
    listed = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
    assert one in listed
    seen: list[str] = []
    path: str | None = "/v1/nodes?limit=2&sort_key=resource_class&sort_dir=desc"
    while path:
        reply = await api.ask("GET", path)
        seen += [node["name"] for node in reply.json["nodes"]]
        following = reply.json.get("next")
        path = following.split("/baremetal", 1)[1] if following else None
    assert seen == ["n4", "n3", "n2", "n1", "n0"]
    found = await api.ask("GET", "/v1/nodes?maintenance=false&associated=false&retired=false")
    assert len(found.json["nodes"]) == 5
    api.become(project("reader"))
    assert len((await api.ask("GET", "/v1/nodes")).json["nodes"]) == 2


async def test_races_end_in_one_winner(api: World) -> None:
    """Same name, same machine, same node's lock: one wins, the others are told so."""
    body = {"driver": "fake-hardware", "name": "race"}
    replies = await asyncio.gather(*(api.ask("POST", "/v1/nodes", body) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 5
    await api.force("race", provision_state="available", power_state="power off")
    uuid = (await api.ask("GET", "/v1/nodes/race")).json["uuid"]

    def take(number: int) -> Any:
        other = f"{INSTANCE[:-1]}{number}"
        return api.db.write(lambda conn: api.baremetal.claim(conn, uuid, other))

    assert sorted(await asyncio.gather(*(take(n) for n in range(6)))) == [False] * 5 + [True]
    verb = {"target": "manage"}
    await api.force("race", provision_state="enroll")
    path = "/v1/nodes/race/states/provision"
    replies = await asyncio.gather(*(api.ask("PUT", path, verb) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [202] + [409] * 5


async def test_what_hangs_on_nodes(api: World) -> None:
    """Every sort key and the filters, on columns that SQLite takes more lightly; races for places."""
    chassis = (await api.ask("POST", "/v1/chassis", {"description": "row"})).json["uuid"]
    node = await api.node(name="parts", chassis_uuid=chassis, shard="s1")
    uuid = node["uuid"]
    await api.force("parts", power_state="power off")
    bond = {"node_uuid": uuid, "name": "bond0", "properties": {"miimon": 100}}
    group = (await api.ask("POST", "/v1/portgroups", bond)).json["uuid"]
    bodies: dict[str, list[dict[str, Any]]] = {
        "/v1/portgroups": [
            {"node_uuid": uuid},
            {"node_uuid": uuid, "address": "52:54:00:00:00:0a"},
        ],
        "/v1/ports": [
            {"node_uuid": uuid, "address": f"52:54:00:00:00:0{n}", "portgroup_uuid": group}
            for n in range(3)
        ],
        "/v1/volume/connectors": [
            {"node_uuid": uuid, "type": "ip", "connector_id": str(n)} for n in range(3)
        ],
        "/v1/volume/targets": [
            {
                "node_uuid": uuid,
                "volume_type": "iscsi",
                "volume_id": "x",
                "boot_index": n,
                "properties": {"auth_password": "x"},
            }
            for n in (0, 5_000_000_000, -1)
        ],
        "/v1/chassis": [{}, {}],
    }
    keys = {
        "/v1/portgroups": port_resources.PORTGROUP,
        "/v1/ports": port_resources.PORT,
        "/v1/volume/connectors": port_resources.CONNECTOR,
        "/v1/volume/targets": port_resources.TARGET,
        "/v1/chassis": port_resources.CHASSIS,
    }
    for path, many in bodies.items():
        for body in many:
            reply = await api.ask("POST", path, body)
            assert reply.status == 201, reply.json
        for key in keys[path].sortable:
            seen: list[str] = []
            following: str | None = f"{path}?limit=2&sort_key={key}&sort_dir=desc"
            while following:
                reply = await api.ask("GET", following)
                assert reply.status == 200, (following, reply.json)
                seen += [one["uuid"] for one in next(iter(reply.json.values()))]
                following = reply.json.get("next")
                following = following.split("/baremetal", 1)[1] if following else None
            assert len(seen) == len(set(seen)) == 3, (path, key)
    for path, count in {
        "/v1/portgroups/bond0/ports": 3,
        "/v1/ports?shard=s1": 3,
        "/v1/portgroups?shard=s1": 3,
        "/v1/nodes/parts/volume/targets": 3,
        f"/v1/chassis/{chassis}/nodes": 1,
    }.items():
        assert len(next(iter((await api.ask("GET", path)).json.values()))) == count, path
    assert {"name": "s1", "count": 1} in (await api.ask("GET", "/v1/shards")).json["shards"]
    patch = [{"op": "add", "path": "/extra/a", "value": 1}]
    assert (await api.ask("PATCH", "/v1/portgroups/bond0", patch)).json["extra"] == {"a": 1}
    for path, body in (
        ("/v1/volume/connectors", {"node_uuid": uuid, "type": "ip", "connector_id": "race"}),
        ("/v1/volume/targets", {**bodies["/v1/volume/targets"][0], "boot_index": 9}),
        ("/v1/portgroups", {"node_uuid": uuid, "name": "race"}),
    ):
        replies = await asyncio.gather(*(api.ask("POST", path, body) for _ in range(5)))
        assert sorted(reply.status for reply in replies) == [201] + [409] * 4, path
    # What is being filled is not taken away, and what is taken away is not filled.
    for number in range(6):
        row = (await api.ask("POST", "/v1/chassis", {})).json["uuid"]
        bond = (await api.ask("POST", "/v1/portgroups", {"node_uuid": uuid})).json["uuid"]
        port = {"node_uuid": uuid, "address": f"52:54:00:00:07:0{number}", "portgroup_uuid": bond}
        inside = {"driver": "fake-hardware", "chassis_uuid": row}
        for (path, body), gone in (
            (("/v1/ports", port), f"/v1/portgroups/{bond}"),
            (("/v1/nodes", inside), f"/v1/chassis/{row}"),
        ):
            filled, removed = await asyncio.gather(
                api.ask("POST", path, body), api.ask("DELETE", gone)
            )
            assert (filled.status, removed.status) in ((201, 400), (400, 204)), path
