"""Images that are larger than they look: refused when they come, or given up before they fill the store."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.image.convert import to_raw
from ingot.services.image.inspection import inspect

pytestmark = pytest.mark.anyio
CLUSTER = 1 << 16


def _qcow2(path: Path, size: int) -> Path:
    words = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size)]
    subprocess.run(words, check=True, timeout=60)
    return path


def _bomb(path: Path, size: int) -> Path:
    """A qcow2 image all of whose clusters are one and the same cluster of ones."""
    per_table = CLUSTER // 8
    tables = -(-size // (CLUSTER * per_table))
    l1, l2, data = 3 * CLUSTER, 4 * CLUSTER, 5 * CLUSTER
    head = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, size, 0, tables, l1, CLUSTER, 1, 0, 0
    )
    refs = struct.pack(">Q", 2 * CLUSTER)
    counts = b"\0\1" * 6
    parts = [head, refs, counts, struct.pack(">Q", l2 | 1 << 63) * tables]
    parts += [struct.pack(">Q", data | 1 << 63) * per_table, b"\1" * CLUSTER]
    path.write_bytes(b"".join(part.ljust(CLUSTER, b"\0") for part in parts))
    return path


def test_a_disk_of_8_terabytes_is_refused_when_it_comes(tmp_path: Path) -> None:
    path = _qcow2(tmp_path / "a", 8 << 40)
    with pytest.raises(Invalid, match="8192 GiB; at most 1024"):
        inspect(path, "qcow2", 1 << 40)
    assert inspect(path, "qcow2", 8 << 40) == 8 << 40


async def test_a_conversion_stops_where_room_ends(tmp_path: Path) -> None:
    path = _bomb(tmp_path / "bomb", 8 << 30)
    assert path.stat().st_size < 1 << 20 and inspect(path, "qcow2") == 8 << 30
    target = tmp_path / "raw"

    def has_room() -> bool:
        return not target.exists() or target.stat().st_blocks * 512 < 64 << 20

    with pytest.raises(Fault) as caught:
        await to_raw(path, target, deadline=60, progress=lambda _: None, has_room=has_room)
    assert caught.value.kind is Kind.FULL
    assert target.stat().st_blocks * 512 < 3 << 30


async def test_a_conversion_does_not_begin_without_room(tmp_path: Path) -> None:
    path = _qcow2(tmp_path / "a", 1 << 20)
    with pytest.raises(Fault) as caught:
        await to_raw(
            path, tmp_path / "raw", deadline=60, progress=lambda _: None, has_room=lambda: False
        )
    assert caught.value.kind is Kind.FULL and not (tmp_path / "raw").exists()
    await to_raw(
        path, tmp_path / "raw", deadline=60, progress=lambda _: None, has_room=lambda: True
    )


def test_an_iso_that_is_a_disk_too(tmp_path: Path) -> None:
    from ingot.services.baremetal.boot import configdrive

    iso = configdrive.iso({"a": b"b"})
    path = tmp_path / "a.iso"
    path.write_bytes(iso)
    assert inspect(path, "iso") == len(iso)
    path.write_bytes(_qcow2(tmp_path / "q", 1 << 20).read_bytes()[:112] + iso[112:])
    with pytest.raises(Invalid, match="also that of a disk"):
        inspect(path, "iso")


def test_an_encrypted_image(tmp_path: Path) -> None:
    path = _qcow2(tmp_path / "a", 1 << 20)
    data = bytearray(path.read_bytes())
    data[32:36] = struct.pack(">I", 2)
    path.write_bytes(data)
    with pytest.raises(Invalid, match="encrypted"):
        inspect(path, "qcow2")
