"""JSON patches (RFC 6902) as the Bare Metal API takes them: add, replace and remove, one after the other.

Pure. A patch never changes the document that it is given. Source: RFC 6902 and RFC 6901.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from ingot.kit.faults import Invalid

_PLAIN = re.compile(r"^(/[\w-]+)+\Z")
_ESCAPED = re.compile(r"^(/([^/~]|~0|~1)+)+\Z")
_INDEX = re.compile(r"^(0|[1-9][0-9]{0,9})\Z")

#: From this microversion on, `~0` and `~1` in a path stand for `~` and `/`.
ESCAPES_SINCE = 98


class PatchOperation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operation of a patch; `value` is unset where the client sent none."""

    op: Literal["add", "replace", "remove"]
    path: str
    value: Any | UnsetType = UNSET

    @property
    def root(self) -> str:
        """The name of the attribute that is changed, in whole or in part."""
        return _plain(self.path.split("/", 2)[1])

    @property
    def whole(self) -> bool:
        """Whether the attribute itself is changed, not something inside of it."""
        return self.path.count("/") == 1


def checked(changes: Sequence[PatchOperation], minor: int) -> None:
    """Refuse paths that are no pointers, and changes without a value."""
    pattern = _ESCAPED if minor >= ESCAPES_SINCE else _PLAIN
    for change in changes:
        if not pattern.match(change.path):
            raise Invalid(f"Invalid input for field patch: {change.path!r} is not a valid path.")
        if change.op != "remove" and change.value is UNSET:
            raise _wrong(change, "the operation needs a value")


def values(changes: Sequence[PatchOperation], name: str) -> Iterator[Any]:
    """The values that whole attribute `name` gets, in order."""
    for change in changes:
        if change.path == f"/{name}" and change.op != "remove":
            yield change.value


def apply(document: dict[str, Any], changes: Sequence[PatchOperation]) -> dict[str, Any]:
    """A new document with all changes; Invalid names the first that cannot be applied."""
    result: Any = copy.deepcopy(document)
    for change in changes:
        _apply_one(result, change)
    return cast("dict[str, Any]", result)


def _apply_one(document: Any, change: PatchOperation) -> None:
    tokens = [_plain(token) for token in change.path.split("/")[1:]]
    here = document
    for token in tokens[:-1]:
        here = _step(here, token, change)
    last = tokens[-1]
    if isinstance(here, dict):
        _in_object(cast("dict[str, Any]", here), last, change)
    elif isinstance(here, list):
        _in_array(cast("list[Any]", here), last, change)
    else:
        raise _wrong(change, "the path leads into a value that is neither object nor list")


def _step(here: Any, token: str, change: PatchOperation) -> Any:
    if isinstance(here, dict):
        inside = cast("dict[str, Any]", here)
        if token in inside:
            return inside[token]
        raise _wrong(change, f"member {token!r} not found")
    if isinstance(here, list):
        items = cast("list[Any]", here)
        return items[_position(items, token, change)]
    raise _wrong(change, "the path leads into a value that is neither object nor list")


def _in_object(here: dict[str, Any], name: str, change: PatchOperation) -> None:
    if change.op != "add" and name not in here:
        raise _wrong(change, f"can't {change.op} a non-existent object {name!r}")
    if change.op == "remove":
        del here[name]
    else:
        here[name] = copy.deepcopy(change.value)


def _in_array(here: list[Any], token: str, change: PatchOperation) -> None:
    if change.op == "add":
        if token == "-":
            here.append(copy.deepcopy(change.value))
            return
        at = _position(here, token, change, beyond=1)
        here.insert(at, copy.deepcopy(change.value))
        return
    at = _position(here, token, change)
    if change.op == "remove":
        del here[at]
    else:
        here[at] = copy.deepcopy(change.value)


def _position(items: list[Any], token: str, change: PatchOperation, beyond: int = 0) -> int:
    # The pattern bounds the digits: Python refuses to read thousands of them.
    if not _INDEX.match(token) or int(token) >= len(items) + beyond:
        raise _wrong(change, f"{token!r} is no index of the list")
    return int(token)


def _plain(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def _wrong(change: PatchOperation, reason: str) -> Invalid:
    return Invalid(f"Couldn't apply patch '{change.op} {change.path}'. Reason: {reason}")
