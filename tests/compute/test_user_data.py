"""User data that comes packed: taken off within bounds, or refused."""

from __future__ import annotations

import base64
import gzip

import pytest

from ingot.kit.faults import Invalid
from ingot.services.compute.userdata import MOST_UNPACKED, checked, plain


def sent(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def told(raw: bytes) -> bytes:
    """What a machine is told; what is kept is no longer than what came."""
    kept = checked(sent(raw))
    assert kept == sent(raw)
    return plain(kept).encode()


def test_gzip_is_taken_off() -> None:
    text = b"#cloud-config\n" * 100
    packed = gzip.compress(text)
    assert told(packed) == text
    # As `gzip` does: files of several members, and zeros behind the last.
    assert told(packed + gzip.compress(b"more\n") + bytes(7)) == text + b"more\n"
    assert told(gzip.compress(b"")) == b""
    most = b"a" * MOST_UNPACKED
    assert told(gzip.compress(most)) == most


@pytest.mark.parametrize(
    "raw",
    [
        gzip.compress(b"a" * (MOST_UNPACKED + 1)),
        gzip.compress(b"a" * MOST_UNPACKED) + gzip.compress(b"a"),
        gzip.compress(b"a" * (40 << 20)),
        gzip.compress(b"#cloud-config\n" * 100)[:-1],
        gzip.compress(b"#cloud-config\n" * 100)[:20],
        gzip.compress(b"text") + b"\x1f\x8b",
        gzip.compress(b"text") + b"behind it",
        b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40,
        b"\x1f\x8b",
        gzip.compress(b"\xff\xfe\x00"),
    ],
    ids=lambda raw: f"{len(raw)} bytes",
)
def test_what_cannot_be_unpacked_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        checked(sent(raw))
