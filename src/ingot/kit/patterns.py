"""Regular expressions that others write.

They are tried by RE2, whose time grows with the text and never with the pattern's ambiguity (`(a+)+$` is harmless),
so one request cannot hold up all others. What RE2 does not have (references back, looking around) is refused, and so
are long patterns and such whose machine would be large. Most patterns are plain words; the engine is loaded
only for the others.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Characters of a pattern; those of lists and those of rules have enough with it.
LONGEST = 512
#: Bytes that the engine may use for one pattern: its machine has 2,700 steps at most, each of which is tried once for
#: each byte of a text at worst.
_MEMORY = 64 << 10
_META = frozenset("\\.^$*+?{}[]|()")
_PLAIN = frozenset(string.printable) - _META - frozenset("\n\r\t\x0b\x0c")


class BadPattern(ValueError):
    """The text is no pattern, or not one that may be tried; the message says why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that was taken."""

    text: str
    search: Callable[[str], bool]
    """Whether it is found anywhere in a text."""
    match: Callable[[str], bool]
    """Whether it is found at the beginning of a text."""


@functools.lru_cache(maxsize=100)
def compiled(text: str, *, ignore_case: bool = False) -> Pattern:
    """A pattern to be tried. Raises BadPattern."""
    if len(text) > LONGEST:
        raise BadPattern(f"it has {len(text)} characters, at most {LONGEST} are allowed")
    if text and not ignore_case and _PLAIN.issuperset(text):
        return Pattern(text, lambda found: text in found, lambda found: found.startswith(text))
    engine = _engine(text, ignore_case)
    return Pattern(
        text,
        lambda found: engine.search(found) is not None,
        lambda found: engine.match(found) is not None,
    )


def _engine(text: str, ignore_case: bool) -> Any:
    import re2 as untyped  # pyright: ignore[reportMissingTypeStubs]

    re2: Any = untyped
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(text, options)
    except re2.error as wrong:
        raise BadPattern(_reason(wrong)) from None
    except UnicodeEncodeError:
        raise BadPattern("it is no text") from None


def _reason(wrong: Exception) -> str:
    cause: object = wrong.args[0] if wrong.args else wrong
    return cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)


def like(text: str) -> str | None:
    r"""A pattern as a LIKE (escape: \) of SQL that finds the same in lower case; None when it takes an engine.

    What is understood: plain characters, `.`, `^` in front, `$` behind, `.*` at either end.
    """
    start, end = text.startswith("^"), text.endswith("$")
    inner = text[start : len(text) - end]
    for _ in range(2):
        if inner.startswith(".*"):
            inner, start = inner[2:], False
        if inner.endswith(".*"):
            inner, end = inner[:-2], False
    if len(text) > LONGEST or not (_PLAIN | {"."}).issuperset(inner):
        return None
    escaped = "".join(f"\\{c}" if c in "%_" else "_" if c == "." else c for c in inner.lower())
    return ("" if start else "%") + escaped + ("" if end else "%")
