"""Allocations: the choice, its limits, races on both databases, giving back, who may."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, system, world

from ingot.kit import ids
from tests import postgres

pytestmark = pytest.mark.anyio
UNKNOWN = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def free_node(api: World, name: str, **values: Any) -> str:
    node = await api.node(name=name, **({"resource_class": "gold"} | values))
    await api.force(name, provision_state="available", power_state="power off")
    return node["uuid"]


async def allocate(api: World, **values: Any) -> dict[str, Any]:
    """The allocation as it is a moment after the request."""
    reply = await api.ask("POST", "/v1/allocations", {"resource_class": "gold", **values})
    assert reply.status == 201, reply.json
    assert reply.json["state"] == "allocating" and reply.json["node_uuid"] is None
    assert reply.headers["location"].endswith(f"/v1/allocations/{reply.json['uuid']}")
    return (await api.ask("GET", f"/v1/allocations/{reply.json['uuid']}")).json


# -- the choice ----------------------------------------------------------------------------------


async def test_the_thread_of_an_allocation(api: World) -> None:
    uuid = await free_node(api, "n1")
    made = await allocate(api, name="web", extra={"a": 1})
    assert (made["state"], made["node_uuid"], made["last_error"]) == ("active", uuid, None)
    assert (made["candidate_nodes"], made["traits"], made["extra"]) == ([], [], {"a": 1})
    node = (await api.ask("GET", "/v1/nodes/n1")).json
    assert node["allocation_uuid"] == node["instance_uuid"] == made["uuid"]
    assert node["instance_info"] == {"traits": []}
    assert (await api.ask("GET", "/v1/nodes/n1/allocation")).json == made
    assert (await api.ask("GET", "/v1/allocations/web")).json == made
    assert (await allocate(api))["last_error"].endswith(
        "no available nodes match the resource class gold."
    )
    assert (await api.ask("DELETE", "/v1/nodes/n1/allocation")).status == 204
    node = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (node["allocation_uuid"], node["instance_uuid"]) == (None, None)
    assert node["instance_info"] == {}
    for method in ("GET", "DELETE"):
        assert (await api.ask(method, "/v1/nodes/n1/allocation")).status == 404
    assert (await api.ask("GET", "/v1/allocations/web")).status == 404
    assert (await allocate(api))["state"] == "active"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("provision_state", "manageable"),
        ("maintenance", True),
        ("instance_uuid", UNKNOWN),
        ("power_state", None),
        ("power_state", "error"),
        ("resource_class", "silver"),
        ("retired", True),
    ],
)
async def test_machines_that_are_not_free(api: World, column: str, value: Any) -> None:
    await free_node(api, "n1")
    await api.force("n1", **{column: value})
    made = await allocate(api)
    assert (made["state"], made["node_uuid"]) == ("error", None)
    assert made["last_error"] == (
        f"Failed to process allocation {made['uuid']}: no available nodes match the resource "
        "class gold."
    )


async def test_traits_candidates_and_names(api: World) -> None:
    uuids = {name: await free_node(api, name) for name in ("n1", "n2", "n3", "n4")}
    await api.ask("PUT", "/v1/nodes/n2/traits", {"traits": ["CUSTOM_A", "CUSTOM_B"]})
    await api.ask("PUT", "/v1/nodes/n3/traits", {"traits": ["CUSTOM_A"]})
    made = await allocate(api, traits=["CUSTOM_A", "CUSTOM_B"])
    assert made["node_uuid"] == uuids["n2"]
    node = (await api.ask("GET", "/v1/nodes/n2")).json
    assert node["instance_info"] == {"traits": ["CUSTOM_A", "CUSTOM_B"]}
    made = await allocate(api, traits=["CUSTOM_A", "CUSTOM_B"])
    assert "no suitable nodes have the requested traits CUSTOM_A, CUSTOM_B" in made["last_error"]
    made = await allocate(api, candidate_nodes=["n2", uuids["n3"]])
    assert made["candidate_nodes"] == [uuids["n2"], uuids["n3"]]
    assert made["node_uuid"] == uuids["n3"]
    made = await allocate(api, candidate_nodes=["n2"])
    assert "none of the requested nodes are available" in made["last_error"]
    assert (await allocate(api, name="n4"))["node_uuid"] == uuids["n4"]


async def test_the_owner_limits_the_choice(api: World) -> None:
    await free_node(api, "n1", owner="p2")
    mine = await free_node(api, "n2", lessee="p1")
    assert (await allocate(api, owner="p1"))["node_uuid"] == mine
    assert (await allocate(api, owner="p1"))["state"] == "error"
    api.become(project("member"))
    assert (await api.ask("GET", "/v1/nodes/n2/allocation")).json["owner"] == "p1"
    body = {"resource_class": "gold"}
    assert (await api.ask("POST", "/v1/allocations", body)).json["owner"] == "p1"
    assert (await api.ask("POST", "/v1/allocations", {**body, "owner": "p2"})).status == 403
    body["candidate_nodes"] = ["n1"]  # not theirs to see
    assert (await api.ask("POST", "/v1/allocations", body)).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"resource_class": None},
        {"resource_class": "x" * 81},
        {"resource_class": "gold", "name": "no/name"},
        {"resource_class": "gold", "uuid": "x"},
        {"resource_class": "gold", "traits": ["lower"]},
        {"resource_class": "gold", "traits": "CUSTOM_A"},
        {"resource_class": "gold", "candidate_nodes": ["nobody"]},
        {"resource_class": "gold", "node": "nobody"},
        {"resource_class": "gold", "extra": []},
        {"resource_class": "gold", "state": "active"},
    ],
)
async def test_bad_requests(api: World, body: dict[str, Any]) -> None:
    reply = await api.ask("POST", "/v1/allocations", body)
    assert reply.status == 400 and reply.error
    assert (await api.ask("GET", "/v1/allocations")).json["allocations"] == []


async def test_names_and_uuids_are_taken_once(api: World) -> None:
    await allocate(api, name="a", uuid=UNKNOWN)
    for body in ({"name": "a"}, {"uuid": UNKNOWN}):
        reply = await api.ask("POST", "/v1/allocations", {"resource_class": "gold", **body})
        assert reply.status == 409
    await allocate(api, name="b")
    rename = [{"op": "replace", "path": "/name", "value": "a"}]
    assert (await api.ask("PATCH", "/v1/allocations/b", rename)).status == 409
    taken = "12345678-96d7-4cf1-bc8b-d77df3461545"
    await free_node(api, "n1")
    await api.node(name="n2", instance_uuid=taken)
    assert "already associated" in (await allocate(api, uuid=taken))["last_error"]


# -- races ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("server").create()
    async with world(tmp_path, url=url) as made:
        yield made


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_machine_twice_and_none_lost(both: World, seed: int) -> None:
    """Allocations, deletions, changes of the nodes, all at once: the books balance afterwards."""
    api, chance = both, random.Random(seed)
    names = [f"n{number}" for number in range(8)]
    uuids = [await free_node(api, name) for name in names]
    for number, name in enumerate(names):
        if number % 2:
            await api.ask("PUT", f"/v1/nodes/{name}/traits", {"traits": ["CUSTOM_A"]})
    made: list[str] = []

    async def take() -> None:
        traits = ["CUSTOM_A"] if chance.random() < 0.4 else []
        body = {"resource_class": "gold", "traits": traits}
        reply = await api.ask("POST", "/v1/allocations", body)
        assert reply.status == 201
        made.append(reply.json["uuid"])

    async def give() -> None:
        if made:
            reply = await api.ask("DELETE", f"/v1/allocations/{made.pop(0)}")
            assert reply.status == 204

    async def touch() -> None:
        extra = [{"op": "add", "path": "/extra/x", "value": chance.random()}]
        reply = await api.ask("PATCH", f"/v1/nodes/{chance.choice(names)}", extra)
        assert reply.status == 200

    async def rival() -> None:
        """What a Compute service does: takes a machine for a server, and gives it back."""
        server, node = ids.new_uuid(), chance.choice(uuids)
        if await api.db.write(lambda conn: api.baremetal.claim(conn, node, server)):
            await api.db.write(lambda conn: api.baremetal.release(conn, node, server))

    for _ in range(4):
        work = [take] * 6 + [give] * 3 + [touch] * 3 + [rival] * 3
        chance.shuffle(work)
        await asyncio.gather(*(one() for one in work))
    # More than there are machines want one now; afterwards every machine has one.
    await asyncio.gather(*(take() for _ in range(12)))
    nodes = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
    found = (await api.ask("GET", "/v1/allocations")).json["allocations"]
    assert {one["uuid"] for one in found} == set(made)
    held = {one["node_uuid"]: one["uuid"] for one in found if one["state"] == "active"}
    assert held == {node["uuid"]: node["allocation_uuid"] for node in nodes}
    assert all(node["instance_uuid"] == node["allocation_uuid"] for node in nodes)
    for one in found:
        assert (one["node_uuid"] is None) == (one["state"] == "error") == bool(one["last_error"])


async def test_all_free_machines_are_found_under_load(both: World) -> None:
    """As many requests as machines at one moment: none goes away empty-handed."""
    for number in range(10):
        await free_node(both, f"n{number}")
    body = {"resource_class": "gold"}
    await asyncio.gather(*(both.ask("POST", "/v1/allocations", body) for _ in range(10)))
    found = (await both.ask("GET", "/v1/allocations")).json["allocations"]
    assert [one["state"] for one in found] == ["active"] * 10
    assert len({one["node_uuid"] for one in found}) == 10


# -- changing and ending -------------------------------------------------------------------------


async def test_patches(api: World) -> None:
    await allocate(api, name="a", extra={"x": 1})

    async def patch(*changes: dict[str, Any]) -> Any:
        return await api.ask("PATCH", "/v1/allocations/a", list(changes))

    reply = await patch(
        {"op": "add", "path": "/extra/y", "value": 2}, {"op": "remove", "path": "/extra/x"}
    )
    assert (reply.status, reply.json["extra"]) == (200, {"y": 2})
    for bad in (
        {"op": "replace", "path": "/resource_class", "value": "x"},
        {"op": "replace", "path": "/name", "value": "no/name"},
        {"op": "replace", "path": "/extra", "value": 1},
        {"op": "remove", "path": "/extra/x"},
    ):
        assert (await patch(bad)).status == 400
    reply = await patch({"op": "remove", "path": "/name"})
    assert (reply.status, reply.json["name"]) == (200, None)


@pytest.mark.parametrize(
    ("state", "target", "maintenance", "status"),
    [
        ("active", None, False, 409),
        ("active", None, True, 204),
        ("deploying", "active", False, 409),
        ("deploy failed", "active", False, 204),
        ("available", None, False, 204),
    ],
)
async def test_what_runs_keeps_its_allocation(
    api: World, state: str, target: str | None, maintenance: bool, status: int
) -> None:
    await free_node(api, "n1")
    uuid = (await allocate(api))["uuid"]
    await api.force(
        "n1", provision_state=state, target_provision_state=target, maintenance=maintenance
    )
    assert (await api.ask("DELETE", f"/v1/allocations/{uuid}")).status == status
    kept = (await api.ask("GET", "/v1/nodes/n1")).json["allocation_uuid"]
    assert kept == (uuid if status == 409 else None)


async def test_taking_the_instance_away_ends_the_allocation(api: World) -> None:
    await free_node(api, "n1")
    await allocate(api, name="a")
    remove = [{"op": "remove", "path": "/instance_uuid"}]
    await api.force("n1", provision_state="active")
    assert (await api.ask("PATCH", "/v1/nodes/n1", remove)).status == 409
    await api.force("n1", provision_state="available")
    assert (await api.ask("PATCH", "/v1/nodes/n1", remove)).json["allocation_uuid"] is None
    assert (await api.ask("GET", "/v1/allocations/a")).status == 404
    await allocate(api, name="b")
    await api.force("n1", maintenance=True)
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 204
    assert (await api.ask("GET", "/v1/allocations/b")).status == 404


async def test_back_fill(api: World) -> None:
    await api.node(name="n1", resource_class="gold")
    body: dict[str, Any] = {"node": "n1", "name": "old"}
    reply = await api.ask("POST", "/v1/allocations", body)
    assert reply.status == 409 and 'the current state is "enroll"' in reply.error
    assert (await api.ask("GET", "/v1/allocations/old")).status == 404
    await api.force("n1", provision_state="active", instance_uuid=UNKNOWN)
    for wrong in ({"resource_class": "x"}, {"traits": ["CUSTOM_A"]}, {"uuid": UNKNOWN[::-1]}):
        assert (await api.ask("POST", "/v1/allocations", {**body, **wrong})).status in (400, 409)
    assert (await api.ask("POST", "/v1/allocations", body, "1.57")).status == 400
    reply = await api.ask("POST", "/v1/allocations", body)
    assert (reply.status, reply.json["state"]) == (201, "active")
    assert (reply.json["uuid"], reply.json["resource_class"]) == (UNKNOWN, "gold")
    node = (await api.ask("GET", "/v1/nodes/n1")).json
    assert node["allocation_uuid"] == node["instance_uuid"] == UNKNOWN
    assert (await api.ask("POST", "/v1/allocations", {"node": "n1"})).status == 409


# -- lists, versions, people ---------------------------------------------------------------------


async def test_lists(api: World) -> None:
    node = await free_node(api, "n1")
    for number in range(4):
        await allocate(api, name=f"a{number}", owner="p1" if number == 3 else None)

    async def names(query: str) -> list[str]:
        reply = await api.ask("GET", f"/v1/allocations?{query}")
        assert reply.status == 200, reply.json
        return [one["name"] for one in reply.json["allocations"]]

    assert await names("") == ["a0", "a1", "a2", "a3"]
    assert await names("node=n1") == await names(f"node={node}") == ["a0"]
    assert await names("state=error&sort_key=name&sort_dir=desc") == ["a3", "a2", "a1"]
    assert await names("state=allocating") == await names("resource_class=x") == []
    assert await names("owner=p1") == ["a3"]
    reply = await api.ask("GET", "/v1/allocations?limit=3&fields=name,state")
    assert [set(one) for one in reply.json["allocations"]] == [{"name", "state", "links"}] * 3
    path = reply.json["next"].split("/baremetal", 1)[1]
    assert [one["name"] for one in (await api.ask("GET", path)).json["allocations"]] == ["a3"]
    for bad in ("sort_key=extra", "fields=nothing", "limit=0", "marker=x", "node=nobody"):
        assert (await api.ask("GET", f"/v1/allocations?{bad}")).status == 400
    assert (await api.ask("GET", f"/v1/allocations?marker={UNKNOWN}")).status == 404


async def test_versions(api: World) -> None:
    made = await allocate(api, name="a.json")
    for method, version, status in (
        ("GET", "1.51", 404),
        ("POST", "1.51", 405),
        ("DELETE", "1.51", 405),
        ("PATCH", "1.56", 405),
    ):
        path = "/v1/allocations" + ("" if method == "POST" else "/a.json")
        body = [] if method == "PATCH" else ({} if method == "POST" else None)
        assert (await api.ask(method, path, body, version)).status == status, (method, version)
    old = (await api.ask("GET", f"/v1/allocations/{made['uuid']}.json", version="1.59")).json
    assert set(made) - set(old) == {"owner"}
    assert (await api.ask("GET", "/v1/allocations?owner=p1", version="1.59")).status == 406
    assert (await api.ask("GET", "/v1/allocations?fields=owner", version="1.59")).status == 406
    body = {"resource_class": "gold", "owner": "p1"}
    assert (await api.ask("POST", "/v1/allocations", body, "1.59")).status == 406
    assert "allocations" in (await api.ask("GET", "/v1", version="1.52")).json
    assert "allocations" not in (await api.ask("GET", "/v1", version="1.51")).json


async def test_who_may(api: World) -> None:
    await allocate(api, name="mine", owner="p1")
    await allocate(api, name="theirs", owner="p2")
    await allocate(api, name="nobodys")
    change = [{"op": "add", "path": "/extra/a", "value": 1}]
    for caller, seen, may in (
        (system("admin"), 3, True),
        (system("reader"), 3, False),
        (project("member"), 1, True),
        (project("reader"), 1, False),
    ):
        api.become(caller)
        listed = (await api.ask("GET", "/v1/allocations")).json["allocations"]
        assert len(listed) == seen
        good = 200 if may else 403
        assert (await api.ask("PATCH", "/v1/allocations/mine", change)).status == good
        if seen == 1:
            for method, body in (("GET", None), ("PATCH", change), ("DELETE", None)):
                assert (await api.ask(method, "/v1/allocations/theirs", body)).status == 404
            assert (await api.ask("GET", "/v1/allocations?owner=p2")).status == 403
            body = {"resource_class": "gold"}
            status = (await api.ask("POST", "/v1/allocations", body)).status
            assert status == (201 if may else 403)
            if may:
                mine = (await api.ask("GET", "/v1/allocations")).json["allocations"][-1]
                path = f"/v1/allocations/{mine['uuid']}"
                assert (await api.ask("DELETE", path)).status == 204
