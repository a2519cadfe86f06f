"""The audit file on a disk that is full: nothing torn, nothing twice, nothing lost that had room to wait."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.app.auditsinks import File
from ingot.kit.audit.recorder import Entry

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def no_file_beyond(octets: int) -> Iterator[None]:
    """As on a disk with room for so many: a part of what is written fits."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def entries(first: int, count: int) -> list[Entry]:
    return [
        Entry(
            service="x",
            action="create",
            target_type="x/things",
            target_id=f"{number}",
            status=201,
            data={"agent": "a" * 90},
        )
        for number in range(first, first + count)
    ]


def ids(path: Path) -> list[int]:
    return [int(json.loads(line)["target"]["id"]) for line in path.read_text().split("\n") if line]


async def test_lines_wait_for_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ingot")
    path = tmp_path / "audit.jsonl"
    file = File(path)
    with no_file_beyond(20_000):
        for first in range(0, 200, 50):
            await file(entries(first, 50))
        assert path.stat().st_size == 20_000
    await file(())
    whole, torn = list[int](), list[str]()
    for line in path.read_text().splitlines():
        try:
            whole.append(int(json.loads(line)["target"]["id"]))
        except ValueError:
            torn.append(line)
    assert whole == list(range(200)) and len(torn) <= 1
    told = [one for one in caplog.messages if "audit file" in one]
    assert told == ["the audit file cannot be written", "the audit file is written again"]


async def test_the_oldest_are_dropped_when_too_many_wait(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "audit.jsonl"
    file = File(path, most=20)
    await file(entries(0, 50))
    path.parent.mkdir()
    await file(entries(50, 1))
    assert ids(path) == list(range(31, 51))
    assert path.stat().st_mode & 0o777 == 0o600
