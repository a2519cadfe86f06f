"""From octets to checked values: JSON bodies and query strings, with a clear 4xx for what is wrong."""

from __future__ import annotations

import re
import types
import typing
from functools import cache
from typing import Any, cast

import msgspec

from ingot.kit.faults import Fault, Invalid, Kind, Missing

#: A NUL in a JSON text: no database keeps it in a text, and no name or value needs it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
#: Perhaps a number that no column holds; digits in texts are sorted out afterwards.
_LONG_NUMBER = re.compile(rb"\d{19}")
_LARGEST = 2**63 - 1


@cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def decode_body(data: bytes, shape: Any, depth: int, values: int = 0) -> Any:
    """The body as a value of `shape`; a fault of kind INVALID that names the place otherwise.

    values: about as many values may be in it, 0 for any number. They cost far more than their octets.
    """
    if not data:
        raise Invalid("The request needs a JSON body, and has none.")
    if values and data.count(b",") + data.count(b"{") + data.count(b"[") > values:
        raise Fault(f"The body holds more than {values} values.", kind=Kind.TOO_LARGE)
    if data.count(b"{") + data.count(b"[") > depth:
        _check_depth(data, depth)
    if b"\\u0000" in data and _NUL.search(data):
        raise Invalid("The body holds a NUL character (\\u0000), which no value may have.")
    try:
        if _LONG_NUMBER.search(data):
            check_numbers(_decoder(Any).decode(data))
        return _decoder(shape).decode(data)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid input: {wrong}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Invalid(f"The body is not valid JSON: {wrong}.") from None
    except RecursionError:
        raise Invalid("The body is nested too deeply.") from None


def check_numbers(value: Any) -> None:
    """Refuse whole numbers of more than 63 bits, wherever in lists and JSON objects: no column holds them."""
    if isinstance(value, dict):
        value = list(cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        for part in cast("list[Any]", value):
            check_numbers(part)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        raise Invalid(f"The number {str(value)[:40]} is too large: {_LARGEST} is the largest.")


def _check_depth(data: bytes, limit: int) -> None:
    """Refuse JSON that is nested deeper than `limit` before anything recursive reads it."""
    level, quoted, escaped = 0, False, False
    for octet in data:
        if quoted:
            if escaped:
                escaped = False
            elif octet == 0x5C:
                escaped = True
            elif octet == 0x22:
                quoted = False
        elif octet == 0x22:
            quoted = True
        elif octet in (0x7B, 0x5B):
            level += 1
            if level > limit:
                raise Invalid(f"The body is nested more than {limit} levels deep.")
        elif octet in (0x7D, 0x5D):
            level -= 1


@cache
def _list_fields(shape: type[msgspec.Struct]) -> frozenset[str]:
    """Wire names of the fields that take several values."""
    hints = typing.get_type_hints(shape)
    names: set[str] = set()
    for field in msgspec.structs.fields(shape):
        hint = hints[field.name]
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if any(typing.get_origin(part) is list for part in parts):
            names.add(field.encode_name)
    return frozenset(names)


def decode_query(args: list[tuple[str, str]], shape: type[msgspec.Struct]) -> Any:
    """The query string as a struct. Fields of a list type collect repeated and comma-separated values."""
    lists = _list_fields(shape)
    values: dict[str, Any] = {}
    for name, value in args:
        if name in lists:
            cast("list[str]", values.setdefault(name, [])).extend(
                part for part in value.split(",") if part
            )
        else:
            values[name] = value
    try:
        found = msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"Invalid query parameter: {wrong}.") from None
    for name in shape.__struct_fields__:
        check_numbers(getattr(found, name))
    return found


def check_address(params: dict[str, str], args: list[tuple[str, str]]) -> None:
    """Refuse NULs in the path (nothing has such a name) and in the query."""
    if any("\0" in value for value in params.values()):
        raise Missing("The resource could not be found: no name holds a NUL character.")
    if any("\0" in name or "\0" in value for name, value in args):
        raise Invalid("A query parameter holds a NUL character.")


def too_large(limit: int) -> Fault:
    return Fault(f"The request body is larger than {limit} bytes.", kind=Kind.TOO_LARGE)
