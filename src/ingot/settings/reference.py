"""All options with their defaults, as TOML with comments."""

from __future__ import annotations

import typing
from typing import Any

import msgspec

from .tree import Settings


def reference() -> str:
    """All options with their defaults, as TOML with comments."""
    lines: list[str] = []
    _describe(Settings, "", lines)
    return "\n".join(lines) + "\n"


def _describe(shape: type[msgspec.Struct], prefix: str, lines: list[str]) -> None:
    hints = typing.get_type_hints(shape)
    if prefix:
        lines += ["", f"[{prefix}]"]
    lines += [f"# {line.strip()}".rstrip() for line in (shape.__doc__ or "").strip().splitlines()]
    nested: list[tuple[str, type[msgspec.Struct]]] = []
    for field in msgspec.structs.fields(shape):
        kind = hints[field.name]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            nested.append((field.name, kind))
            continue
        default: Any = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        lines.append(f"# {field.name} = {_toml(default)}")
    for name, kind in nested:
        _describe(kind, f"{prefix}.{name}".lstrip("."), lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)
