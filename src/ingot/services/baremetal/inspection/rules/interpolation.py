"""Replacement fields in the arguments of rules: `{inventory[cpu][count]}`, `{node.properties[x]}`, `{item}`.

The syntax is that of `str.format`, which upstream uses; but only what is data can be reached: names of the
node, keys and positions. A field that leads nowhere leaves the text as it was.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, cast

#: Keys whose values are hidden from rules, as upstream does.
SECRET_KEYS = frozenset({"password", "auth_token", "bmc_password"})
_HIDDEN = "***"
#: A width of a million would be a bomb.
_SPEC = re.compile(r"^[^{}]{0,2}[<>=^]?[-+ ]?#?0?\d{0,3}[,_]?(\.\d{1,3})?[a-zA-Z%]?\Z")


class NodeView:
    """The node as rules see it: its attributes by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def __str__(self) -> str:
        return str(self.values.get("uuid", ""))


class _Formatter(string.Formatter):
    """`str.format` over data: no attributes of Python's own objects, no wide fields."""

    def get_field(
        self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, str]:
        first, rest = _split(field_name)
        here = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            here = _attribute(here, str(key)) if is_attribute else _item(here, key)
        return here, str(first)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec and not _SPEC.match(format_spec):
            raise ValueError("this format is not allowed")
        if isinstance(value, NodeView | Mapping | list):
            value = str(cast("object", value))
        return str(super().format_field(value, format_spec))


_FIELD = re.compile(r"\.([^.\[\]]+)|\[([^\]]+)\]")
_FORMATTER = _Formatter()


def _split(name: str) -> tuple[str, list[tuple[bool, str | int]]]:
    """ "a.b[0]" -> ("a", [(True, "b"), (False, 0)])."""
    first = re.match(r"[^.\[\]]*", name)
    assert first is not None  # it matches nothing, too
    rest: list[tuple[bool, str | int]] = []
    at = first.end()
    while at < len(name):
        found = _FIELD.match(name, at)
        if found is None:
            raise ValueError("malformed replacement field")
        key = found[1] or found[2]
        rest.append((bool(found[1]), int(key) if not found[1] and key.isdecimal() else key))
        at = found.end()
    return first[0], rest


def _attribute(here: Any, name: str) -> Any:
    if isinstance(here, NodeView) and name in here.values:
        return here.values[name]
    raise AttributeError(name)


def _item(here: Any, key: str | int) -> Any:
    if isinstance(here, Mapping):
        inside = cast("Mapping[Any, Any]", here)
        return inside[key if key in inside else str(key)]
    if isinstance(here, list | tuple | str) and isinstance(key, int):
        return cast("Sequence[Any]", here)[key]
    raise TypeError("no place in it")


def fill(value: Any, context: Mapping[str, Any], op: str) -> Any:
    """A value with its replacement fields filled in, at any depth.

    A field that is missing leaves the text as it is, but is nothing (None) for `is-empty`. In a loop a text
    is filled twice, since an item of the loop may have fields of its own.
    """
    if isinstance(value, str):
        once = _text(value, context, op)
        return _text(once, context, op) if once is not None and "item" in context else once
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return {_key(key, context, op): fill(item, context, op) for key, item in pairs.items()}
    if isinstance(value, list):
        return [fill(item, context, op) for item in cast("list[Any]", value)]
    return value


def _key(key: Any, context: Mapping[str, Any], op: str) -> Any:
    return _text(key, context, op) if isinstance(key, str) else key


def _text(text: str, context: Mapping[str, Any], op: str) -> str | None:
    if "{" not in text and "}" not in text:
        return text
    try:
        return _FORMATTER.vformat(text, (), context)
    except KeyError:
        return None if op == "is-empty" else text
    except (AttributeError, ValueError, IndexError, TypeError, RecursionError):
        return text


def masked(value: Any) -> Any:
    """A copy with the values of secret keys hidden."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value)
        return {key: _HIDDEN if key in SECRET_KEYS else masked(item) for key, item in pairs.items()}
    if isinstance(value, list):
        return [masked(item) for item in cast("list[Any]", value)]
    return value
