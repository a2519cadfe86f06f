"""User data: base64 of text, or of gzip of text, kept as it came. Pure.

A config drive holds the text itself, so what is packed is taken off when the drive is made, within bounds.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from ingot.kit.faults import Invalid

#: Characters of base64, as upstream has it.
MOST = 65535
#: Bytes that packed user data may become: some kilobytes of zeros would fill the memory otherwise.
MOST_UNPACKED = 1 << 20
_GZIP = b"\x1f\x8b"


def checked(text: str | None) -> str | None:
    """User data of an order, without the white space in it; Invalid when it is not such."""
    if text is None:
        return None
    if len(text) > MOST:
        raise Invalid(f"User data too large. User data must be no larger than {MOST}.")
    given = "".join(text.split())
    try:
        plain(given)
    except (binascii.Error, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise _no_text() from None
        raise Invalid("User data needs to be valid base 64.") from None
    except zlib.error:
        raise _no_text() from None
    return given


def plain(given: str) -> str:
    """The text of user data. Raises ValueError, zlib.error or Invalid for what `checked` refuses."""
    raw = base64.b64decode(given, validate=True)
    return (_unpacked(raw) if raw[:2] == _GZIP else raw).decode()


def _no_text() -> Invalid:
    return Invalid("User data must be text, or gzip of text, in UTF-8.")


def _unpacked(raw: bytes) -> bytes:
    """All members of a gzip file, one behind the other, of MOST_UNPACKED bytes at most; Invalid or zlib.error."""
    found = bytearray()
    while raw:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        found += member.decompress(raw, MOST_UNPACKED + 1 - len(found))
        if len(found) > MOST_UNPACKED:
            raise Invalid(f"User data too large. Unpacked it may have {MOST_UNPACKED} bytes.")
        if not member.eof:
            raise Invalid("User data is a gzip file that ends too early.")
        raw = member.unused_data.lstrip(b"\0")
    return bytes(found)
