"""Applying rules to the draft of a node: highest priority first, each in full or not at all. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from ingot.kit.faults import Failed, Fault
from ingot.services.baremetal.inspection.draft import Draft
from ingot.services.baremetal.inspection.rules.actions import (
    ACTIONS,
    ApiCall,
    RuleContext,
    RuleFailed,
)
from ingot.services.baremetal.inspection.rules.arguments import Signature, split_operator
from ingot.services.baremetal.inspection.rules.interpolation import NodeView, fill, masked
from ingot.services.baremetal.inspection.rules.operators import OPERATORS
from ingot.services.baremetal.inspection.rules.types import Rule
from ingot.services.baremetal.nodes import internal_info

#: What of a node rules can read besides the fields that they can change.
_NODE_FACTS = (
    "uuid",
    "power_state",
    "provision_state",
    "target_provision_state",
    "fault",
    "boot_mode",
)


@dataclass(frozen=True, slots=True)
class Applied:
    """A rule whose conditions held. did: what it did; empty for sensitive rules."""

    rule: Rule
    did: tuple[str, ...]
    calls: tuple[ApiCall, ...] = ()


def apply_rules(draft: Draft, rules: Iterable[Rule], mask: str = "always") -> list[Applied]:
    """Apply rules to the draft in the order of their priority; of equal ones the older first.

    mask: one of MASKINGS. Failed names the rule that failed, and why.
    """
    applied: list[Applied] = []
    views = _Views(draft)
    for rule in sorted(rules, key=lambda rule: -rule.priority):
        hide = mask == "always" or (mask == "sensitive" and not rule.sensitive)
        try:
            one = _apply(draft, rule, views, hide)
        except Fault as fault:
            raise _failed(rule, fault) from None
        if one is not None:
            applied.append(one)
    return applied


def _failed(rule: Rule, fault: Fault) -> Failed:
    hidden = rule.sensitive and not isinstance(fault, RuleFailed)
    why = "the reason is hidden, since the rule is sensitive" if hidden else fault.text
    return Failed(
        f"Inspection rule {rule.label} failed: {why}",
        next_action="Correct the rule (openstack baremetal inspection rule show), or the machine, "
        "and inspect again.",
    )


def _apply(draft: Draft, rule: Rule, views: _Views, hide: bool) -> Applied | None:
    fields = views.fields(hide)
    if not all(_holds(condition, fields) for condition in rule.conditions):
        return None
    draft.said = []
    context = RuleContext(draft)
    for action in rule.actions:
        _act(context, action, views, hide)
    did = () if rule.sensitive else tuple(draft.said)
    draft.said = []
    return Applied(rule, did, tuple(context.calls))


class _Views:
    """What replacement fields can reach. The inventory is not changed by rules, so it is masked once."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._hidden: dict[str, Any] | None = None

    def fields(self, hide: bool) -> dict[str, Any]:
        """As it is now."""
        draft = self._draft
        facts = {name: getattr(draft.node, name) for name in _NODE_FACTS}
        facts["driver_internal_info"] = internal_info.of_node(draft.node)
        node = NodeView({**facts, **draft.fields, "traits": sorted(draft.traits)})
        if not hide:
            return {"node": node, "inventory": draft.inventory, "plugin_data": draft.plugin_data}
        if self._hidden is None:
            self._hidden = masked(draft.inventory)
        return {
            "node": node,
            "inventory": self._hidden,
            "plugin_data": masked(draft.plugin_data),
        }


def _holds(condition: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    items = _items(condition)
    if items is None:
        return _check(condition, fields)
    how = condition.get("multiple") or "any"
    results: list[bool] = []
    for item in items:
        results.append(_check(condition, {**fields, "item": item}))
        if how == "first" and results[-1]:
            return True
    if how == "all":
        return all(results)
    if how == "last":
        return results[-1]
    return results[0] if how == "first" else any(results)


def _items(part: Mapping[str, Any]) -> list[Any] | None:
    """What a condition or action is looped over; an object is one item. None: no loop."""
    loop: Any = part.get("loop")
    if not loop:
        return None
    return cast("list[Any]", loop) if isinstance(loop, list) else [loop]


def _check(condition: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    op, inverted = split_operator(condition["op"])
    known = OPERATORS.get(op)
    if known is None:
        raise Failed(
            f"Unsupported operator: '{op}'. Supported operators are: {', '.join(OPERATORS)}."
        )
    args = _arguments(known.signature, condition["args"], fields, op)
    if "item" in fields and "force_strings" in known.signature.optional:
        # In a loop interpolation has made texts of numbers.
        args["force_strings"] = True
    return known.check(**args) is not inverted


def _act(context: RuleContext, action: Mapping[str, Any], views: _Views, hide: bool) -> None:
    op = action["op"]
    known = ACTIONS.get(op)
    if known is None:
        raise Failed(f"Unsupported action: '{op}'. Supported actions are: {', '.join(ACTIONS)}.")
    items = _items(action)
    context.written = known.signature.named(action["args"])
    for item in [None] if items is None else items:
        # Read anew each time: an action sees what the one before it did.
        fields = views.fields(hide)
        if items is not None:
            fields["item"] = item
        known.run(context, **_arguments(known.signature, action["args"], fields, op))


def _arguments(
    signature: Signature, args: object, fields: Mapping[str, Any], op: str
) -> dict[str, Any]:
    in_loop = "item" in fields
    return {
        name: fill(value, fields, op)
        if in_loop or name in signature.filled
        else copy.deepcopy(value)
        for name, value in signature.named(args).items()
    }
