"""What others send us (controllers, agents, mirrors): documents and words, made safe to hold and to show."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import msgspec

#: The deepest document that we read: far more than any schema that we know, far less than the interpreter bears.
DEPTH = 64
#: The most values of a document: in memory each takes up to twenty-four times its octets.
MOST_VALUES = 1_000_000
#: A password in a URL, wherever in a text.
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@?#]{0,256}):[^/\s?#]{1,512}@")
#: The longest text of another that is kept (`last_error`, events).
LONGEST_WORDS = 600
#: Control characters, what turns the direction of writing, invisible marks and halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class Unreadable(ValueError):
    """What came is not what was agreed; the text says how."""


class NotJson(Unreadable):
    """No JSON at all."""


def document(data: bytes, *, depth: int = DEPTH, most_values: int = MOST_VALUES) -> object:
    """The JSON value that `data` holds; Unreadable when it is none, too deep or of too many values."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > most_values:
        raise Unreadable(f"a document of more than {most_values} values")
    try:
        value: object = msgspec.json.decode(data)
    except RecursionError:
        raise Unreadable(f"a document nested more than {depth} levels deep") from None
    except ValueError as wrong:  # also msgspec's own and those of UTF-8
        raise NotJson(f"not JSON: {wrong}") from None
    if _deeper(value, depth):
        raise Unreadable(f"a document nested more than {depth} levels deep")
    return value


def words(text: str, most: int = LONGEST_WORDS) -> str:
    """`text` on one line of at most `most` characters; what a terminal would obey is written out (`\\x1b`)."""
    # Each character may become six: what is far beyond the end need not be looked at.
    text = without_passwords(" ".join(text[: 8 * most].split()))
    text = _UNSEEN.sub(_written, text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


def harmless(text: str, most: int) -> str:
    """`text` as `words` gives it, but with its lines, and as it is where it holds nothing odd."""
    if text.isprintable() and len(text) <= most:
        return text
    text = _UNSEEN.sub(
        lambda found: found[0] if found[0] in "\n\t" else _written(found), text[: most + 1]
    )
    return text if len(text) <= most else text[: most - 1] + "…"


def without_passwords(text: str) -> str:
    """`text` with `******` in the place of passwords in URLs."""
    return _URL_PASSWORD.sub(r"\1:******@", text) if "://" in text and "@" in text else text


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _deeper(value: object, depth: int) -> bool:
    """Whether lists and objects are nested in one another more than `depth` times; without recursion."""
    level = _holders([value])
    for _ in range(depth):
        if not level:
            return False
        level = [inner for holder in level for inner in _holders(_parts(holder))]
    return bool(level)


def _parts(holder: object) -> Iterable[object]:
    if isinstance(holder, dict):
        return cast("dict[str, object]", holder).values()
    return cast("list[object]", holder)


def _holders(values: Iterable[object]) -> list[object]:
    return [value for value in values if isinstance(value, dict | list)]
