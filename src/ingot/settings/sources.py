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
        key = ".".join(keys)
        for count in range(len(keys), 0, -1):
            if keys[:count] in self.variables:
                return Invalid(f"{self.variables[keys[:count]]}: {wrong}")
        line = self._line(keys)
        if line:
            return Invalid(f"{self.file}, line {line}: {key}: {wrong}")
        return Invalid(f"Settings: {key}: {wrong}")

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
