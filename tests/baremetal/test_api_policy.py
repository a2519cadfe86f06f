"""Rules: the same names and decisions as the Bare Metal service's own; what each persona sees.

The judges are the policy file of the `ironic` 39 package (installed by uv into an environment of its own)
and oslo.policy, which reads it.
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from api_support import ROLES, World, project, system, world
from oslo_policy import _parser

from ingot.kit.auth.policy import Caller, Policy
from ingot.services.baremetal import policies
from tools.conformance import oracle
from tools.conformance.environments import Unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


# -- against upstream ----------------------------------------------------------------------------


def upstream() -> Path:
    """The folder of the `ironic` package; nothing in it is run."""
    try:
        return oracle.package()
    except Unavailable as reason:
        pytest.skip(f"Ironic, the judge, cannot be had: {reason}")


def upstream_rules(file: Path) -> dict[str, str]:
    """Name -> expression: the file's constants and its calls of RuleDefault, without running it."""
    constants: dict[str, Any] = {}
    rules: dict[str, str] = {}

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "policy", "eval"), {}, constants)

    for statement in ast.parse(file.read_text()).body:
        if not isinstance(statement, ast.Assign):
            continue
        for call in ast.walk(statement):
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("RuleDefault"):
                continue
            named = {word.arg: word.value for word in call.keywords}
            name = value(named["name"] if "name" in named else call.args[0])
            rules[name] = value(named["check_str"] if "check_str" in named else call.args[1])
        if isinstance(statement.targets[0], ast.Name) and isinstance(
            statement.value, ast.Constant | ast.BinOp
        ):
            constants[statement.targets[0].id] = value(statement.value)
    return rules


def personas() -> list[Caller]:
    callers = [system(role) for role in ROLES] + [project(role, "p1") for role in ROLES]
    return [*callers, Caller(user_id="u", project_id="p1"), Caller(user_id="u", system=True)]


TARGETS = [
    policies.target(owner, lessee, "service")
    for owner in (None, "p1", "other")
    for lessee in (None, "p1", "other")
] + [
    policies.owned(kind, owner, "service")
    for kind in ("allocation", "runbook")
    for owner in (None, "p1", "other")
]


async def test_same_decisions_as_upstream() -> None:
    wanted = upstream_rules(upstream() / "common/policy.py")
    assert len(wanted) > 100
    assert set(policies.RULES) == set(wanted)
    ours, judge = Policy(policies.RULES), Judge(wanted)
    for rule in policies.RULES:
        for caller in personas():
            for target in TARGETS:
                mine = ours.allows(rule, caller, target)
                assert mine == judge.allows(rule, caller, target), (rule, caller, target)


async def test_the_service_project_counts_as_the_system() -> None:
    caller = Caller(
        user_id="u", project_id="s", project_name="service", roles=frozenset({"service"})
    )
    assert Policy(policies.RULES).allows("baremetal:node:list_all", caller, TARGETS[0])


class Judge:
    """oslo.policy over a set of rules."""

    def __init__(self, rules: dict[str, str]) -> None:
        self.rules = {name: _parser.parse_rule(text) for name, text in rules.items()}

    def allows(self, rule: str, caller: Caller, target: Any) -> bool:
        creds = {
            "user_id": caller.user_id,
            "project_id": caller.project_id,
            "project_name": caller.project_name,
            "roles": sorted(caller.roles),
            "system_scope": "all" if caller.system else None,
            "is_admin_project": True,
        }
        given = {name: value for name, value in target.items() if value is not None}
        return bool(self.rules[rule](given, creds, self, rule))


async def test_every_rule_of_the_table_exists(api: World) -> None:
    (service,) = api.app.services
    used = {op.rule for op in service.operations if op.rule}
    assert used <= set(policies.RULES)
    assert set(policies.PATCH_RULES.values()) <= set(policies.RULES)


# -- what people see -----------------------------------------------------------------------------


async def test_owner_lessee_and_stranger(api: World) -> None:
    info = {"fake_id": "x"}
    await api.node(name="own", owner="p1", driver_info=info)
    await api.node(name="leased", owner="p2", lessee="p1", driver_info=info)
    await api.node(name="foreign", owner="p2", driver_info=info)
    await api.node(name="nobodys", driver_info=info)
    for name in ("own", "leased", "foreign", "nobodys"):
        await api.force(name, last_error="secret cause", reservation="host-1")
    for role in ("reader", "member", "manager", "admin"):
        api.become(project(role))
        for path in ("/v1/nodes", "/v1/nodes/detail", "/v1/nodes?project=p1"):
            nodes = (await api.ask("GET", path)).json["nodes"]
            assert [node["name"] for node in nodes] == ["own", "leased"]
        assert (await api.ask("GET", "/v1/nodes?project=p2")).status == 403
        own, leased = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
        assert (own["last_error"], own["driver_info"]) == ("secret cause", info)
        for one in (leased, (await api.ask("GET", "/v1/nodes/leased")).json):
            text = str(one)
            assert "secret cause" not in text and "host-1" not in text and "fake_id" not in text
            assert one["driver_info"] == {
                "content": "** Redacted - requires baremetal:node:get:driver_info permission. **"
            }
        states = (await api.ask("GET", "/v1/nodes/leased/states")).json
        assert "secret cause" not in str(states)
        for name in ("foreign", "nobodys"):
            for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/states"), ("GET", "/vifs")):
                assert (await api.ask(method, f"/v1/nodes/{name}{path}")).status == 404
    for role in ("reader", "service", "admin"):
        api.become(system(role))
        nodes = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
        assert [node["last_error"] for node in nodes] == ["secret cause"] * 4


async def test_what_each_persona_may_do(api: World) -> None:
    await api.node(name="n1", owner="p1", lessee="p2")
    extra = [{"op": "add", "path": "/extra/a", "value": 1}]
    interface = [{"op": "replace", "path": "/boot_interface", "value": "fake"}]
    owner = [{"op": "replace", "path": "/owner", "value": "p1"}]
    cleaning = [{"op": "replace", "path": "/automated_clean", "value": False}]
    asks: dict[str, tuple[str, str, Any]] = {
        "extra": ("PATCH", "", extra),
        "interface": ("PATCH", "", interface),
        "owner": ("PATCH", "", owner),
        "cleaning": ("PATCH", "", cleaning),
        "maintenance": ("PUT", "/maintenance", None),
        "device": ("GET", "/management/boot_device", None),
        "trait": ("PUT", "/traits/CUSTOM_A", None),
        "history": ("GET", "/history", None),
    }
    for caller, allowed in (
        (system("admin"), set(asks)),
        (system("member"), set(asks) - {"cleaning"}),
        (system("reader"), {"history"}),
        (project("admin"), {"extra", "interface", "maintenance", "device", "trait", "history"}),
        (project("member"), {"extra", "maintenance", "history"}),
        (project("reader"), {"history"}),
        (project("admin", "p2"), {"extra", "maintenance"}),
        (project("member", "p2"), {"extra"}),
        (project("reader", "p2"), set[str]()),
    ):
        api.become(caller)
        for name, (method, path, body) in asks.items():
            reply = await api.ask(method, f"/v1/nodes/n1{path}", body)
            good = reply.status < 300
            assert good is (name in allowed), (caller, name, reply.status, reply.json)
            assert good or reply.status == 403


async def test_project_admins_own_what_they_create(api: World) -> None:
    api.become(project("admin"))
    node = await api.node(name="mine")
    assert node["owner"] == "p1"
    body = {"driver": "fake-hardware", "owner": "p2"}
    assert (await api.ask("POST", "/v1/nodes", body)).status == 400
    api.become(project("member"))
    assert (await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware"})).status == 403
    assert (await api.ask("DELETE", "/v1/nodes/mine")).status == 403
    api.become(project("admin", "p2"))
    assert (await api.ask("DELETE", "/v1/nodes/mine")).status == 404
    api.become(project("admin"))
    assert (await api.ask("DELETE", "/v1/nodes/mine")).status == 204


async def test_operators_override_rules_by_name() -> None:
    policy = Policy(policies.RULES, {"baremetal:node:list_all": "role:auditor"})
    auditor = replace(project("reader"), roles=frozenset({"auditor"}))
    assert policy.allows("baremetal:node:list_all", auditor, TARGETS[0])
    assert not policy.allows("baremetal:node:list_all", system("reader"), TARGETS[0])
