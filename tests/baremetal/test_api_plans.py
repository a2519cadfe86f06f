"""Deploy templates and runbooks by the API: shapes, secrets, versions, owners, use by a verb."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, project, system, world

from ingot.services.baremetal import tables

pytestmark = pytest.mark.anyio
UNKNOWN = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"
STEP = {"interface": "bios", "step": "apply_configuration", "args": {"settings": []}}
TEMPLATE = {"name": "CUSTOM_HT", "steps": [STEP | {"priority": 150}]}
RUNBOOK = {"name": "CUSTOM_HT", "steps": [STEP | {"order": 1}]}
BOTH = [("deploy_templates", TEMPLATE), ("runbooks", RUNBOOK)]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def change(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path} | ({} if op == "remove" else {"value": value})


async def create(api: World, path: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    reply = await api.ask("POST", f"/v1/{path}", body | more)
    assert reply.status == 201, reply.json
    return reply.json


# -- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "body"), BOTH)
async def test_the_thread_of_one(api: World, path: str, body: dict[str, Any]) -> None:
    reply = await api.ask("POST", f"/v1/{path}", body)
    made = reply.json
    assert reply.headers["location"].endswith(f"/v1/{path}/{made['uuid']}")
    assert (made["name"], made["steps"], made["extra"]) == ("CUSTOM_HT", body["steps"], {})
    for ident in ("CUSTOM_HT", made["uuid"]):
        assert (await api.ask("GET", f"/v1/{path}/{ident}")).json == made
    patch = [change("replace", "/name", "CUSTOM_B"), change("add", "/extra/a", 1)]
    patched = (await api.ask("PATCH", f"/v1/{path}/CUSTOM_HT", patch)).json
    assert (patched["name"], patched["extra"]) == ("CUSTOM_B", {"a": 1})
    await create(api, path, body, uuid=UNKNOWN)
    reply = await api.ask("GET", f"/v1/{path}?limit=1&sort_key=name")
    assert [set(one) for one in reply.json[path]] == [{"uuid", "name", "links"}]
    rest = (await api.ask("GET", reply.json["next"].split("/baremetal", 1)[1])).json[path]
    assert [one["uuid"] for one in rest] == [UNKNOWN]
    whole = (await api.ask("GET", f"/v1/{path}?detail=true")).json[path]
    assert patched in whole
    assert (await api.ask("DELETE", f"/v1/{path}/CUSTOM_B")).status == 204
    assert (await api.ask("GET", f"/v1/{path}/CUSTOM_B")).status == 404


@pytest.mark.parametrize(("path", "body"), BOTH)
@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "no name"},
        {"name": None},
        {"steps": []},
        {"steps": None},
        {"steps": [{}]},
        {"uuid": "x"},
        {"extra": []},
        {"surprise": 1},
        {"description": "x" * 256},
    ],
)
async def test_bad_bodies(
    api: World, path: str, body: dict[str, Any], wrong: dict[str, Any]
) -> None:
    reply = await api.ask("POST", f"/v1/{path}", body | wrong)
    assert reply.status == 400 and reply.error
    assert (await api.ask("GET", f"/v1/{path}")).json[path] == []


@pytest.mark.parametrize(("path", "body"), BOTH)
@pytest.mark.parametrize(
    "wrong",
    [
        {"interface": "console"},
        {"interface": 1},
        {"step": ""},
        {"args": []},
        {"args": None},
        {"priority": -1, "order": -1},
        {"priority": "x", "order": "x"},
        {"priority": "9" * 5000, "order": "9" * 5000},
        {"surprise": 1},
    ],
)
async def test_bad_steps(
    api: World, path: str, body: dict[str, Any], wrong: dict[str, Any]
) -> None:
    number = "priority" if path == "deploy_templates" else "order"
    given = {k: v for k, v in wrong.items() if k not in ("priority", "order") or k == number}
    step = body["steps"][0] | given
    assert (await api.ask("POST", f"/v1/{path}", body | {"steps": [step]})).status == 400
    twice = await api.ask("POST", f"/v1/{path}", body | {"steps": body["steps"] * 2})
    assert twice.status == 400 and "Duplicate" in twice.error
    await create(api, path, body)
    assert (
        await api.ask("PATCH", f"/v1/{path}/CUSTOM_HT", [change("add", "/steps/-", step)])
    ).status == 400


@pytest.mark.parametrize(("path", "body"), BOTH)
async def test_bad_patches_and_conflicts(api: World, path: str, body: dict[str, Any]) -> None:
    await create(api, path, body, uuid=UNKNOWN)
    await create(api, path, body, name="CUSTOM_B")
    for taken in ({"uuid": UNKNOWN, "name": "CUSTOM_C"}, {}):
        assert (await api.ask("POST", f"/v1/{path}", body | taken)).status == 409
    rename = [change("replace", "/name", "CUSTOM_HT")]
    assert (await api.ask("PATCH", f"/v1/{path}/CUSTOM_B", rename)).status == 409
    for bad in (
        change("replace", "/uuid", UNKNOWN),
        change("remove", "/name"),
        change("remove", "/steps"),
        change("replace", "/steps", []),
        change("add", "/steps/9", body["steps"][0]),
        change("replace", "/steps/0/interface", "console"),
        change("add", "/steps/0/surprise", 1),
        change("replace", "/extra", "x"),
        change("replace", "/name", "no name"),
    ):
        assert (await api.ask("PATCH", f"/v1/{path}/CUSTOM_B", [bad])).status == 400, bad
    for bad in ("sort_key=steps", "sort_key=sealed", "fields=sealed", "fields=uuid&detail=true"):
        assert (await api.ask("GET", f"/v1/{path}?{bad}")).status == 400, bad


@pytest.mark.parametrize(("path", "body"), BOTH)
async def test_secrets_of_arguments_stay_inside(
    api: World, path: str, body: dict[str, Any]
) -> None:
    step = body["steps"][0] | {"args": {"password": "opensesame", "size": 1}}
    made = await create(api, path, body, steps=[step])
    assert made["steps"][0]["args"] == {"password": "******", "size": 1}
    patch = [change("replace", "/steps/0/args/size", 2)]
    shown = (await api.ask("PATCH", f"/v1/{path}/CUSTOM_HT", patch)).json
    assert shown["steps"][0]["args"] == {"password": "******", "size": 2}
    # A client that writes back what it read changes no secret.
    patch = [change("replace", "/steps", shown["steps"])]
    assert (await api.ask("PATCH", f"/v1/{path}/CUSTOM_HT", patch)).status == 200

    def look(conn: sa.Connection) -> tuple[str, Any]:
        from ingot.services.baremetal.templates import service as templates

        row = conn.execute(sa.select(tables.metadata.tables[path])).mappings().one()
        return str(dict(row)), templates.whole_steps(api.baremetal.ctx.vault, row)

    text, whole = await api.db.read(look)
    assert "opensesame" not in text
    assert whole[0]["args"] == {"password": "opensesame", "size": 2}


@pytest.mark.parametrize(("path", "body", "since"), [(*BOTH[0], 55), (*BOTH[1], 92)])
async def test_versions(api: World, path: str, body: dict[str, Any], since: int) -> None:
    await create(api, path, body)
    for method, status in (("GET", 404), ("POST", 405), ("PATCH", 405), ("DELETE", 405)):
        where = f"/v1/{path}" + ("" if method == "POST" else "/CUSTOM_HT")
        sent = {"POST": body, "PATCH": []}.get(method)
        reply = await api.ask(method, where, sent, f"1.{since - 1}")
        assert reply.status == status
    assert path in (await api.ask("GET", "/v1", version=f"1.{since}")).json
    assert path not in (await api.ask("GET", "/v1", version=f"1.{since - 1}")).json


async def test_templates_belong_to_operators(api: World) -> None:
    await create(api, "deploy_templates", TEMPLATE)
    patch = [change("add", "/extra/a", 1)]
    for caller, statuses in (
        (system("admin"), (200, 200, 204)),
        (system("member"), (200, 403, 403)),
        (project("admin"), (403, 403, 403)),
    ):
        api.become(caller)
        if statuses[1] == 403:
            assert (await api.ask("POST", "/v1/deploy_templates", TEMPLATE)).status == 403
            api.become(system())
            await api.ask("POST", "/v1/deploy_templates", TEMPLATE)
            api.become(caller)
        found = [
            (await api.ask(method, "/v1/deploy_templates/CUSTOM_HT", sent)).status
            for method, sent in (("GET", None), ("PATCH", patch), ("DELETE", None))
        ]
        assert tuple(found) == statuses, caller


# -- runbooks ------------------------------------------------------------------------------------


async def test_names_traits_and_descriptions_came_later(api: World) -> None:
    body = RUNBOOK | {"name": "free-name.1"}
    assert (await api.ask("POST", "/v1/runbooks", body, "1.111")).status == 400
    made = await create(api, "runbooks", body, description="What it does")
    assert (made["description"], made["traits"], made["public"]) == ("What it does", [], False)
    old = (await api.ask("GET", f"/v1/runbooks/{made['uuid']}", version="1.111")).json
    assert set(made) - set(old) == {"description", "traits"}
    path = "/v1/runbooks/free-name.1"
    assert (await api.ask("PUT", f"{path}/traits", {"traits": ["CUSTOM_B"]})).status == 204
    reply = await api.ask("PUT", f"{path}/traits/CUSTOM_A")
    assert reply.status == 204 and reply.headers["location"].endswith(f"{path}/traits/CUSTOM_A")
    assert (await api.ask("GET", f"{path}/traits")).json == {"traits": ["CUSTOM_A", "CUSTOM_B"]}
    for gone, left in (("/CUSTOM_B", ["CUSTOM_A"]), ("/CUSTOM_B", ["CUSTOM_A"]), ("", [])):
        assert (await api.ask("DELETE", f"{path}/traits{gone}")).status == 204
        assert (await api.ask("GET", path)).json["traits"] == left
    assert (await api.ask("PUT", f"{path}/traits/lower")).status == 400
    assert (await api.ask("GET", f"{path}/traits", version="1.111")).status == 404
    late = [change("replace", "/description", "x")]
    assert (await api.ask("PATCH", path, late, "1.111")).status == 400
    assert (await api.ask("PATCH", path, late)).json["description"] == "x"


async def test_owners_and_the_public(api: World) -> None:
    await create(api, "runbooks", RUNBOOK, name="CUSTOM_P2", owner="p2")
    await create(api, "runbooks", RUNBOOK, name="CUSTOM_ALL", public=True)
    await create(api, "runbooks", RUNBOOK, name="CUSTOM_SYSTEM")
    api.become(project("manager"))
    mine = await create(api, "runbooks", RUNBOOK, name="CUSTOM_P1")
    assert (mine["owner"], mine["public"]) == ("p1", False)
    for wrong in ({"owner": "p2"}, {"public": True}):
        assert (await api.ask("POST", "/v1/runbooks", RUNBOOK | wrong)).status == 400
    listed = (await api.ask("GET", "/v1/runbooks")).json["runbooks"]
    assert [one["name"] for one in listed] == ["CUSTOM_ALL", "CUSTOM_P1"]
    assert (await api.ask("GET", "/v1/runbooks/CUSTOM_ALL")).status == 200
    patch = [change("add", "/extra/a", 1)]
    for name, statuses in (
        ("CUSTOM_P1", (200, 200)),
        ("CUSTOM_ALL", (200, 403)),
        ("CUSTOM_P2", (404, 404)),
        ("CUSTOM_SYSTEM", (404, 404)),
    ):
        for (method, body), status in zip((("GET", None), ("PATCH", patch)), statuses, strict=True):
            assert (await api.ask(method, f"/v1/runbooks/{name}", body)).status == status
    for field, value in (("owner", "p2"), ("public", True)):
        bad = [change("replace", f"/{field}", value)]
        assert (await api.ask("PATCH", "/v1/runbooks/CUSTOM_P1", bad)).status == 403
    api.become(project("member"))
    assert (await api.ask("POST", "/v1/runbooks", RUNBOOK)).status == 403
    assert (await api.ask("DELETE", "/v1/runbooks/CUSTOM_P1")).status == 403
    api.become(system())
    assert len((await api.ask("GET", "/v1/runbooks")).json["runbooks"]) == 4
    publish = [change("replace", "/public", True)]
    shown = (await api.ask("PATCH", "/v1/runbooks/CUSTOM_P1", publish)).json
    assert (shown["public"], shown["owner"]) == (True, None)
    give = [change("replace", "/owner", "p1")]
    assert (await api.ask("PATCH", "/v1/runbooks/CUSTOM_P1", give)).status == 400
    give.insert(0, change("replace", "/public", False))
    assert (await api.ask("PATCH", "/v1/runbooks/CUSTOM_P1", give)).json["owner"] == "p1"


async def provision(api: World, version: str = "1.115", **body: Any) -> Any:
    return await api.ask("PUT", "/v1/nodes/n1/states/provision", body, version)


async def test_a_runbook_is_used_on_machines_that_share_a_trait(api: World) -> None:
    await api.node(name="n1", owner="p1")
    await api.force("n1", provision_state="manageable")
    steps = [
        STEP | {"order": 2},
        {"interface": "raid", "step": "create_configuration", "args": {}, "order": 1},
    ]
    await create(api, "runbooks", RUNBOOK, steps=steps, owner="p1")
    verb = {"target": "clean", "runbook": "CUSTOM_HT"}
    assert (await provision(api, "1.91", **verb)).status == 406
    assert (await provision(api, target="clean", runbook="nobody")).status == 404
    reply = await provision(api, **verb)
    assert reply.status == 400 and "no traits configured" in reply.error
    reply = await provision(api, "1.111", **verb)
    assert reply.status == 400 and "has not been approved" in reply.error
    await api.ask("PUT", "/v1/runbooks/CUSTOM_HT/traits/CUSTOM_A")
    assert "does not have any" in (await provision(api, **verb)).error
    await api.ask("PUT", "/v1/nodes/n1/traits", {"traits": ["CUSTOM_A"]})
    assert (await provision(api, **verb, clean_steps=[STEP])).status == 400
    assert (await provision(api, target="provide", runbook="CUSTOM_HT")).status == 400
    api.become(project("admin", "p2"))
    assert (await provision(api, **verb)).status == 404
    api.become(project("member"))
    assert (await provision(api, **verb)).status == 403
    api.become(project("manager"))
    assert (await provision(api, **verb)).status == 202

    def order(conn: sa.Connection) -> Any:
        from ingot.workflow.tables import operations

        return conn.execute(sa.select(operations.c.input)).scalar_one()

    text = str(await api.db.read(order))
    assert text.index("create_configuration") < text.index("apply_configuration")
