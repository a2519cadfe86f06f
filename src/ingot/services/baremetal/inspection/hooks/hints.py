"""Root device hints: which disk is meant by properties like `size: ">= 100"` or `model: "<in> nvme"`. Pure.

Texts are compared without regard to case; size is in GiB. Operators and their meaning are those of the agent
(its documentation, "root device hints"), which reads the same hints when an image is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from ingot.kit.faults import Invalid

TEXTS = (
    "model",
    "vendor",
    "serial",
    "wwn",
    "wwn_with_extension",
    "wwn_vendor_extension",
    "name",
    "hctl",
    "by_path",
)
_GIB = 1 << 30
_SIGNS = (
    "s==",
    "s!=",
    "s<=",
    "s>=",
    "s<",
    "s>",
    "==",
    "!=",
    "<=",
    ">=",
    "=",
    "<or>",
    "<in>",
    "<all-in>",
)


def match(disk: Mapping[str, Any], hints: Mapping[str, Any]) -> bool:
    """Whether a disk (as the inventory has it) is one that the hints mean; Invalid for unknown hints."""
    return all(_one(disk, name, hint) for name, hint in hints.items())


def _one(disk: Mapping[str, Any], name: str, hint: Any) -> bool:
    value = disk.get(name)
    if name == "size":
        return isinstance(value, int) and _number(value // _GIB, str(hint).strip())
    if name == "rotational":
        return isinstance(value, bool) and value is _flag(hint)
    if name not in TEXTS:
        raise Invalid(f"There is no root device hint {name!r}.")
    return value is not None and _text(
        str(value).strip().lower(), unquote(str(hint)).strip().lower()
    )


def _flag(hint: Any) -> bool:
    if isinstance(hint, bool):
        return hint
    text = str(hint).strip().lower()
    if text in ("true", "1", "yes", "on", "t", "y"):
        return True
    if text in ("false", "0", "no", "off", "f", "n"):
        return False
    raise Invalid(f"The root device hint rotational is no boolean: {hint!r}.")


def _split(hint: str) -> tuple[str, str]:
    """ ">= 5" -> (">=", "5"); no operator: equal."""
    for sign in sorted((*_SIGNS, "<", ">"), key=len, reverse=True):
        if hint.startswith(sign) and not (sign == "<" and hint.startswith(("<or>", "<in>"))):
            return sign, hint[len(sign) :].strip()
    return "", hint


def _number(value: int, hint: str) -> bool:
    sign, rest = _split(hint)
    if sign == "<or>":
        return any(value == _whole(part) for part in rest.split("<or>"))
    wanted = _whole(rest)
    # "=" is "at least" where numbers are compared; that is how the agent reads it.
    return {
        "": value == wanted,
        "==": value == wanted,
        "!=": value != wanted,
        "=": value >= wanted,
        ">=": value >= wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        "<": value < wanted,
    }.get(sign, False)


def _whole(text: str) -> int:
    try:
        return int(float(text.strip()))
    except (ValueError, OverflowError):
        raise Invalid(f"The root device hint size is no number: {text!r}.") from None


def _text(value: str, hint: str) -> bool:
    sign, rest = _split(hint)
    if sign == "<or>":
        return value in [part.strip() for part in rest.split("<or>")]
    if sign == "<in>":
        return rest in value
    if sign == "<all-in>":
        return all(part in value for part in rest.split())
    return {
        "": value == rest,
        "s==": value == rest,
        "==": value == rest,
        "=": value == rest,
        "s!=": value != rest,
        "!=": value != rest,
        "s<": value < rest,
        "s<=": value <= rest,
        "s>": value > rest,
        "s>=": value >= rest,
    }.get(sign, False)
