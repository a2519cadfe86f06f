"""Steps: what a node offers, what is refused before the work, where secrets of arguments stay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa
from api_support import World, project, system, world

from ingot.kit.db.database import from_json
from ingot.kit.faults import Invalid
from ingot.kit.http.server import WebApp
from ingot.services.baremetal import BaremetalSettings, store
from ingot.services.baremetal.api.machines import make_service
from ingot.services.baremetal.steps import known as known_steps
from ingot.services.baremetal.steps import secrets as step_secrets
from ingot.services.baremetal.steps.options import StepRules
from ingot.services.baremetal.tables import node_secrets
from ingot.workflow.tables import operations

pytestmark = pytest.mark.anyio
UNKNOWN = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"
BIOS = {"interface": "bios", "step": "apply_configuration", "args": {"settings": []}}
ERASE = {"interface": "deploy", "step": "erase_devices", "args": {}}
AGENTS = [
    {
        "interface": "deploy",
        "step": "erase_devices",
        "priority": 10,
        "abortable": True,
        "reboot_requested": False,
    },
    {
        "interface": "raid",
        "step": "create_configuration",
        "priority": 0,
        "argsinfo": {"newer": {"description": "Said by the agent.", "required": True}},
    },
]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def agents_node(api: World, name: str = "n1", **values: Any) -> str:
    """A node whose steps the agent carries out, except those of its firmware settings."""
    node = await api.node(name=name, deploy_interface="direct", raid_interface="agent", **values)
    await api.force(name, provision_state="manageable", power_state="power off")
    return node["uuid"]


async def agent_called(api: World, uuid: str) -> None:
    now = api.baremetal.ctx.now()
    await api.db.write(lambda conn: known_steps.keep_agents(conn, uuid, "clean", AGENTS, now))


async def offered(api: World, query: str = "", ident: str = "n1") -> Any:
    app = WebApp([make_service(api.baremetal, api.app.services[0])])
    return await _get(app, f"/machines/v1/nodes/{ident}/steps{query}")


async def _get(app: WebApp, path: str) -> Any:
    async with falcon.testing.ASGIConductor(app.asgi) as conductor:
        return await conductor.simulate_get(path)


# -- what is offered -----------------------------------------------------------------------------


async def test_what_a_node_offers(api: World) -> None:
    uuid = await agents_node(api)
    reply = (await offered(api)).json
    assert reply["node"] == uuid
    steps = {(one["kind"], one["interface"], one["step"]): one for one in reply["steps"]}
    bios = steps["clean", "bios", "apply_configuration"]
    assert (bios["source"], bios["last_seen"]) == ("driver", None)
    assert bios["args"]["settings"]["required"] is True
    raid = steps["clean", "raid", "create_configuration"]
    assert (raid["source"], raid["last_seen"], raid["requires_ramdisk"]) == ("agent", None, True)
    assert steps["deploy", "deploy", "write_image"]["priority"] == 80
    assert ("clean", "deploy", "erase_devices") not in steps
    waits = {one["step"]: one["args"] for one in reply["reserved"]}
    assert set(waits) == {"power_on", "power_off", "reboot", "hold", "wait"}
    assert not waits["wait"]["seconds"]["required"]

    await agent_called(api, uuid)
    found = (await offered(api, "?kind=clean", uuid)).json["steps"]
    steps = {(one["interface"], one["step"]): one for one in found}
    erase = steps["deploy", "erase_devices"]
    assert (erase["source"], erase["priority"], erase["abortable"]) == ("agent", 10, True)
    assert erase["last_seen"] == api.baremetal.ctx.now()
    assert "newer" in steps["raid", "create_configuration"]["args"]
    assert {one["kind"] for one in found} == {"clean"}


async def test_who_may_look_and_what_is_wrong(api: World) -> None:
    await agents_node(api, owner="p1")
    assert (await offered(api, "?kind=x")).status_code == 400
    assert (await offered(api, "?x=1")).status_code == 400
    assert (await offered(api, ident="nobody")).status_code == 404
    for caller, status in (
        (system("reader"), 200),
        (project("reader"), 200),
        (project("admin", "p2"), 404),
    ):
        api.become(caller)
        reply = await offered(api)
        assert reply.status_code == status
        assert status == 200 or reply.json["error"]["code"] == status


# -- what is refused before the work -------------------------------------------------------------


async def verb(api: World, target: str, steps: list[dict[str, Any]], **more: Any) -> Any:
    kind = {"active": "deploy"}.get(target, target)
    body = {"target": target, f"{kind}_steps": steps, **more}
    return await api.ask("PUT", "/v1/nodes/n1/states/provision", body)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"interface": "bios", "step": "nothing"}, None),
        ({"interface": "bios", "step": "apply_configuration"}, "missing these required arguments"),
        (BIOS | {"args": {"settings": [], "x": 1, "y": 2}}, "unexpected arguments: x, y"),
        ({"interface": "bios", "step": "factory_reset", "args": {"x": 1}}, "unexpected"),
        ({"interface": "power", "step": "wait", "args": {"minutes": 1}}, "unexpected"),
        ({"interface": "power", "step": "wait", "args": {"seconds": 1}}, None),
        ({"interface": "power", "step": "hold"}, None),
        (ERASE, None),
        (BIOS, None),
    ],
)
async def test_arguments_are_checked_where_they_are_known(
    api: World, step: dict[str, Any], words: str | None
) -> None:
    await agents_node(api)
    reply = await verb(api, "clean", [step])
    assert reply.status == (202 if words is None else 400), reply.json
    assert words is None or words in reply.error
    state = (await api.ask("GET", "/v1/nodes/n1")).json["provision_state"]
    assert state == ("cleaning" if words is None else "manageable")


async def test_what_the_agent_said_last_counts(api: World) -> None:
    await agent_called(api, await agents_node(api))
    step = {"interface": "raid", "step": "create_configuration"}
    reply = await verb(api, "clean", [step])
    assert reply.status == 400 and "newer (Said by the agent.)" in reply.error
    reply = await verb(api, "clean", [ERASE], disable_ramdisk=True)
    assert reply.status == 400 and "requires booting a ramdisk" in reply.error
    # Of the other step the agent does not tell what it takes.
    other = ERASE | {"args": {"x": 1}}
    assert (await verb(api, "clean", [step | {"args": {"newer": 1}}, other])).status == 202


async def test_where_no_agent_comes_nothing_is_left_open(api: World) -> None:
    await api.node(name="n1")  # fake deploys boot no agent
    await api.force("n1", provision_state="manageable", power_state="power off")
    reply = await verb(api, "clean", [ERASE])
    assert reply.status == 400
    assert "node does not support this clean step: deploy.erase_devices" in reply.error
    assert "/machines/v1/nodes/" in reply.error
    child = ERASE | {"execute_on_child_nodes": True}
    assert "cannot be done on child nodes" in (await verb(api, "clean", [child, BIOS])).error
    child = {"interface": "power", "step": "reboot", "execute_on_child_nodes": True}
    for limit, status in ((["x"], 400), ([UNKNOWN], 404)):
        limited = child | {"limit_child_node_execution": limit}
        assert (await verb(api, "clean", [limited])).status == status
    assert (await verb(api, "clean", [child, BIOS])).status == 202


# -- deploy templates ----------------------------------------------------------------------------


async def template(api: World, name: str, *steps: dict[str, Any], priority: int = 50) -> None:
    body = {"name": name, "steps": [{**step, "priority": priority} for step in steps]}
    reply = await api.ask("POST", "/v1/deploy_templates", body)
    assert reply.status == 201, reply.json


async def test_templates_of_the_instances_traits_are_checked(api: World) -> None:
    await api.node(name="n1", instance_info={"traits": ["CUSTOM_A", "CUSTOM_B"]})
    await api.force("n1", provision_state="available", power_state="power off")
    await template(api, "CUSTOM_A", BIOS)
    await template(api, "CUSTOM_B", ERASE)
    await template(api, "CUSTOM_C", {"interface": "bios", "step": "nothing", "args": {}})
    validated = (await api.ask("GET", "/v1/nodes/n1/validate")).json["deploy"]
    assert validated["result"] is False
    assert "Matching deploy templates: CUSTOM_A,CUSTOM_B." in validated["reason"]
    assert "node does not support this deploy step: deploy.erase_devices" in validated["reason"]
    body = {"target": "active"}
    reply = await api.ask("PUT", "/v1/nodes/n1/states/provision", body)
    assert reply.status == 400 and "Matching deploy templates" in reply.error
    await api.ask("DELETE", "/v1/deploy_templates/CUSTOM_B")
    assert (await api.ask("GET", "/v1/nodes/n1/validate")).json["deploy"]["result"] is True
    await template(api, "CUSTOM_B", BIOS)
    reply = await api.ask("PUT", "/v1/nodes/n1/states/provision", body)
    assert "Duplicate deploy steps for bios.apply_configuration" in reply.error
    await api.ask("DELETE", "/v1/deploy_templates/CUSTOM_B")
    wrong = [{"interface": "deploy", "step": "deploy", "args": {}, "priority": 1}]
    assert "core step" in (await verb(api, "active", wrong)).error
    assert (await api.ask("PUT", "/v1/nodes/n1/states/provision", body)).status == 202


async def test_the_verbs_own_steps_override_templates(api: World) -> None:
    node = await api.node(name="n1", instance_info={"traits": ["CUSTOM_A"]})
    factory = {"interface": "bios", "step": "factory_reset", "args": {}}
    await template(api, "CUSTOM_A", BIOS, factory)
    mine = BIOS | {"args": {"settings": [{"name": "a", "value": "b"}]}, "priority": 0}

    def merged(conn: sa.Connection) -> list[dict[str, Any]]:
        found = store.get_node(conn, node["uuid"])
        return known_steps.deploy_steps(conn, api.baremetal.ctx.vault, found, [mine])

    assert await api.db.read(merged) == [mine, factory | {"priority": 50}]


# -- secrets -------------------------------------------------------------------------------------


async def test_secrets_of_steps_are_in_no_order(api: World) -> None:
    uuid = await agents_node(api)
    step = {"interface": "deploy", "step": "x", "args": {"password": "opensesame", "n": 1}}
    assert (await verb(api, "clean", [BIOS, step])).status == 202
    vault = api.baremetal.ctx.vault

    def look(conn: sa.Connection) -> tuple[str, Any]:
        text = conn.execute(sa.select(operations.c.input)).scalar_one()
        told: list[dict[str, Any]] = from_json(text)["steps"]
        return text, [step_secrets.whole(conn, vault, uuid, one) for one in told]

    text, whole = await api.db.read(look)
    assert "opensesame" not in text and "******" in text
    assert [one["args"] for one in whole] == [BIOS["args"], step["args"]]
    await api.db.write(lambda conn: step_secrets.forget(conn, vault, uuid))
    left = await api.db.read(lambda conn: conn.execute(sa.select(node_secrets.c.name)).all())
    assert left == []


async def test_steps_that_only_their_secrets_tell_apart(api: World) -> None:
    uuid = await agents_node(api)
    steps = [
        {"interface": "deploy", "step": "x", "args": {"password": word}} for word in ("a", "b")
    ]
    vault = api.baremetal.ctx.vault
    with pytest.raises(Invalid):
        await api.db.write(lambda conn: step_secrets.hide(conn, vault, uuid, steps))
    same = [steps[0], steps[0]]
    await api.db.write(lambda conn: step_secrets.hide(conn, vault, uuid, same))


# -- what operators say --------------------------------------------------------------------------


async def test_forbidden_steps_are_refused(tmp_path: Path) -> None:
    rules = StepRules(forbidden={"clean": frozenset({"bios.factory_reset"})})
    async with world(tmp_path, settings=BaremetalSettings(steps=rules)) as api:
        await agents_node(api)
        reply = await verb(api, "clean", [{"interface": "bios", "step": "factory_reset"}])
        assert reply.status == 400
        assert "clean step 'bios.factory_reset' is not allowed" in reply.error
        assert (await verb(api, "clean", [BIOS])).status == 202


def test_which_runbook_cleans() -> None:
    none = StepRules(cleaning_runbook="site")
    assert none.runbook_for("gold", {}) == ""
    some = StepRules(
        cleaning_source="hybrid", cleaning_runbook="site", by_resource_class={"gold": "for-gold"}
    )
    own = {"cleaning_runbook": "mine"}
    assert (some.runbook_for("gold", own), some.runbook_for(None, own)) == ("for-gold", "site")
    assert replace(some, from_node=True).runbook_for("gold", own) == "mine"
    with pytest.raises(Invalid):
        StepRules(cleaning_source="elsewhere")


def test_priorities_and_prohibitions_of_operators() -> None:
    rules = StepRules(clean_priorities={"deploy.erase_devices": 5})
    raw = {"interface": "vendor", "step": "send_raw", "priority": 7}
    assert rules.ranked(ERASE)["priority"] == 5 and rules.ranked(raw) is raw
    for kind in known_steps.KINDS:
        assert rules.allowed(kind, [raw, ERASE]) == [ERASE]
        with pytest.raises(Invalid):
            rules.refuse(kind, [ERASE, raw])
