"""Keys of earlier releases: still understood, with a warning that names the new ones."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from .sources import Places
from .tree import Services

#: Keys at the top of the file that are no more.
OLD = ("rooms",)
_MODES = {"own": "own", "keystone": "external"}


def carry_over(tree: dict[str, Any], places: Places) -> list[str]:
    """Put what old keys say where the new ones are; warnings that name these. Raises Invalid for values that never were.

    What [services.NAME] says itself counts before `rooms`.
    """
    warnings: list[str] = []
    if "rooms" in tree:
        _services(tree, places, tree.pop("rooms"))
        places.variables[("services",)] = places.origin(("rooms",))
        warnings.append('the setting rooms is old: write [services.NAME] mode = "own" or "off"')
    identity = tree.get("identity")
    if isinstance(identity, dict) and "mode" in identity:
        mode = cast("dict[str, Any]", identity).pop("mode")
        if mode not in _MODES:
            raise places.fault(("identity", "mode"), f"{mode!r} is none of {', '.join(_MODES)}.")
        if mode != "own":
            _section(tree, "identity")["mode"] = _MODES[mode]
        warnings.append("the setting identity.mode is old: write [services.identity] mode")
    return warnings


def _services(tree: dict[str, Any], places: Places, named: Any) -> None:
    """All services that are not named are off."""
    known = [field.name for field in msgspec.structs.fields(Services)]
    names: list[str] = (
        [str(name) for name in cast("list[object]", named)] if isinstance(named, list) else []
    )
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        wrong = f"{', '.join(unknown) or 'empty'}; services are {', '.join(known)}."
        raise places.fault(("rooms",), wrong)
    for name in known:
        if name not in names:
            _section(tree, name).setdefault("mode", "off")


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """[services.NAME]; what is no table there is told by the conversion that follows."""
    return _table(_table(tree, "services"), name)


def _table(tree: dict[str, Any], name: str) -> dict[str, Any]:
    found = tree.setdefault(name, {})
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
