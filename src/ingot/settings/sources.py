"""Where the value of a setting came from: a line of the TOML file, a variable, an option."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ingot.kit.faults import Invalid

Keys = tuple[str, ...]
_HEADER = re.compile(r"\s*\[([\w.\"' -]+)\]")
_KEY = re.compile(r"\s*([\w.\"-]+)\s*=")


@dataclass(frozen=True)
class Places:
    """Where each value came from. variables: keys -> the variable or option that gave it."""

    file: str
    text: str
    variables: dict[Keys, str]

    def fault(self, keys: Keys, wrong: str) -> Invalid:
        """ "FILE, line N: section.key: what is wrong"."""
        return Invalid(f"{self.origin(keys)}: {wrong}")

    def origin(self, keys: Keys) -> str:
        """ "FILE, line N: section.key", or the variable or option that gave the value."""
        key = ".".join(keys)
        for count in range(len(keys), 0, -1):
            if keys[:count] in self.variables:
                return self.variables[keys[:count]]
        line = self._line(keys)
        return f"{self.file}, line {line}: {key}" if line else f"Settings: {key}"

    def _line(self, keys: Keys) -> int | None:
        section: Keys = ()
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.match(line):
                section = _split(header[1])
                here = section
            elif key := _KEY.match(line):
                here = section + _split(key[1])
            else:
                continue
            if here == keys:
                return number
        return None


def _split(dotted: str) -> Keys:
    return tuple(part.strip(" \"'") for part in dotted.split("."))
