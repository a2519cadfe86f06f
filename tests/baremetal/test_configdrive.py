"""Config drives: what is put in comes out of the image, whatever it is."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import tracemalloc
from typing import Any

import pycdlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.kit.faults import Invalid
from ingot.services.baremetal.boot import configdrive


def _read(image: bytes, path: str) -> bytes:
    disc: Any = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(image))
    out = io.BytesIO()
    disc.get_file_from_iso_fp(out, joliet_path=path)
    disc.close()
    return out.getvalue()


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(st.text(max_size=10), st.text(max_size=40), max_size=4),
    st.binary(max_size=300) | st.text(max_size=300),
)
def test_documents_come_out_as_they_went_in(meta: dict[str, str], user_data: bytes | str) -> None:
    packed = configdrive.build({"meta_data": meta, "user_data": user_data})
    image = configdrive.unpack(packed)
    assert image[0x8028 : 0x8028 + 8] == b"config-2"
    assert json.loads(_read(image, "/openstack/latest/meta_data.json")) == meta
    told = user_data.encode() if isinstance(user_data, str) else user_data
    assert _read(image, "/openstack/latest/user_data") == told


def test_the_same_documents_give_the_same_names() -> None:
    tree = configdrive.files({"meta_data": {"uuid": "1"}, "network_data": {}})
    assert sorted(tree) == [
        "openstack/2018-08-27/meta_data.json",
        "openstack/2018-08-27/network_data.json",
        "openstack/latest/meta_data.json",
        "openstack/latest/network_data.json",
    ]


@pytest.mark.parametrize("packed", [b"not base64!", b"bm90IGd6aXA=", b""])
def test_what_is_no_drive_is_refused(packed: bytes) -> None:
    with pytest.raises(Invalid):
        configdrive.unpack(packed)


def test_too_large() -> None:
    with pytest.raises(Invalid, match="larger"):
        configdrive.pack(b"\0" * (configdrive.LARGEST + 1))


def _packed(data: bytes) -> bytes:
    return base64.b64encode(data)


def test_a_small_drive_that_unpacks_to_a_gigabyte() -> None:
    bomb = _packed(gzip.compress(bytes(64 << 20)) * 16)
    assert len(bomb) < 2 << 20
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match="larger"):
            configdrive.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


def test_a_drive_in_many_parts() -> None:
    with pytest.raises(Invalid):
        configdrive.unpack(_packed(gzip.compress(b"x") * 50_000))
    parts = gzip.compress(b"a") + gzip.compress(b"b") + bytes(512)
    assert configdrive.unpack(_packed(parts)) == b"ab"
    with pytest.raises(Invalid):
        configdrive.unpack(_packed(gzip.compress(b"a" * 100)[:-9]))


def test_any_octets_are_a_drive_or_refused() -> None:
    rng = random.Random(5)
    good = gzip.compress(rng.randbytes(400) + bytes(4000))
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            configdrive.unpack(_packed(bytes(data[: rng.randint(1, len(data))])))
        except Invalid:
            continue
