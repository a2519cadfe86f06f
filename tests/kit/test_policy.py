"""Our compiler of the rule language, judged by oslo.policy itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy as oslo

from ingot.kit.auth.policy import Caller, Policy, PolicyError

ATOMS = st.sampled_from(
    [
        "role:admin",
        "role:member",
        "system_scope:all",
        "project_id:%(owner)s",
        "project_id:%(node.owner)s",
        "user_id:%(user_id)s",
        "rule:base",
        "@",
        "!",
        "'yes':%(flag)s",
    ]
)


def _join(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(children, st.sampled_from(["and", "or"]), children).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        children.map(lambda text: f"not {text}"),
        st.tuples(children, children, children).map(lambda t: f"({t[0]} or {t[1]} and {t[2]})"),
    )


RULES = st.recursive(ATOMS, _join, max_leaves=6)


@given(
    rule=RULES,
    roles=st.sets(st.sampled_from(["admin", "member", "reader"])),
    system=st.booleans(),
    project=st.sampled_from([None, "p1", "p2"]),
    owner=st.sampled_from(["p1", "p2", "p3"]),
)
def test_same_answer_as_oslo_policy(
    rule: str, roles: set[str], system: bool, project: str | None, owner: str
) -> None:
    target: dict[str, Any] = {"owner": owner, "node.owner": owner, "user_id": "u1", "flag": "yes"}
    ours = Policy({"base": "role:reader", "asked": rule}).allows(
        "asked",
        Caller(user_id="u1", project_id=project, system=system, roles=frozenset(roles)),
        target,
    )
    enforcer = oslo.Enforcer(cfg.ConfigOpts(), use_conf=False)
    enforcer.set_rules(oslo.Rules.from_dict({"base": "role:reader", "asked": rule}))
    creds = {"user_id": "u1", "project_id": project, "roles": sorted(roles)}
    if system:
        creds["system_scope"] = "all"
    assert ours == enforcer.enforce("asked", target, creds)


@pytest.mark.parametrize("rule", ["role:admin and", "(role:admin", "admin", "role:a role:b"])
def test_a_broken_rule_is_named(rule: str) -> None:
    with pytest.raises(PolicyError, match="mine"):
        Policy({"mine": rule})


def test_a_decision_is_not_taken_over_by_a_changed_caller_or_rule() -> None:
    policy = Policy({"do": "role:admin or service_role:helper"})
    plain = Caller(user_id="u", roles=frozenset({"reader"}))
    assert not policy.allows("do", plain)
    assert policy.allows("do", dataclasses.replace(plain, service_roles=frozenset({"helper"})))
    assert policy.allows("do", dataclasses.replace(plain, roles=frozenset({"admin"})))
    policy.override({"do": "@"})
    assert policy.allows("do", plain)
    assert not Policy({"do": "!"}).allows("do", plain)


def test_a_decision_belongs_to_its_target() -> None:
    policy = Policy({"do": "project_id:%(owner)s"})
    caller = Caller(user_id="u", project_id="p1")
    assert policy.allows("do", caller, {"owner": "p1"})
    assert not policy.allows("do", caller, {"owner": "p2"})
    assert not policy.allows("do", caller, {"lessee": "p1"})
    assert not policy.allows("do", caller, {"owner": ["p1"]})  # cannot be a key
    for number in range(3000):
        assert not policy.allows("do", caller, {"owner": f"x{number}"})
    assert len(caller.decisions) <= 1000
