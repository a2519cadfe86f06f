"""The contracts of imports in pyproject.toml name every service: they are compared with the tuple of services."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.house import ROOT, Finding

_FILE = "pyproject.toml"
_SERVICE = re.compile(r"ingot\.services\.(\w+)")
#: Contracts that speak of services one by one, and say so of each.
_EACH = "protected"


def contracts(files: list[Path]) -> Iterator[Finding]:
    """A service that a contract forgets is bound by none. import-linter cannot read `app/services.py`, so its lists are
    written by hand and held against it here."""
    from ingot.app.services import SERVICES

    text = tomllib.loads((ROOT / _FILE).read_text())
    yield from missing(text["tool"]["importlinter"]["contracts"], [one.name for one in SERVICES])


def missing(found: Sequence[Mapping[str, Any]], services: Sequence[str]) -> Iterator[Finding]:
    """What the contracts say of services and should not, or do not say and should."""
    protected: set[str] = set()
    for contract in found:
        if contract["type"] == _EACH:
            protected |= {name for text in contract["protected_modules"] for name in _named(text)}
            continue
        for key in ("layers", "source_modules", "forbidden_modules"):
            named = [name for text in contract.get(key, ()) for name in _named(text)]
            if not named:
                continue
            wanted = list(reversed(services)) if key == "layers" else list(services)
            if named != wanted:
                say = f"{contract['name']}: {key} names {named}, the services are {wanted}"
                yield Finding("contract", _FILE, _key(contract["name"], key), say)
    for name in services:
        if name not in protected:
            say = f"no contract protects the tables and the store of {name}"
            yield Finding("contract", _FILE, f"protected:{name}", say)


def _named(text: str) -> list[str]:
    """Services that are named as a whole, or by a module of theirs that all have."""
    match = _SERVICE.match(text)
    return [match[1]] if match else []


def _key(name: str, key: str) -> str:
    return f"{name.partition(':')[0].replace(' ', '-')}:{key}"
