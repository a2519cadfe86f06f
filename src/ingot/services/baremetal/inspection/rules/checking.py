"""Rules as clients send them: read, checked, and told what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingot.kit import ids
from ingot.kit.faults import Fault, Invalid
from ingot.services.baremetal.inspection.rules.actions import ACTIONS
from ingot.services.baremetal.inspection.rules.arguments import split_operator
from ingot.services.baremetal.inspection.rules.operators import MULTIPLE, OPERATORS, pattern
from ingot.services.baremetal.inspection.rules.types import MAIN, MOST_PRIORITY, PHASES, Rule
from ingot.services.baremetal.nodes import schemas

Args = list[Any] | dict[str, Any]


class RuleAction(msgspec.Struct):
    """Unknown members are ignored, as upstream does."""

    op: str
    args: Args
    loop: Args | None = None


class RuleCondition(msgspec.Struct):
    op: str
    args: Args
    loop: Args | None = None
    multiple: str | None = None


class RuleBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Body of POST /v1/inspection_rules. The stock command line sends numbers and booleans as texts."""

    actions: Annotated[list[RuleAction], Meta(min_length=1)]
    conditions: list[RuleCondition] | dict[str, Any] | None = None
    description: Annotated[str, Meta(max_length=255)] | None = None
    phase: Annotated[str, Meta(max_length=16)] | None = None
    priority: int | str | None = None
    sensitive: bool | str | None = None
    uuid: str | UnsetType | None = UNSET


def read_rule(document: Mapping[str, Any], *, built_in: bool = False) -> Rule:
    """A rule from its document; Invalid says all that is wrong with it."""
    try:
        body = msgspec.convert(document, RuleBody)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Schema error: {wrong}.") from None
    return rule_of(body, built_in=built_in)


def rule_of(body: RuleBody, *, built_in: bool = False) -> Rule:
    uuid = body.uuid or ids.new_uuid()
    if not built_in:
        uuid = schemas.uuid("uuid", uuid)
    if isinstance(body.conditions, dict) and body.conditions:
        raise Invalid("Schema error: conditions must be a list.")
    conditions = [] if isinstance(body.conditions, dict) else body.conditions or []
    priority = _priority(body.priority)
    errors = _priority_errors(priority, built_in)
    phase = body.phase or MAIN
    if phase not in PHASES:
        errors.append(f"Invalid phase: {phase}. Valid phases are: {', '.join(PHASES)}")
    for condition in conditions:
        errors += _condition_errors(condition)
    for action in body.actions:
        errors += _action_errors(action)
    if errors:
        many = "" if len(errors) == 1 else "Multiple validation errors occurred: "
        raise Invalid(many + "; ".join(errors))
    return Rule(
        uuid=uuid,
        actions=[_plain(action) for action in body.actions],
        conditions=[_plain(condition) for condition in conditions],
        description=body.description,
        priority=priority,
        phase=phase,
        sensitive=body.sensitive is not None and schemas.flag("sensitive", body.sensitive),
    )


def document_of(rule: Rule) -> dict[str, Any]:
    """What a patch works on."""
    return {
        "uuid": rule.uuid,
        "description": rule.description,
        "priority": rule.priority,
        "phase": rule.phase,
        "sensitive": rule.sensitive,
        "conditions": rule.conditions,
        "actions": rule.actions,
    }


def _priority(given: int | str | None) -> int:
    try:
        return int(given or 0)
    except ValueError:
        raise Invalid(f"Schema error: {given!r} is not of type 'integer'") from None


def _priority_errors(priority: int, built_in: bool) -> list[str]:
    if built_in or 0 <= priority <= MOST_PRIORITY:
        return []
    if priority < 0:
        return ["Priority cannot be negative for user-defined rules."]
    return [f"Priority must be between 0 and {MOST_PRIORITY} for user-defined rules."]


def _condition_errors(condition: RuleCondition) -> list[str]:
    try:
        op, _ = split_operator(condition.op)
    except Fault as fault:
        return [fault.text]
    known = OPERATORS.get(op)
    if known is None:
        return [f"Unsupported operator '{op}'."]
    if condition.multiple not in (None, *MULTIPLE):
        return [f"{condition.multiple!r} is not one of {', '.join(MULTIPLE)}"]
    try:
        args = known.signature.named(condition.args)
        if "regex" in args and not condition.loop:
            pattern(args["regex"])
    except Fault as fault:
        return [f"Invalid parameters for condition operator {op}: {fault.text}"]
    return []


def _action_errors(action: RuleAction) -> list[str]:
    known = ACTIONS.get(action.op)
    if known is None:
        return [f"Unsupported action '{action.op}'."]
    try:
        known.signature.named(action.args)
    except Fault as fault:
        return [f"Invalid parameters for action operator {action.op}: {fault.text}"]
    return []


def _plain(part: RuleAction | RuleCondition) -> dict[str, Any]:
    """As it is kept and shown: a loop only where there is one, with how it is read."""
    shown: dict[str, Any] = {"op": part.op, "args": part.args}
    if part.loop:
        shown["loop"] = part.loop
        if isinstance(part, RuleCondition):
            shown["multiple"] = part.multiple or "any"
    return shown
