"""What each persona may do, request by request, as upstream's own access tests tell it.

The judge are the tables of cases of the `ironic` 39 package: some 850 requests with a persona and the status they end in. Here
they are sent to our API over like furniture. What counts is who is let in: 403 and 404 must be the same.
An allowed request ends there in 503 (no conductor), here in whatever it comes to.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_support import World, world
from personas import Furniture, Snapshot
from test_api_policy import upstream

from ingot.kit.auth.policy import Caller

pytestmark = pytest.mark.anyio

OWNER = "70e5e25a-2ca2-4cb1-8ae8-7d8739cee205"
LESSEE = "f11853c7-fa9c-4db3-a477-c9d8e0dbbf13"

#: Cases that end differently here, and why: pattern of the case's name -> reason.
DIFFERENT: dict[str, str] = {
    "drivers_(driver_name|properties|raid|vendor)": "that driver is not enabled there; here it is",
    "nodes_bios_bios_setting_get_(admin|member|reader)": "nobody has read a setting in this test",
    "third_party_admin_cannot_patch_runbook": "somebody else's runbook is like none (404)",
    "conductors_hostname_get": "no conductor runs in this test, so there is none to show",
}
#: Values of that furniture which ours has not.
UNLIKE = {"reservation"}


def cases(name: str) -> dict[str, dict[str, Any]]:
    file = upstream() / "tests/unit/api" / name
    found = yaml.safe_load(file.read_text())
    return {
        case: told for case, told in found.items() if "path" in told and not told.get("skip_reason")
    }


def caller(headers: dict[str, str]) -> Caller:
    given = {name.lower(): value for name, value in headers.items()}
    return Caller(
        user_id="u",
        project_id=given.get("x-project-id"),
        project_name=given.get("x-project-name"),
        system=given.get("openstack-system-scope") == "all",
        roles=frozenset(given.get("x-roles", "").split(",")),
    )


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def patterns(api: World) -> list[tuple[str, re.Pattern[str]]]:
    """Method and path of every row."""
    return [
        (row.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", row.path) + r"\Z"))
        for row in api.app.services[0].operations
    ]


async def run(api: World, name: str, told: dict[str, Any], names: dict[str, str]) -> str | None:
    """Send one case; what is wrong about the answer."""
    api.become(caller(told["headers"]))
    settings = api.baremetal.ctx.settings
    changed = {
        "service_project": told.get("service_project", "service")
        if told.get("enable_service_project")
        else "",
        "project_admin_can_manage_own_nodes": told.get("self_manage_nodes", True),
    }
    for key, value in changed.items():
        object.__setattr__(settings, key, value)
    path, body = filled(told["path"], names), filled(told.get("body"), names)
    reply = await api.ask(told["method"].upper(), path, body)
    wanted = told["assert_status"]
    what = f"{name}: {told['method']} {path}: {reply.status}, upstream {wanted}: {reply.json}"
    if wanted in (403, 500):  # 500: a token of a project where only the system's count
        return None if reply.status == 403 else what
    if wanted == 404:
        return None if reply.status == 404 else what
    if reply.status in (401, 403, 404) or reply.status >= 500:
        return what
    for key, length in (told.get("assert_list_length") or {}).items():
        if reply.status == 200 and len(reply.json[key]) != length:
            return f"{what}: {len(reply.json[key])} {key}, upstream {length}"
    for key, value in (told.get("assert_dict_contains") or {}).items():
        unlike = key in UNLIKE and "Redacted" not in str(value)
        if reply.status == 200 and not unlike and reply.json.get(key) != filled(value, names):
            return f"{what}: {key} is {reply.json[key]!r}, upstream {value!r}"
    return None


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value.replace("fake-driverz", "fake-hardware")
    if isinstance(value, dict):
        return {filled(key, names): filled(item, names) for key, item in value.items()}
    return [filled(item, names) for item in value] if isinstance(value, list) else value


async def judge(api: World, file: str, names: dict[str, str], least: int) -> None:
    snapshot = Snapshot(api)
    await snapshot.take()
    rows, tried, wrong = patterns(api), 0, list[str]()
    for name, told in cases(file).items():
        path = filled(told["path"], names).partition("?")[0]
        if not any(m == told["method"].upper() and p.match(path) for m, p in rows):
            continue
        tried += 1
        answer = await run(api, name, told, names)
        if answer and not any(re.match(known, name) for known in DIFFERENT):
            wrong.append(answer[:300])
        await snapshot.restore()
    assert not wrong, f"{len(wrong)} of {tried}:\n" + "\n".join(wrong)
    assert tried >= least


async def test_project_personas(api: World) -> None:
    cases("test_rbac_project_scoped.yaml")
    nobodys = await Furniture(api, None, None, tag=1).lay()
    own = Furniture(api, OWNER, None, tag=2)
    await own.lay(uuid="1ab63b9e-66d7-4cd7-8618-dddd0f9f7881")
    await own.allocate(OWNER)
    await own.make("ports", address="02:00:00:00:00:99", node_uuid=own.ids["nodes"])
    for owner in (None, OWNER):
        reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "owner": owner})
        await api.force(reply.json["uuid"], parent_node=own.ids["nodes"])
    leased = Furniture(api, OWNER, LESSEE, tag=3)
    await leased.lay(uuid="38d5abed-c585-4fce-a57e-a2ffc2a2ec6f")
    await leased.allocate(LESSEE, "CUSTOM_LEASED")
    other = await Furniture(api, None, None, tag=4).lay()
    names = {
        "node_ident": nobodys.ids["nodes"],
        "owner_node_ident": own.ids["nodes"],
        "lessee_node_ident": leased.ids["nodes"],
        "allocated_node_ident": leased.ids["nodes"],
        "volume_target_ident": leased.ids["volume/targets"],
        "volume_connector_ident": leased.ids["volume/connectors"],
        "lessee_port_ident": leased.ids["ports"],
        "lessee_portgroup_ident": leased.ids["portgroups"],
        "owner_port_ident": own.ids["ports"],
        "owner_portgroup_ident": own.ids["portgroups"],
        "other_port_ident": other.ids["ports"],
        "other_portgroup_ident": other.ids["portgroups"],
        "runbook_ident": own.ids["runbooks"],
        "trait": "CUSTOM_MEOW",
        "vif_ident": "0e21d58f-5de2-4956-85ff-33935ea1ca01",
        "driver_name": "fake-hardware",
        "owner_allocation": own.ids["allocations"],
        "lessee_allocation": leased.ids["allocations"],
        "owned_history_ident": own.ids["event"],
        "lessee_history_ident": leased.ids["event"],
    }
    await judge(api, "test_rbac_project_scoped.yaml", names, 300)


async def test_system_personas(api: World) -> None:
    cases("test_rbac_system_scoped.yaml")
    one = await Furniture(api, None, None).lay()
    await one.allocate(None)
    for _ in range(2):
        await api.node()
    names = {
        "node_ident": one.ids["nodes"],
        "allocated_node_ident": one.ids["nodes"],
        "port_ident": one.ids["ports"],
        "portgroup_ident": one.ids["portgroups"],
        "chassis_ident": one.ids["chassis"],
        "deploy_template_ident": one.ids["deploy_templates"],
        "runbook_ident": one.ids["runbooks"],
        "volume_connector_ident": one.ids["volume/connectors"],
        "volume_target_ident": one.ids["volume/targets"],
        "allocation_ident": one.ids["allocations"],
        "conductor_ident": "host-1",
        "driver_name": "fake-hardware",
        "trait": "CUSTOM_MEOW",
        "vif_ident": "0e21d58f-5de2-4956-85ff-33935ea1ca01",
        "history_ident": one.ids["event"],
        "owner_project_id": OWNER,
        "other_project_id": "a1111111111111111111111111111111",
    }
    await judge(api, "test_rbac_system_scoped.yaml", names, 200)
