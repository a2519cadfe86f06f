"""The arguments of operators and actions: by name, or (deprecated upstream) by position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ingot.kit.faults import Invalid


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of arguments in order. filled: in these, replacement fields are filled in (in loops: in all)."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    filled: frozenset[str] = frozenset()

    def named(self, args: object) -> dict[str, Any]:
        """Arguments by name; Invalid says which are missing or strange."""
        if isinstance(args, list):
            given = cast("list[Any]", args)
            if len(given) < len(self.required):
                missing = ", ".join(self.required[len(given) :])
                raise Invalid(f"Not enough arguments provided. Missing: {missing}")
            return dict(zip((*self.required, *self.optional), given, strict=False))
        if not isinstance(args, Mapping):
            raise Invalid("args must be either a list or dictionary")
        by_name = dict(cast("Mapping[str, Any]", args))
        wrong: list[str] = []
        if missing := [name for name in self.required if name not in by_name]:
            wrong.append(f"missing required argument(s): {', '.join(missing)}")
        if strange := sorted(set(by_name) - {*self.required, *self.optional}):
            wrong.append(f"unexpected argument(s): {', '.join(strange)}")
        if wrong:
            raise Invalid("; ".join(wrong))
        return by_name


def split_operator(op: str) -> tuple[str, bool]:
    """ "!eq" -> ("eq", True). One exclamation mark at the most."""
    if op.count("!") > 1:
        raise Invalid(
            "Multiple exclamation marks are not allowed. To apply the invert of an operation, simply "
            "add an exclamation mark (with an optional space) before the operator, e.g. eq - !eq."
        )
    plain = op.strip()
    return plain.lstrip("!").strip(), plain.startswith("!")
