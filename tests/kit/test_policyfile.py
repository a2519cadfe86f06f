"""An operator's policy file: what it changes, and how its mistakes are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.auth.policyfile import PolicyFile, load
from ingot.kit.faults import Invalid

DEFAULTS = {"admin": "role:admin", "thing:get": "role:reader", "thing:set": "rule:admin"}
READER = Caller(user_id="u", project_id="p", roles=frozenset({"reader"}))


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "text",
    [
        '"thing:set": "role:reader"',
        '{"thing:set": "role:reader"}',
        "thing:set: rule:mine\nmine: role:reader\n",
        "thing:set: [[role:reader, project_id:p], [role:other]]",
        "thing:set: [role:reader]",
        'thing:set: ""',
        "thing:set: role:%(wanted)s",
        "admin: '@'",
    ],
)
def test_rules_are_overridden(tmp_path: Path, text: str) -> None:
    policy = Policy(DEFAULTS)
    assert not policy.allows("thing:set", READER)
    load(written(tmp_path, text), policy)
    assert policy.allows("thing:set", READER, {"wanted": "reader"})
    assert policy.allows("thing:get", READER)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# mine\nthing:gett: role:admin\n", "line 2: there is no rule 'thing:gett'. Did you mean"),
        ("admin: role:x\nthing:get: role:admin and\n", "line 2: thing:get: it ends too early"),
        ("thing:get: rule:nothing\n", "line 1: thing:get: there is no rule 'nothing'"),
        ("thing:get: rule:thing:set\nadmin: rule:thing:get\n", "it refers to itself: admin ->"),
        ("thing:get: roles:admin\n", "line 1: thing:get: a token has no 'roles'"),
        ("thing:get: http://policy.test/\n", "outside policy server"),
        ("thing:get: role:a\nthing:get: role:b\n", "line 2: thing:get was there already in line 1"),
        ("thing:get: {a: b}\n", "line 1: thing:get: an expression is a text"),
        ("a: [\n", "line 2: "),
        ("- a\n", "line 1: a policy file has lines of the form"),
        ("thing:get: (role:a\n", "line 1: thing:get: "),
    ],
)
def test_mistakes_are_named_and_change_nothing(tmp_path: Path, text: str, told: str) -> None:
    policy = Policy(DEFAULTS)
    file = written(tmp_path, text)
    with pytest.raises(Invalid) as wrong:
        load(file, policy)
    assert str(file) in wrong.value.text and told in wrong.value.text, wrong.value.text
    assert policy.rules == DEFAULTS and policy.allows("thing:get", READER)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    policy = Policy(DEFAULTS)
    file = written(tmp_path, "thing:set: role:reader")
    kept = PolicyFile(file, policy)
    assert kept.reread() and not kept.reread()
    assert policy.allows("thing:set", READER)
    file.write_text("thing:get: '!'")
    os.utime(file, ns=(1, 1))
    assert kept.reread()
    assert not policy.allows("thing:set", READER) and not policy.allows("thing:get", READER)
    file.write_text("nothing: '!'")
    with pytest.raises(Invalid):
        kept.reread()
    assert not policy.allows("thing:get", READER)
    file.unlink()
    with pytest.raises(Invalid, match="cannot be read"):
        kept.reread()


def test_a_default_rule_decides_for_names_that_are_not_there() -> None:
    policy = Policy({"a": "rule:gone"}, {"default": "role:reader"})
    assert policy.allows("a", READER) and policy.allows("unknown", READER)
    assert not Policy(DEFAULTS).allows("unknown", READER)


def test_what_belongs_to_no_project_needs_the_system() -> None:
    policy = Policy(DEFAULTS, {"thing:get": "@"}, system_only={"thing:get"})
    assert not policy.allows("thing:get", READER)
    assert policy.allows("thing:get", Caller(user_id="u", system=True))
