"""The operators of conditions: each looks at its arguments and says yes or no. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any, cast

from ingot.kit.faults import Failed
from ingot.kit.patterns import BadPattern, Pattern, compiled
from ingot.services.baremetal.inspection.rules.arguments import Signature

#: Longer texts are not searched.
_LONGEST = 64 << 10


@dataclass(frozen=True, slots=True)
class Operator:
    signature: Signature
    check: Callable[..., bool]


def _chain(name: str, compare: Callable[[Any, Any], bool]) -> Operator:
    """All neighbours in a list of values compare."""

    def check(values: Any, force_strings: Any = False) -> bool:
        if not isinstance(values, list):
            raise Failed(
                f"Failed to check condition: '{name}' on values: {values}: Expected list for "
                f"'values', got: {type(values).__name__}"
            )
        found = cast("list[Any]", values)
        if force_strings:
            found = [str(value) for value in found]
        return all(_compare(name, compare, a, b) for a, b in pairwise(found))

    signature = Signature(("values",), ("force_strings",), frozenset({"values"}))
    return Operator(signature, check)


def _compare(name: str, compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    try:
        return compare(one, other)
    except TypeError:
        pass
    # A number beside the text that interpolation made of another number.
    try:
        return compare(float(one), float(other))
    except (TypeError, ValueError):
        raise Failed(
            f"'{name}' cannot compare {type(one).__name__} with {type(other).__name__}"
        ) from None


def _is_empty(value: Any) -> bool:
    return str(value) in ("", "None", "[]", "{}")


def _in_net(address: Any, subnet: Any) -> bool:
    try:
        return ip_address(str(address)) in ip_network(str(subnet), strict=False)
    except ValueError as wrong:
        raise Failed(f"invalid value: {wrong}") from None


def _is_true(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("yes", "true")
    return isinstance(value, bool | int | float) and bool(value)


def _is_false(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ("no", "false")
    return value is None or (isinstance(value, bool | int | float) and not value)


def _one_of(value: Any, values: Any = ()) -> bool:
    if not isinstance(values, list | tuple | str | dict):
        raise Failed(f"'one-of' needs a list of values, not {type(values).__name__}")
    return value in cast("list[Any]", values)


def pattern(regex: Any) -> Pattern:
    """A compiled pattern; Failed says what is wrong with it."""
    try:
        return compiled(str(regex))
    except BadPattern as wrong:
        raise Failed(f"invalid regular expression: {wrong}") from None


def _matches(value: Any, regex: Any) -> bool:
    pattern(regex)
    text = str(value)[:_LONGEST]
    whole = pattern(regex if str(regex).endswith("$") else f"{regex}$")
    # As Python's own engine does, `$` is also before a last line's end.
    return whole.match(text) or (text.endswith("\n") and whole.match(text[:-1]))


def _contains(value: Any, regex: Any) -> bool:
    return pattern(regex).search(str(value)[:_LONGEST])


def _is_none(value: Any) -> bool:
    return value is None


_VALUE = frozenset({"value"})
_ONE = Signature(("value",), (), _VALUE)
_REGEX = Signature(("value", "regex"), (), _VALUE)

OPERATORS: Mapping[str, Operator] = {
    "eq": _chain("eq", operator.eq),
    "lt": _chain("lt", operator.lt),
    "gt": _chain("gt", operator.gt),
    "is-empty": Operator(_ONE, _is_empty),
    "in-net": Operator(
        Signature(("address", "subnet"), (), frozenset({"address", "subnet"})), _in_net
    ),
    "matches": Operator(_REGEX, _matches),
    "contains": Operator(_REGEX, _contains),
    "one-of": Operator(Signature(("value",), ("values",), _VALUE), _one_of),
    "is-none": Operator(_ONE, _is_none),
    "is-true": Operator(_ONE, _is_true),
    "is-false": Operator(_ONE, _is_false),
}
#: How the results of a condition's loop are read.
MULTIPLE = ("any", "all", "first", "last")
