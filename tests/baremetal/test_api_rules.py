"""Inspection rules over the API, applied by a real inspection, and with the stock command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from api_support import World, project, system, world
from test_api_clients import Cloud, running

from ingot.kit.tasks import events
from ingot.services.baremetal.tables import inspection_rules

pytestmark = pytest.mark.anyio

RULES = "/v1/inspection_rules"
ACTIONS = [{"op": "set-attribute", "args": {"path": "resource_class", "value": "s3cret"}}]
UUID = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def test_a_rule_comes_changes_and_goes(api: World) -> None:
    body = {"uuid": UUID, "actions": ACTIONS, "description": "d", "priority": 7}
    made = await api.ask("POST", RULES, body)
    assert made.status == 201
    assert made.headers["location"].endswith(f"/v1/inspection_rules/{UUID}")
    assert {k: v for k, v in made.json.items() if k not in ("created_at", "links")} == {
        "uuid": UUID,
        "description": "d",
        "priority": 7,
        "phase": "main",
        "sensitive": False,
        "conditions": [],
        "actions": ACTIONS,
        "updated_at": None,
    }
    assert made.json["links"][0]["href"].endswith(f"/v1/inspection_rules/{UUID}")
    assert (await api.ask("POST", RULES, body)).status == 409
    one = f"{RULES}/{UUID}"
    condition = {"op": "!eq", "args": [[1, 2]], "loop": [1], "more": 1}
    patched = await api.ask(
        "PATCH",
        one,
        [
            {"op": "add", "path": "/conditions", "value": [condition]},
            {"op": "remove", "path": "/description"},
            {"op": "remove", "path": "/priority"},
        ],
    )
    assert patched.status == 200 and patched.json["updated_at"]
    assert patched.json["conditions"] == [
        {"op": "!eq", "args": [[1, 2]], "loop": [1], "multiple": "any"}
    ]
    assert (patched.json["description"], patched.json["priority"]) == (None, 0)
    assert (await api.ask("GET", one)).json == patched.json
    assert set((await api.ask("GET", f"{one}?fields=uuid,phase")).json) == {
        "uuid",
        "phase",
        "links",
    }
    assert (await api.ask("DELETE", one)).status == 204
    for method, change in (("GET", None), ("DELETE", None), ("PATCH", [])):
        assert (await api.ask(method, one, change)).status == 404


async def test_lists(api: World) -> None:
    for number in range(3):
        await api.ask("POST", RULES, {"actions": ACTIONS, "priority": 10 - number})
    brief = (await api.ask("GET", RULES)).json["inspection_rules"]
    assert [set(one) for one in brief] == [
        {"uuid", "priority", "phase", "description", "links"}
    ] * 3
    first = (await api.ask("GET", f"{RULES}?limit=2&sort_key=priority")).json
    assert [one["priority"] for one in first["inspection_rules"]] == [8, 9]
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    assert [one["priority"] for one in rest["inspection_rules"]] == [10]
    assert "actions" in (await api.ask("GET", f"{RULES}?detail=true")).json["inspection_rules"][0]
    for query, count in (("phase=main", 3), ("phase=early", 0), ("fields=uuid", 3)):
        found = (await api.ask("GET", f"{RULES}?{query}")).json["inspection_rules"]
        assert len(found) == count
    for query in ("sort_key=actions", "limit=0", "fields=x", "detail=true&fields=uuid", "x=1"):
        assert (await api.ask("GET", f"{RULES}?{query}")).status == 400, query
    assert (await api.ask("DELETE", RULES)).status == 204
    assert (await api.ask("GET", RULES)).json == {"inspection_rules": []}


async def test_what_a_sensitive_rule_says_is_never_told(api: World) -> None:
    made = await api.ask("POST", RULES, {"uuid": UUID, "actions": ACTIONS, "sensitive": True})
    patched = await api.ask(
        "PATCH", f"{RULES}/{UUID}", [{"op": "add", "path": "/description", "value": "d"}]
    )
    listed = (await api.ask("GET", f"{RULES}?detail=true")).json["inspection_rules"][0]
    for shown in (made.json, patched.json, listed, (await api.ask("GET", f"{RULES}/{UUID}")).json):
        assert (shown["sensitive"], shown["actions"], shown["conditions"]) == (True, None, None)
    rows = await api.db.read(lambda conn: str(conn.execute(sa.select(inspection_rules)).all()))
    assert "s3cret" not in rows
    for change in (
        {"op": "replace", "path": "/sensitive", "value": False},
        {"op": "remove", "path": "/sensitive"},
    ):
        reply = await api.ask("PATCH", f"{RULES}/{UUID}", [change])
        assert reply.status == 400 and "cannot have the sensitive flag unset" in reply.error


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"op": "add", "path": "/scope", "value": "x"}, "Adding a new attribute (/scope)"),
        ({"op": "remove", "path": "/action/0"}, "no such attribute"),
        ({"op": "remove", "path": "/actions"}, "actions"),
        ({"op": "remove", "path": "/actions/7"}, "Couldn't apply patch"),
        ({"op": "replace", "path": "/uuid", "value": "x"}, "cannot be changed"),
        ({"op": "replace", "path": "/priority", "value": 10000}, "between 0 and 9999"),
        ({"op": "replace", "path": "/phase", "value": "early"}, "Invalid phase"),
    ],
)
async def test_patches_that_are_refused(api: World, change: Any, why: str) -> None:
    await api.ask("POST", RULES, {"uuid": UUID, "actions": ACTIONS})
    reply = await api.ask("PATCH", f"{RULES}/{UUID}", [change])
    assert reply.status == 400 and why in reply.error


@pytest.mark.parametrize("op", ["matches", "!contains"])
@pytest.mark.parametrize("regex", ["(", "a{2,1}", "(?=a)", r"(a)\1", "a" * 600])
async def test_patterns_that_are_none_are_refused_when_a_rule_is_made(
    api: World, op: str, regex: str
) -> None:
    conditions = [{"op": op, "args": {"value": "{node.name}", "regex": regex}}]
    body = {"uuid": UUID, "actions": ACTIONS, "conditions": conditions}
    reply = await api.ask("POST", RULES, body)
    assert reply.status == 400 and "invalid regular expression" in reply.error
    await api.ask("POST", RULES, {"uuid": UUID, "actions": ACTIONS})
    change = {"op": "add", "path": "/conditions", "value": conditions}
    assert (await api.ask("PATCH", f"{RULES}/{UUID}", [change])).status == 400


async def test_who_may(api: World) -> None:
    await api.ask("POST", RULES, {"uuid": UUID, "actions": ACTIONS})
    everyone = (
        (system("reader"), 200, 403),
        (system("member"), 200, 403),
        (project("admin"), 403, 403),
    )
    for caller, read, write in everyone:
        api.become(caller)
        assert (await api.ask("GET", RULES)).status == read
        assert (await api.ask("GET", f"{RULES}/{UUID}")).status == read
        assert (await api.ask("POST", RULES, {"actions": ACTIONS})).status == write
        assert (await api.ask("PATCH", f"{RULES}/{UUID}", [])).status == write
        assert (await api.ask("DELETE", f"{RULES}/{UUID}")).status == write
        assert (await api.ask("DELETE", RULES)).status == write


async def test_before_1_96(api: World) -> None:
    for method, path, status in (
        ("GET", RULES, 404),
        ("GET", f"{RULES}/{UUID}", 404),
        ("POST", RULES, 405),
        ("PATCH", f"{RULES}/{UUID}", 405),
        ("DELETE", f"{RULES}/{UUID}", 405),
    ):
        body = {"actions": ACTIONS} if method == "POST" else [] if method == "PATCH" else None
        assert (await api.ask(method, path, body, version="1.95")).status == status
    assert (await api.ask("GET", f"{RULES}/nonsense")).status == 400
    assert "inspection_rules" in (await api.ask("GET", "/v1")).json
    assert "inspection_rules" not in (await api.ask("GET", "/v1", version="1.95")).json


# -- with real inspections ---------------------------------------------------------------------------


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with running(tmp_path) as made:
        yield made


async def inspected(cloud: Cloud, *commands: str) -> dict[str, Any]:
    output = await cloud.shell(
        "node create --driver fake-hardware --name n1 --driver-info fake_password=x",
        "node manage n1 --wait 60",
        *commands,
        "node inspect n1 --wait 60",
    )
    node = await cloud.show("/v1/nodes/n1")
    assert node["inspection_finished_at"] or node["last_error"], output
    return node


async def test_the_stock_command_line(cloud: Cloud, tmp_path: Path) -> None:
    actions = tmp_path / "actions.json"
    actions.write_text(
        json.dumps(
            [
                {"op": "set-attribute", "args": {"path": "resource_class", "value": "large"}},
                {"op": "add-trait", "args": {"name": "CUSTOM_{item}"}, "loop": ["A", "B"]},
                {"op": "set-attribute", "args": {"path": "driver_info/fake_token", "value": "t"}},
            ]
        )
    )
    conditions = [{"op": "gt", "args": {"values": ["{inventory[cpu][count]}", 2]}}]
    file = tmp_path / "conditions.json"
    file.write_text(json.dumps(conditions))
    rule = "inspection rule"
    output = await cloud.shell(
        f"{rule} create --uuid {UUID} --description large --priority 100"
        f" --conditions {file} --actions {actions}",
        f"{rule} create --sensitive true --phase main --actions {actions}",
        f"{rule} set {UUID} --priority 50 --description larger",
        f"{rule} unset {UUID} --description",
        f"{rule} list",
        f"{rule} list --long",
        f"{rule} show {UUID} -f json",
    )
    shown = await cloud.show(f"{RULES}/{UUID}")
    assert "priority" in shown, output
    assert (shown["priority"], shown["description"]) == (50, None), output
    assert shown["conditions"] == conditions
    listed = (await cloud.show(f"{RULES}?detail=true"))["inspection_rules"]
    assert [one["sensitive"] for one in listed] == [False, True], output

    node = await inspected(cloud)
    assert node["resource_class"] == "large"
    assert node["traits"] == ["CUSTOM_A", "CUSTOM_B"]
    assert node["driver_info"]["fake_token"] == "******"
    assert node["properties"]["cpus"] == 4 and node["last_error"] is None
    told = await cloud.api.db.read(lambda conn: events.query(conn, subject=f"node:{node['uuid']}"))
    titles = [event.title for event in told if event.title.startswith("Inspection rule")]
    assert len(titles) == 2
    assert "set resource_class; added trait CUSTOM_A" in titles[0] and UUID in titles[0]
    assert "hidden" in titles[1]
    output = await cloud.shell(f"{rule} delete {UUID} {listed[1]['uuid']}")
    assert (await cloud.show(RULES)) == {"inspection_rules": []}, output


async def test_a_rule_that_fails_is_named_and_nothing_is_written(cloud: Cloud) -> None:
    rules = (
        {"actions": ACTIONS, "priority": 9},
        {
            "uuid": UUID,
            "description": "no small ones",
            "conditions": [{"op": "lt", "args": {"values": ["{inventory[cpu][count]}", 8]}}],
            "actions": [{"op": "fail", "args": {"msg": "too small"}}],
        },
    )
    for rule in rules:
        assert (await cloud.api.ask("POST", RULES, rule)).status == 201
    node = await inspected(cloud)
    assert node["provision_state"] == "inspect failed"
    assert f"Inspection rule no small ones ({UUID}) failed: too small" in node["last_error"]
    assert node["resource_class"] is None and "cpus" not in node["properties"]


async def test_calls_are_made_when_all_is_written(cloud: Cloud) -> None:
    seen: list[tuple[str, str | None]] = []
    answers = [503, 200]

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("X-Key")))
        return web.Response(status=answers.pop(0) if answers else 404)

    server = web.AppRunner(web.Application())
    server.app.router.add_get("/{path}", answer)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{server.addresses[0][1]}"
        args = {"url": url + "/{node.name}", "headers": {"X-Key": "k"}, "backoff_factor": 0.01}
        actions = [{"op": "api-call", "args": args}]
        await cloud.api.ask("POST", RULES, {"uuid": UUID, "actions": actions})
        node = await inspected(cloud)
        assert (node["provision_state"], seen) == ("manageable", [("/n1", "k")] * 2)
        await cloud.shell("node inspect n1 --wait 60")
        node = await cloud.show("/v1/nodes/n1")
        assert node["provision_state"] == "inspect failed"
        assert UUID in node["last_error"] and "it answered 404" in node["last_error"]
        assert node["properties"]["cpus"] == 4
    finally:
        await server.cleanup()
