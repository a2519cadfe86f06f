"""Inspection rules: every operator and action by table, loops, interpolation, checks, order, secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drafts import data, draft_of
from hypothesis import given
from hypothesis import strategies as st

from ingot.kit.faults import Failed, Invalid
from ingot.services.baremetal.inspection.draft import PORT_FIELDS, Draft, PortDraft
from ingot.services.baremetal.inspection.rules import Rule, apply_rules
from ingot.services.baremetal.inspection.rules.actions import ACTIONS
from ingot.services.baremetal.inspection.rules.arguments import split_operator
from ingot.services.baremetal.inspection.rules.builtin import load_rules
from ingot.services.baremetal.inspection.rules.checking import read_rule
from ingot.services.baremetal.inspection.rules.interpolation import NodeView, fill
from ingot.services.baremetal.inspection.rules.operators import OPERATORS

MAC = "52:54:00:00:00:01"
PORT = "11111111-1111-4111-8111-111111111111"
NOTE = [{"op": "set-attribute", "args": {"path": "extra/hit", "value": True}}]


def draft(**fields: Any) -> Draft:
    made = draft_of(data(vendor_data={"rack": 7, "password": "hush"}), **fields)
    values = {**PORT_FIELDS, "address": MAC, "extra": {"a": 1}, "local_link_connection": {}}
    made.ports = [PortDraft(PORT, values)]
    return made


def rule(actions: Any = NOTE, conditions: Any = (), **more: Any) -> Rule:
    return read_rule({"actions": list(actions), "conditions": list(conditions), **more})


def holds(op: str, args: Any, **more: Any) -> bool:
    made = draft()
    apply_rules(made, [rule(conditions=[{"op": op, "args": args, **more}])])
    return bool(made.fields["extra"].get("hit"))


COUNT = "{inventory[cpu][count]}"
OPS: list[tuple[str, Any, bool]] = [
    ("eq", {"values": [1, 1, 1]}, True),
    ("eq", {"values": [1, 2]}, False),
    ("eq", {"values": [COUNT, "8"]}, True),
    ("eq", {"values": [COUNT, 8]}, False),  # interpolation makes texts, as upstream does
    ("eq", {"values": [COUNT, 8], "force_strings": True}, True),
    ("eq", {"values": [1]}, True),
    ("eq", [["a", "a"]], True),  # by position
    ("eq", [[COUNT, 8], True], True),
    ("lt", {"values": [1, 2, 3]}, True),
    ("lt", {"values": [1, 3, 2]}, False),
    ("gt", {"values": [COUNT, 4]}, True),  # a text beside a number: as numbers
    ("gt", {"values": [COUNT, 16]}, False),
    ("is-empty", {"value": "{inventory[nothing]}"}, True),
    ("is-empty", {"value": "{plugin_data[vendor_data]}"}, False),
    ("is-empty", {"value": []}, True),
    ("is-empty", {"value": ""}, True),
    ("is-empty", {"value": 0}, False),
    ("in-net", {"address": "10.1.2.3", "subnet": "10.0.0.7/8"}, True),
    ("in-net", {"address": "11.1.2.3", "subnet": "10.0.0.0/8"}, False),
    ("in-net", ["fe80::1", "fe80::/10"], True),
    ("matches", {"value": "{inventory[system_vendor][product_name]}", "regex": "M"}, True),
    ("matches", {"value": "Model", "regex": "Mod"}, False),  # the whole text
    ("matches", {"value": "Model", "regex": "Mod.*$"}, True),
    ("contains", {"value": "a Model here", "regex": "Mod"}, True),
    ("contains", {"value": 1234, "regex": "^2"}, False),
    ("one-of", {"value": "{node.name}", "values": ["n1", "n2"]}, True),
    ("one-of", {"value": "n3", "values": ["n1", "n2"]}, False),
    ("one-of", {"value": "n3"}, False),
    ("is-none", {"value": None}, True),
    ("is-none", {"value": "None"}, False),
    ("is-true", {"value": "Yes"}, True),
    ("is-true", {"value": 2}, True),
    ("is-true", {"value": "1"}, False),
    ("is-true", {"value": None}, False),
    ("is-false", {"value": "No"}, True),
    ("is-false", {"value": 0.0}, True),
    ("is-false", {"value": None}, True),
    ("is-false", {"value": "0"}, False),
]


@pytest.mark.parametrize(("op", "args", "wanted"), OPS)
def test_operators(op: str, args: Any, wanted: bool) -> None:
    assert holds(op, args) is wanted
    assert holds(f"!{op}", args) is not wanted
    assert holds(f"! {op}", args) is not wanted


def test_no_operator_and_no_action_is_forgotten() -> None:
    assert {op for op, _, _ in OPS} == set(OPERATORS)
    assert {case[0] for case in ACTS} | {"fail", "log", "api-call"} == set(ACTIONS)


@pytest.mark.parametrize(
    ("op", "args", "why"),
    [
        ("eq", {"values": "text"}, "Expected list for 'values', got: str"),
        ("lt", {"values": ["big", 3]}, "cannot compare str with int"),
        ("in-net", {"address": "nowhere", "subnet": "10.0.0.0/8"}, "invalid value"),
        ("one-of", {"value": 1, "values": 5}, "needs a list"),
    ],
)
def test_conditions_that_cannot_be_checked_name_their_rule(op: str, args: Any, why: str) -> None:
    broken = rule(conditions=[{"op": op, "args": args}], description="my rule")
    with pytest.raises(Failed, match=why) as caught:
        apply_rules(draft(), [broken])
    assert f"my rule ({broken.uuid})" in caught.value.text


ITEM = {"values": ["{item}", 2]}


@pytest.mark.parametrize(
    ("loop", "multiple", "wanted"),
    [
        ([1, 2, 3], "any", True),
        ([1, 3], "any", False),
        ([2, 2], "all", True),
        ([2, 3], "all", False),
        ([1, 2], "first", True),
        ([1, 3], "first", False),
        ([1, 2], "last", True),
        ([2, 1], "last", False),
        ([1, 2], None, True),
        ([], "all", False),  # no loop at all: the text itself is compared
    ],
)
def test_loops_of_conditions(loop: list[int], multiple: str | None, wanted: bool) -> None:
    more = {"multiple": multiple} if multiple else {}
    if loop:
        assert holds("eq", ITEM, loop=loop, **more) is wanted
    else:
        assert holds("eq", ITEM, loop=loop, **more) is False


def test_loops_over_objects_and_nested_fields() -> None:
    one = {"want": "8", "have": COUNT}
    args = {"values": ["{item[want]}", "{item[have]}"]}
    assert holds("eq", args, loop=one)
    assert holds("eq", args, loop=[one], multiple="all")


ACTS: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("set-attribute", {"path": "resource_class", "value": "big"}, {}, {"resource_class": "big"}),
    (
        "set-attribute",
        {"path": "/properties/a/b", "value": COUNT},
        {},
        {"properties": {"a": {"b": "8"}}},
    ),
    ("set-attribute", ["extra.x", {"k": ["{node.name}"]}], {}, {"extra": {"x": {"k": ["n1"]}}}),
    (
        "extend-attribute",
        {"path": "extra/l", "value": "b"},
        {"extra": {"l": ["a"]}},
        {"extra": {"l": ["a", "b"]}},
    ),
    (
        "extend-attribute",
        {"path": "extra/l", "value": "a", "unique": True},
        {"extra": {"l": ["a"]}},
        {"extra": {"l": ["a"]}},
    ),
    (
        "del-attribute",
        {"path": "extra/a"},
        {"extra": {"a": 1, "b": 2}},
        {"extra": {"b": 2}},
    ),
    ("del-attribute", {"path": "description"}, {"description": "x"}, {"description": None}),
    (
        "set-capability",
        {"name": "profile", "value": "{inventory[system_vendor][product_name]}"},
        {"properties": {"capabilities": "a:1,profile:old"}},
        {"properties": {"capabilities": "a:1,profile:M"}},
    ),
    (
        "unset-capability",
        {"name": "a"},
        {"properties": {"capabilities": "a:1,b:2"}},
        {"properties": {"capabilities": "b:2"}},
    ),
    ("add-trait", {"name": "CUSTOM_A"}, {}, {"traits": {"CUSTOM_A"}}),
    ("remove-trait", {"name": "CUSTOM_A"}, {}, {"traits": set()}),
    (
        "set-plugin-data",
        {"path": "a.b", "value": "{node.name}"},
        {},
        {"plugin": {"a": {"b": "n1"}}},
    ),
    ("extend-plugin-data", {"path": "l", "value": 1}, {}, {"plugin": {"l": [1]}}),
    ("unset-plugin-data", {"path": "vendor_data.rack"}, {}, {"plugin": {"vendor_data": {}}}),
    ("unset-plugin-data", {"path": "not.there"}, {}, {}),
    (
        "set-port-attribute",
        {"port_id": PORT, "path": "physical_network", "value": "p-{node.name}"},
        {},
        {"port": {"physical_network": "p-n1"}},
    ),
    (
        "set-port-attribute",
        {"port_id": MAC, "path": "extra/b", "value": 2},
        {},
        {"port": {"extra": {"a": 1, "b": 2}}},
    ),
    (
        "extend-port-attribute",
        {"port_id": PORT, "path": "extra/l", "value": 2, "unique": True},
        {},
        {"port": {"extra": {"a": 1, "l": [2]}}},
    ),
    ("del-port-attribute", {"port_id": PORT, "path": "extra/a"}, {}, {"port": {"extra": {}}}),
]


@pytest.mark.parametrize(("op", "args", "before", "after"), ACTS)
def test_actions(op: str, args: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    made = draft(**before)
    apply_rules(made, [rule([{"op": op, "args": args}])])
    for name, wanted in after.items():
        if name == "port":
            found: Any = {key: made.ports[0].values[key] for key in wanted}
        elif name == "plugin":
            found = {key: made.plugin_data[key] for key in wanted}
            if op == "unset-plugin-data":
                wanted = {"vendor_data": {"password": "hush"}}
        else:
            found = made.traits if name == "traits" else made.fields[name]
        assert found == wanted


@pytest.mark.parametrize(
    ("op", "args", "why"),
    [
        ("set-attribute", {"path": "power_state", "value": "x"}, "no attribute"),
        ("set-attribute", {"path": "__class__", "value": "x"}, "no attribute"),
        ("set-attribute", {"path": "resource_class", "value": 5}, "resource_class"),
        ("set-attribute", {"path": "name/x", "value": 5}, "not in an object|no object"),
        ("set-attribute", {"path": "", "value": 5}, "no path"),
        ("extend-attribute", {"path": "extra/t", "value": 5}, "non-list"),
        ("del-attribute", {"path": "extra/not/there"}, "not there"),
        ("del-attribute", {"path": "driver"}, "without a driver"),
        ("add-trait", {"name": "lower case"}, "Invalid trait"),
        ("set-capability", {"name": "a,b", "value": "c"}, "comma"),
        ("set-port-attribute", {"port_id": "x", "path": "a", "value": 1}, "Port x could not"),
        ("set-port-attribute", {"port_id": PORT, "path": "node_uuid", "value": 1}, "no attribute"),
        ("set-port-attribute", {"port_id": PORT, "path": "address", "value": "x"}, "MAC"),
        ("log", {"msg": "x", "level": "loud"}, "Invalid log level"),
        ("api-call", {"url": "file:///etc/passwd"}, "no http"),
        ("api-call", {"url": "http://x", "timeout": 0}, "greater than zero"),
        ("fail", {"msg": "no such machine"}, "no such machine"),
    ],
)
def test_actions_that_fail_name_their_rule(op: str, args: Any, why: str) -> None:
    broken = rule([{"op": op, "args": args}])
    with pytest.raises(Failed, match=why) as caught:
        apply_rules(draft(extra={"t": "text"}), [broken])
    assert broken.uuid in caught.value.text


def test_loops_of_actions_and_what_they_did() -> None:
    actions = [
        {"op": "add-trait", "args": {"name": "CUSTOM_{item}"}, "loop": ["A", "B"]},
        {
            "op": "set-attribute",
            "args": {"path": "{item[path]}", "value": "{item[value]}"},
            "loop": [{"path": "extra/cpus", "value": COUNT}],
        },
        {"op": "log", "args": {"msg": "has {node.extra[cpus]} cpus", "level": "warning"}},
    ]
    made = draft()
    (applied,) = apply_rules(made, [rule(actions)])
    assert made.traits == {"CUSTOM_A", "CUSTOM_B"}
    assert applied.did == (
        "added trait CUSTOM_A",
        "added trait CUSTOM_B",
        "set extra/cpus",
        "has 8 cpus",
    )


def test_calls_are_collected() -> None:
    args = {"url": "http://cmdb/{node.uuid}?key=1", "headers": {"X-Key": "k"}, "retries": "1"}
    (applied,) = apply_rules(draft(), [rule([{"op": "api-call", "args": args}])])
    (call,) = applied.calls
    assert (call.url.startswith("http://cmdb/aaaa"), call.headers, call.retries) == (
        True,
        {"X-Key": "k"},
        1,
    )
    assert "key=1" not in " ".join(applied.did) and "X-Key" not in repr(call)


@pytest.mark.parametrize(
    ("url", "judged"),
    [
        ("http://cmdb/{node.uuid}", False),
        ("http://cmdb:80?host={node.extra[t]}", False),
        ("http://{node.extra[t]}/", True),
        ("http://cmdb{node.extra[t]}", True),
        ("http://cmdb:{node.extra[t]}/", True),
        ("http://u:{node.extra[t]}@cmdb/", True),
        ("{node.extra[url]}", True),
        ("{node.extra[s]}://cmdb/", True),
    ],
)
def test_calls_whose_host_a_machine_has_a_say_in(url: str, judged: bool) -> None:
    made = draft(extra={"t": "127.0.0.1", "url": "http://127.0.0.1/", "s": "http"})
    (applied,) = apply_rules(made, [rule([{"op": "api-call", "args": {"url": url}}])])
    assert [call.judged for call in applied.calls] == [judged]


def test_order_and_conditions() -> None:
    def named(text: str, **more: Any) -> Rule:
        action = {"op": "extend-attribute", "args": {"path": "extra/order", "value": text}}
        return rule([action], **more)

    made = draft()
    second_only = [{"op": "eq", "args": {"values": ["{node.extra[order][0]}", "first"]}}]
    given_rules = [
        named("low", priority=1),
        named("never", priority=5, conditions=[{"op": "is-true", "args": {"value": False}}]),
        named("first", priority=9999),
        named("second", priority=10, conditions=second_only),
        named("equal", priority=1),
    ]
    apply_rules(made, given_rules)
    assert made.fields["extra"]["order"] == ["first", "second", "low", "equal"]


@pytest.mark.parametrize(
    ("mask", "sensitive", "seen"),
    [
        ("always", True, "***"),
        ("sensitive", False, "***"),
        ("sensitive", True, "hush"),
        ("never", False, "hush"),
    ],
)
def test_secrets_in_the_data(mask: str, sensitive: bool, seen: str) -> None:
    value = "{plugin_data[vendor_data][password]}"
    made = draft()
    one = rule(
        [{"op": "set-attribute", "args": {"path": "extra/p", "value": value}}], sensitive=sensitive
    )
    (applied,) = apply_rules(made, [one], mask)
    assert made.fields["extra"]["p"] == seen
    assert bool(applied.did) is not sensitive
    assert made.plugin_data["vendor_data"]["password"] == "hush"


def test_a_sensitive_rule_fails_without_words() -> None:
    secret = rule([{"op": "add-trait", "args": {"name": "s3cret"}}], sensitive=True)
    with pytest.raises(Failed) as caught:
        apply_rules(draft(), [secret])
    assert "s3cret" not in caught.value.text and secret.uuid in caught.value.text
    with pytest.raises(Failed, match="told anyway"):
        apply_rules(
            draft(), [rule([{"op": "fail", "args": {"msg": "told anyway"}}], sensitive=True)]
        )


@pytest.mark.parametrize(
    "text",
    [
        "{node.__class__}",
        "{inventory.__class__.__init__}",
        "{node.uuid.__class__}",
        "{inventory[cpu][count]:>99999999}",
        "{inventory[cpu]!x}",
        "{inventory[nothing]}",
        "{inventory[disks][99]}",
        "{item}",
        "{",
        "}{",
        "{}",
        "{0}",
        "{node[uuid]}",
        "{node.nothing}",
    ],
)
def test_fields_that_lead_nowhere_stay(text: str) -> None:
    context = {"node": NodeView({"uuid": "u"}), "inventory": data()["inventory"], "plugin_data": {}}
    assert fill(text, context, "eq") == text


@given(st.text(alphabet="{}[].!:abnodeitmvry_0159>< "))
def test_interpolation_never_breaks(text: str) -> None:
    context = {"node": NodeView({"a": 1}), "inventory": {"a": [{"b": 1}]}, "item": {"a": "{node}"}}
    assert isinstance(fill(text, context, "eq"), str)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({}, "actions"),
        ({"actions": []}, "length"),
        ({"actions": [{"op": "fail"}]}, "args"),
        ({"actions": [{"op": "explode", "args": {}}]}, "Unsupported action 'explode'"),
        ({"actions": [{"op": "fail", "args": {}}]}, r"missing required argument\(s\): msg"),
        (
            {"actions": [{"op": "fail", "args": {"msg": "x", "y": 1}}]},
            r"unexpected argument\(s\): y",
        ),
        ({"actions": [{"op": "set-attribute", "args": ["x"]}]}, "Missing: value"),
        ({"conditions": [{"op": "ne", "args": {}}]}, "Unsupported operator 'ne'"),
        ({"conditions": [{"op": "!!eq", "args": {}}]}, "Multiple exclamation marks"),
        ({"conditions": [{"op": "eq", "args": {}}]}, r"missing required argument\(s\): values"),
        ({"conditions": [{"op": "eq", "args": "x"}]}, "Schema error"),
        ({"conditions": [{"op": "matches", "args": ["x", "("]}]}, "invalid regular expression"),
        ({"conditions": [{"op": "eq", "args": [[]], "multiple": "some"}]}, "is not one of"),
        ({"phase": "early"}, "Invalid phase: early. Valid phases are: main"),
        ({"priority": -1}, "Priority cannot be negative for user-defined rules"),
        ({"priority": 10000}, "Priority must be between 0 and 9999"),
        ({"priority": "high"}, "integer"),
        ({"uuid": "mine"}, "UUID"),
        ({"description": "x" * 256}, "description"),
        ({"scope": "all"}, "scope"),
    ],
)
def test_rules_that_are_refused(document: dict[str, Any], why: str) -> None:
    whole = document if "actions" in document or not document else {"actions": NOTE, **document}
    with pytest.raises(Invalid, match=why):
        read_rule(whole)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(Invalid, match=r"Multiple validation errors occurred: .*; ") as caught:
        read_rule({"actions": [{"op": "fail", "args": {}}], "phase": "x", "priority": -1})
    assert caught.value.text.count("; ") == 2


@given(st.text(alphabet="!eq ", max_size=6))
def test_operators_are_read(text: str) -> None:
    try:
        op, inverted = split_operator(text)
    except Invalid:
        assert text.count("!") > 1
        return
    assert inverted == text.strip().startswith("!") and not op.startswith("!")


def test_built_in_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "- description: ours\n  priority: -5\n  actions: [{op: fail, args: {msg: no}}]\n"
        "- uuid: named\n  priority: 20000\n  sensitive: true\n"
        "  actions: [{op: add-trait, args: {name: CUSTOM_A}}]\n"
        "- actions: [{op: add-trait, args: {name: CUSTOM_B}}]\n"
    )
    found = load_rules(file)
    assert [(one.uuid[-3:], one.priority, one.sensitive) for one in found] == [
        ("000", -5, False),
        ("med", 20000, True),
        ("001", 0, False),
    ]
    for text, why in (
        ("a: b", "list of rules"),
        ("- x", "rule 1"),
        ("- actions: []", "rule 1: .*length"),
        ("[", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(Invalid, match=why):
            load_rules(file)
    with pytest.raises(Invalid, match="cannot be read"):
        load_rules(tmp_path / "missing.yaml")
