"""The Image API against those who try it: ids in other spellings, lists that are dear to sort, times out of range."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingot.image.deployurls import DeployKey, Ticket
from ingot.kit.faults import Missing
from tests.identity.cloud import Cloud
from tests.image.test_wire import Client


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    return Client(cloud)


@pytest.fixture
def demo(cloud: Cloud) -> Client:
    return Client(cloud, "demo")


def _without_dashes(text: str) -> str:
    return text.replace("-", "")


@pytest.mark.parametrize("spelt", [str.upper, _without_dashes])
def test_an_id_in_another_spelling_is_the_same_id(
    admin: Client, demo: Client, spelt: Callable[[str], str]
) -> None:
    taken = admin.new(visibility="private")
    assert admin.put(taken, b"s" * 600).status_code == 204
    body = {"name": "x", "disk_format": "raw", "container_format": "bare", "id": spelt(taken)}
    assert demo.call("POST", "/v2/images", json=body).status_code == 409
    admin.call("DELETE", f"/v2/images/{taken}")
    assert demo.call("POST", "/v2/images", json=body).status_code == 409
    free = str(uuid.uuid4())
    assert demo.new(id=spelt(free)) == free
    assert demo.show(free)["id"] == free


def test_deploy_urls_are_for_ids_as_they_are_stored(tmp_path: Path) -> None:
    key = DeployKey(tmp_path / "key")
    ends = datetime(2100, 1, 1, tzinfo=UTC)
    mine = "abcdef00-0000-4000-8000-00000000000a"
    assert key.read(key.sign(Ticket(mine, False), ends), datetime.now(UTC)) == Ticket(mine, False)
    for other in (mine.upper(), _without_dashes(mine)):
        with pytest.raises(Missing):
            key.sign(Ticket(other, False), ends)
