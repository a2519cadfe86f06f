"""User data that comes packed: taken off within bounds, or refused."""

from __future__ import annotations

import base64
import gzip

import pytest

from ingot.compute.api.ordering import MOST_UNPACKED, user_data
from ingot.kit.faults import Invalid


def sent(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_gzip_is_taken_off() -> None:
    text = b"#cloud-config\n" * 100
    packed = gzip.compress(text)
    assert user_data(sent(packed)) == sent(text)
    # As `gzip` does: files of several members, and zeros behind the last.
    assert user_data(sent(packed + gzip.compress(b"more\n") + bytes(7))) == sent(text + b"more\n")
    assert user_data(sent(gzip.compress(b""))) == ""
    most = b"a" * MOST_UNPACKED
    assert user_data(sent(gzip.compress(most))) == sent(most)


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
        user_data(sent(raw))
