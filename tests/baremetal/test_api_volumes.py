"""Volume connectors and targets by the API: power-off guards, secrets, what only one may have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, project, system, world

from ingot.services.baremetal.ports import volumes

pytestmark = pytest.mark.anyio
NOBODY = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"
CONNECTOR = {"type": "iqn", "connector_id": "iqn.2020-07.org.example:a"}
TARGET = {"volume_type": "iscsi", "volume_id": NOBODY, "boot_index": 0}
KINDS = {"connectors": CONNECTOR, "targets": TARGET}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def create(api: World, kind: str, node: str = "n1", **values: Any) -> dict[str, Any]:
    uuid = (await api.ask("GET", f"/v1/nodes/{node}")).json["uuid"]
    body = {**KINDS[kind], "node_uuid": uuid, **values}
    reply = await api.ask("POST", f"/v1/volume/{kind}", body)
    assert reply.status == 201, reply.json
    return reply.json


def put(path: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": path, "value": value}]


async def test_the_root(api: World) -> None:
    await api.node(name="n1")
    for path in ("/v1/volume", "/v1/nodes/n1/volume"):
        shown = (await api.ask("GET", path)).json
        assert set(shown) == {"links", "connectors", "targets"}
        assert shown["targets"][0]["href"].endswith(f"{path}/targets")
        assert shown["links"][0]["href"].endswith(f"{path}/")
        assert (await api.ask("GET", path, version="1.31")).status == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_create_show_patch_delete(api: World, kind: str) -> None:
    node = await api.node(name="n1")
    await api.force("n1", power_state="power off")
    body = {**KINDS[kind], "node_uuid": node["uuid"], "extra": {"a": 1}}
    reply = await api.ask("POST", f"/v1/volume/{kind}", body)
    assert reply.status == 201
    made = reply.json
    path = f"/v1/volume/{kind}/{made['uuid']}"
    assert reply.headers["location"].endswith("/baremetal" + path)
    more = {"properties"} if kind == "targets" else set()
    assert set(made) == {*body, "uuid", "created_at", "updated_at", "links", *more}
    assert (await api.ask("GET", path)).json == made
    assert (await api.ask("GET", path, version="1.31")).status == 404
    shown = (await api.ask("PATCH", path, put("/extra/b", 2))).json
    assert shown["extra"] == {"a": 1, "b": 2} and shown["updated_at"]
    gone = [{"op": "remove", "path": "/extra"}, {"op": "remove", "path": "/node_uuid"}]
    shown = (await api.ask("PATCH", path, gone)).json
    assert (shown["extra"], shown["node_uuid"]) == ({}, node["uuid"])
    fields = (await api.ask("GET", f"{path}?fields=uuid,extra")).json
    assert set(fields) == {"uuid", "extra", "links"}
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("GET", path)).status == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_bad_bodies(api: World, kind: str) -> None:
    node = await api.node(name="n1")
    good = {**KINDS[kind], "node_uuid": node["uuid"]}
    bad: list[dict[str, Any]] = [
        {},
        *({k: v for k, v in good.items() if k != name} for name in good),
        *({**good, name: []} for name in good),
        {**good, "node_uuid": "n1"},
        {**good, "node_uuid": NOBODY},
        {**good, "uuid": "x"},
        {**good, "extra": "x"},
        {**good, "surprise": 1},
    ]
    if kind == "targets":
        bad += [{**good, "boot_index": value} for value in ("0", True, 0.5, None)]
        bad += [{**good, "properties": "x"}, {**good, "volume_type": "x" * 65}]
    for body in bad:
        reply = await api.ask("POST", f"/v1/volume/{kind}", body)
        assert reply.status == 400 and reply.error, body
    assert (await api.ask("GET", f"/v1/volume/{kind}")).json == {kind: []}


@pytest.mark.parametrize("kind", KINDS)
async def test_bad_patches(api: World, kind: str) -> None:
    await api.node(name="n1")
    await api.node(name="n2", owner="another")
    await api.force("n1", power_state="power off")
    made = await create(api, kind)
    path = f"/v1/volume/{kind}/{made['uuid']}"
    first = next(iter(KINDS[kind]))
    for patch in (
        put("/uuid", NOBODY),
        put("/created_at", "x"),
        put("/node_uuid", NOBODY),
        put("/node_uuid", "n2"),
        put("/node_uuid", 5),
        put(f"/{first}", None),
        put("/extra", "x"),
        put("/sealed", "x"),
        [{"op": "remove", "path": f"/{first}"}],
        [{"op": "replace", "path": "/extra/a", "value": 1}],
        [{"op": "move", "path": "/extra/a"}],
    ):
        assert (await api.ask("PATCH", path, patch)).status == 400, patch
    assert (await api.ask("GET", path)).json == made
    for method in ("GET", "PATCH", "DELETE"):
        body = [] if method == "PATCH" else None
        assert (await api.ask(method, f"/v1/volume/{kind}/x", body)).status == 400
        assert (await api.ask(method, f"/v1/volume/{kind}/{NOBODY}", body)).status == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_only_machines_that_are_off(api: World, kind: str) -> None:
    await api.node(name="n1")
    await api.force("n1", power_state="power on", provision_state="active")
    made = await create(api, kind)
    path = f"/v1/volume/{kind}/{made['uuid']}"
    assert (await api.ask("PATCH", path, put("/extra/a", 1))).status == 400
    reply = await api.ask("DELETE", path)
    assert reply.status == 400 and "power on" in reply.error
    await api.force("n1", provision_state="available")
    assert (await api.ask("PATCH", path, put("/extra/a", 1))).status == 400
    assert (await api.ask("DELETE", path)).status == 400
    await api.force("n1", power_state="power off", provision_state="active")
    assert (await api.ask("PATCH", path, put("/extra/a", 1))).status == 200
    assert (await api.ask("DELETE", path)).status == 204
    made = await create(api, kind)
    # Where nothing runs on the machine that belongs to anybody, it may go, on or off.
    await api.force("n1", power_state="power on", provision_state="manageable")
    assert (await api.ask("DELETE", f"/v1/volume/{kind}/{made['uuid']}")).status == 204


async def test_what_only_one_may_have(api: World) -> None:
    for name in ("n1", "n2"):
        await api.node(name=name)
        await api.force(name, power_state="power off")
    connector = await create(api, "connectors")
    node = (await api.ask("GET", "/v1/nodes/n2")).json["uuid"]
    reply = await api.ask("POST", "/v1/volume/connectors", {**CONNECTOR, "node_uuid": node})
    assert reply.status == 409 and "already exists" in reply.error
    other = await create(api, "connectors", "n2", connector_id="b")
    path = f"/v1/volume/connectors/{other['uuid']}"
    taken = put("/connector_id", CONNECTOR["connector_id"])
    assert (await api.ask("PATCH", path, taken)).status == 409
    body = {**CONNECTOR, "connector_id": "c", "node_uuid": node, "uuid": connector["uuid"]}
    assert (await api.ask("POST", "/v1/volume/connectors", body)).status == 409

    target = await create(api, "targets")
    await create(api, "targets", "n2")
    second = await create(api, "targets", boot_index=1)
    body = {**TARGET, "node_uuid": target["node_uuid"]}
    assert (await api.ask("POST", "/v1/volume/targets", body)).status == 409
    path = f"/v1/volume/targets/{second['uuid']}"
    assert (await api.ask("PATCH", path, put("/boot_index", 0))).status == 409
    assert (await api.ask("PATCH", path, put("/node_uuid", node))).json["node_uuid"] == node


@pytest.mark.parametrize("kind", KINDS)
async def test_lists(api: World, kind: str) -> None:
    await api.node(name="n1", owner="p1")
    await api.node(name="n2")
    distinct = "connector_id" if kind == "connectors" else "boot_index"
    made = [
        await create(api, kind, node, **{distinct: f"c{n}" if kind == "connectors" else n})
        for n, node in enumerate(("n1", "n1", "n2"))
    ]
    uuids = [one["uuid"] for one in made]
    first = (await api.ask("GET", f"/v1/volume/{kind}?limit=2")).json
    brief = {"uuid", "node_uuid", "links", *KINDS[kind]}
    assert [set(one) for one in first[kind]] == [brief] * 2
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    assert [one["uuid"] for one in first[kind] + rest[kind]] == uuids and "next" not in rest
    assert (await api.ask("GET", f"/v1/volume/{kind}?detail=true")).json[kind] == made
    for path, expected in {
        f"/v1/volume/{kind}?node=n1": uuids[:2],
        f"/v1/volume/{kind}?node={made[2]['node_uuid']}": uuids[2:],
        f"/v1/nodes/n1/volume/{kind}": uuids[:2],
        f"/v1/volume/{kind}?sort_key={distinct}&sort_dir=desc": uuids[::-1],
        f"/v1/volume/{kind}?fields=extra&detail=false": [None] * 3,
    }.items():
        found = (await api.ask("GET", path)).json[kind]
        assert [one.get("uuid") for one in found] == expected, path
    for query, status in {
        "limit=0": 400,
        "sort_key=extra": 400,
        "sort_key=sealed": 400,
        "marker=x": 400,
        f"marker={NOBODY}": 404,
        "node=nobody": 404,
        "fields=nothing": 400,
        "fields=sealed": 400,
        "fields=uuid&detail=true": 400,
        "detail=perhaps": 400,
        "project=p1": 400,
    }.items():
        assert (await api.ask("GET", f"/v1/volume/{kind}?{query}")).status == status, query
    assert (await api.ask("GET", f"/v1/nodes/n1/volume/{kind}/{uuids[0]}")).status == 400
    assert (await api.ask("POST", f"/v1/nodes/n1/volume/{kind}", {})).status == 400
    assert (await api.ask("GET", f"/v1/volume/{kind}", version="1.31")).status == 404
    assert (await api.ask("GET", f"/v1/volume/{kind}/detail")).status == 400
    api.become(project("reader"))
    found = (await api.ask("GET", f"/v1/volume/{kind}")).json[kind]
    assert [one["uuid"] for one in found] == uuids[:2]
    assert (await api.ask("GET", f"/v1/volume/{kind}/{uuids[2]}")).status == 404
    assert (await api.ask("GET", f"/v1/nodes/n2/volume/{kind}")).status == 404


async def test_secrets_are_sealed(api: World) -> None:
    await api.node(name="n1", owner="p1")
    await api.force("n1", power_state="power off")
    secret = {"target_iqn": "iqn.x", "auth_password": "s3same", "auth_username": "u"}
    made = await create(api, "targets", properties=secret)
    path = f"/v1/volume/targets/{made['uuid']}"
    shown = {**secret, "auth_password": "******"}
    assert made["properties"] == shown
    assert (await api.ask("GET", "/v1/volume/targets?fields=properties")).json["targets"][0][
        "properties"
    ] == shown

    async def kept() -> dict[str, Any]:
        ctx = api.baremetal.ctx
        return await api.db.read(lambda conn: volumes.properties(conn, ctx.vault, made["uuid"]))

    assert await kept() == secret
    text = await api.db.read(
        lambda conn: str(conn.execute(sa.text("SELECT * FROM volume_targets")).all())
    )
    assert "s3same" not in text
    # Sent back as it was shown, the secret stays.
    await api.ask("PATCH", path, put("/properties", {**shown, "target_lun": 1}))
    assert await kept() == {**secret, "target_lun": 1}
    reply = await api.ask("PATCH", path, put("/properties/auth_password", "new"))
    assert "new" not in str(reply.json) and (await kept())["auth_password"] == "new"
    await api.ask("PATCH", path, [{"op": "remove", "path": "/properties"}])
    assert await kept() == {}
    await api.ask("PATCH", path, put("/properties", secret))
    for caller, seen in (
        (system("reader"), True),
        (project("admin"), True),
        (project("member"), False),
        (project("reader"), False),
    ):
        api.become(caller)
        found = (await api.ask("GET", path)).json["properties"]
        assert (found == shown) is seen
        assert seen or list(found) == ["redacted_contents"]
        listed = (await api.ask("GET", "/v1/volume/targets?detail=true")).json["targets"]
        assert listed[0]["properties"] == found


async def test_who_may(api: World) -> None:
    mine = await api.node(name="n1", owner="p1", lessee="p2")
    other = await api.node(name="n2", owner="p3")
    for name in ("n1", "n2"):
        await api.force(name, power_state="power off")
    body = {**CONNECTOR, "node_uuid": mine["uuid"]}
    for caller, status in (
        (project("member", "p1"), 403),
        (project("member", "p2"), 403),
        (project("admin", "p3"), 403),
        (project("admin", "p2"), 201),
    ):
        api.become(caller)
        reply = await api.ask("POST", "/v1/volume/connectors", body)
        assert reply.status == status, caller
    path = f"/v1/volume/connectors/{reply.json['uuid']}"
    for caller, patched, deleted in (
        (project("admin", "p3"), 404, 404),
        (project("member", "p2"), 403, 403),
        (project("member", "p1"), 200, 403),
        (project("admin", "p2"), 200, 204),
    ):
        api.become(caller)
        assert (await api.ask("PATCH", path, put("/extra/a", caller.user_id))).status == patched
        assert (await api.ask("DELETE", path)).status == deleted
    for node in (other["uuid"], NOBODY):
        body = {**CONNECTOR, "node_uuid": node}
        assert (await api.ask("POST", "/v1/volume/connectors", body)).status == 403
    api.become(system())
    assert (await api.ask("POST", "/v1/volume/connectors", body)).status == 400
