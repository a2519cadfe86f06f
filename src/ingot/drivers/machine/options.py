"""Typed options of drivers: what may stand in a node's driver_info.

One list of `Option` per interface gives three things: the texts of GET /v1/drivers/{n}/properties,
the validation of driver_info, and the names of its secrets (masked in replies, kept encrypted).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from ingot.kit.http.egress import Egress

TRUE = frozenset({"1", "true", "yes", "on", "t", "y"})
FALSE = frozenset({"0", "false", "no", "off", "f", "n"})


@dataclass(frozen=True)
class Option:
    """One key of driver_info.

    kind: "str", "int", "float", "bool", "bool-or-path", "mapping" or "choice" (then `choices`).
    minimum, maximum: bounds of a number. host: it names one (alone or in a URL) that this process asks.
    """

    name: str
    description: str
    kind: str = "str"
    default: object = None
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    host: bool = False

    def text(self) -> str:
        """The description as GET …/properties shows it."""
        parts = [self.description.rstrip(".") + "."]
        if self.choices:
            parts.append("One of: " + ", ".join(self.choices) + ".")
        if self.required:
            parts.append("Required.")
        elif self.default is not None:
            parts.append(f"Optional; default {self.default}.")
        else:
            parts.append("Optional.")
        return " ".join(parts)


@dataclass(frozen=True)
class Problem:
    """What is wrong with one option. kind: "missing", "invalid" or "unknown"."""

    option: str
    kind: str
    text: str


class BadValue(ValueError):
    """The value does not fit; the text says what would (never the value of a secret)."""


def convert(option: Option, value: object) -> object:
    """`value` as the option's type. Raises BadValue."""
    if option.kind == "mapping":
        if isinstance(value, Mapping):
            return dict(cast(Mapping[str, object], value))
        raise BadValue("an object is expected")
    if option.kind in ("int", "float"):
        return _number(option, value)
    if option.kind == "bool":
        return _flag(value)
    if option.kind == "bool-or-path":
        try:
            return _flag(value)
        except BadValue:
            return _text(value)
    text = _text(value)
    if option.choices and text.lower() not in [c.lower() for c in option.choices]:
        raise BadValue("one of " + ", ".join(option.choices) + " is expected")
    return text


def check(
    options: Iterable[Option], values: Mapping[str, object]
) -> tuple[dict[str, object], tuple[Problem, ...]]:
    """Typed values (defaults filled in, unknown keys kept) and what is wrong with them."""
    typed: dict[str, object] = dict(values)
    problems: list[Problem] = []
    for option in options:
        value = values.get(option.name)
        if value is None or value == "":
            if option.required:
                problems.append(Problem(option.name, "missing", f"{option.name} is missing"))
            typed[option.name] = option.default
            continue
        try:
            typed[option.name] = convert(option, value)
        except BadValue as bad:
            problems.append(Problem(option.name, "invalid", f"{option.name}: {bad}"))
    return typed, tuple(problems)


def unasked(
    options: Iterable[Option], values: Mapping[str, object], egress: Egress
) -> tuple[Problem, ...]:
    """Addresses of controllers that are not asked. Names are judged when it is known whom they mean."""
    found: list[Problem] = []
    for option in options:
        value = values.get(option.name)
        wrong = egress.judge(_host(value)) if option.host and isinstance(value, str) else ""
        if wrong:
            found.append(Problem(option.name, "invalid", f"{option.name}: {wrong}"))
    return tuple(found)


def _host(value: str) -> str:
    """The host of a URL, or the value itself; "" where it cannot be told."""
    value = value.strip()
    if "://" not in value and value.count(":") > 1 and not value.startswith("["):
        return value
    try:
        return urlsplit(value if "://" in value else f"//{value}").hostname or ""
    except ValueError:
        return ""


def _text(value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value)
        if any(ord(c) < 32 or ord(c) == 127 for c in text):
            raise BadValue("control characters are not allowed")
        return text
    raise BadValue("a string is expected")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise BadValue("true or false is expected")


def _number(option: Option, value: object) -> int | float:
    if isinstance(value, bool):
        raise BadValue("a number is expected")
    try:
        number = int(str(value)) if option.kind == "int" else float(str(value))
    except ValueError:
        raise BadValue("a number is expected") from None
    if option.minimum is not None and number < option.minimum:
        raise BadValue(f"at least {option.minimum:g} is expected")
    if option.maximum is not None and number > option.maximum:
        raise BadValue(f"at most {option.maximum:g} is expected")
    return number
