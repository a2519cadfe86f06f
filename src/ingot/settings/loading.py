"""Settings from a file, the environment and the command line; what is wrong names its place."""

from __future__ import annotations

import logging
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from ingot.kit.faults import Invalid
from ingot.settings.sources import Keys, Places

from .mistakes import mistakes
from .old_keys import OLD, carry_over
from .tree import Settings


def load(
    path: Path | None, environment: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """The settings of a file (may be None), the environment, and the command line's own values.

    Raises Invalid with the place (file and line, or variable), the key and what is wrong with it.
    """
    text, tree = _read(path)
    places = Places(str(path or ""), text, {})
    variables = environment if environment is not None else os.environ
    _apply_environment(tree, variables, places.variables)
    for key, value in overrides.items():
        if value is not None:
            tree[key] = value
            places.variables[key,] = f"--{key}"
    warnings = carry_over(tree, places)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise places.fault(*_explained(str(error))) from None
    for keys, wrong in mistakes(settings):
        raise places.fault(keys, wrong)
    for text in warnings:
        logging.getLogger("ingot.settings").warning(text)
    return settings


def _read(path: Path | None) -> tuple[str, dict[str, Any]]:
    if path is None:
        return "", {}
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not a text in UTF-8: {error.reason}.") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is not valid TOML: {error}.") from None


def _apply_environment(
    tree: dict[str, Any], environment: Mapping[str, str], origins: dict[tuple[str, ...], str]
) -> None:
    """Put the environment's values into the tree, and note which variable each came from."""
    for name, value in environment.items():
        if not name.startswith("INGOT_"):
            continue
        keys = tuple(name.removeprefix("INGOT_").lower().split("__"))
        if len(keys) == 1 and keys[0] not in {
            *OLD,
            *(f.name for f in msgspec.structs.fields(Settings)),
        }:
            continue  # other programs' variables may begin like ours
        here = tree
        for section in keys[:-1]:
            inner: Any = here.setdefault(section, {})
            if isinstance(inner, dict):
                here = cast("dict[str, Any]", inner)
            else:
                raise Invalid(f"{name}: {section} is a value in the settings file, not a section.")
        try:
            is_list = value.startswith(("[", "{"))
            here[keys[-1]] = msgspec.json.decode(value) if is_list else value
        except msgspec.DecodeError as error:
            raise Invalid(f"{name}: a list is written as JSON: {error}.") from None
        origins[keys] = name


def _explained(error: str) -> tuple[Keys, str]:
    """Keys and words of a conversion's error such as "Expected `int` - at `$.section.key`"."""
    what, _, where = error.partition(" - at `$")
    keys = tuple(re.findall(r"\.(\w+)", where))
    if "unknown field" not in what:
        return keys, what + "."
    name = what.split("`")[1]
    shape: Any = Settings
    for key in keys:
        shape = typing.get_type_hints(shape)[key]
    import difflib  # only to help with a mistake

    near = difflib.get_close_matches(name, [f.name for f in msgspec.structs.fields(shape)], 1)
    hint = f" Did you mean {near[0]}?" if near else " `ingot config reference` lists all."
    return (*keys, name), f"there is no such option.{hint}"
