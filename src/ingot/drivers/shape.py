"""Reading JSON whose shape is not to be trusted: absent, null or of another kind is empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard, cast

Json = dict[str, object]


def is_map(value: object) -> TypeGuard[Json]:
    """Whether `value` is a JSON object."""
    return isinstance(value, dict)


def as_map(value: object) -> Json:
    """`value` if it is an object, else {}."""
    return value if is_map(value) else {}


def as_list(value: object) -> list[object]:
    """`value` if it is a list, else []."""
    return cast(list[object], value) if isinstance(value, list) else []


def text(body: Mapping[str, object], name: str) -> str:
    """A string property, stripped; "" when there is none."""
    value = body.get(name)
    return value.strip() if isinstance(value, str) else ""


def child(body: Mapping[str, object], *names: str) -> Json:
    """A nested object; {} when there is none."""
    found = dict(body)
    for name in names:
        found = as_map(found.get(name))
    return found


def items(body: Mapping[str, object], name: str) -> list[Json]:
    """The objects of a list property."""
    return [item for item in as_list(body.get(name)) if is_map(item)]


def strings(body: Mapping[str, object], name: str) -> list[str]:
    """The strings of a list property."""
    return [item for item in as_list(body.get(name)) if isinstance(item, str)]


def link(body: Mapping[str, object], name: str) -> str:
    """The path that a property points to; "" when it does not."""
    return text(child(body, name), "@odata.id")


def whole(value: object, most: int) -> int | None:
    """A whole number from 1 to `most`; None for everything else, also for true."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        return None
    return int(value) or None
