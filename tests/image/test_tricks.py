"""The Image API against those who try it: ids in other spellings, lists that are dear to sort, times out of range."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Fault, Invalid, Missing
from ingot.services.compute.api.common import moment as compute_moment
from ingot.services.image import queries
from ingot.services.image.deployurls import DeployKey, Ticket
from ingot.workflow.api import moment as timeline_moment
from tests.identity.cloud import Cloud
from tests.image.test_wire import Client, waits_empty


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


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "PUT", "POST"])
def test_an_empty_id_is_nobodys(admin: Client, method: str) -> None:
    """Neither the list nor a word about methods."""
    reply = admin.call(method, "/v2/images/", json=[] if method == "PATCH" else None)
    assert reply.status_code == 404, reply.text
    assert admin.call("GET", "/v2/images//file").status_code == 404
    assert admin.call("GET", "/v2/images").status_code == 200
    for root in ("/", "/v2/"):
        assert admin.call("GET", root).status_code in (200, 300)
    nobody = {"X-Auth-Token": ""}
    assert admin.call(method, "/v2/images/", headers=nobody).status_code == 401


def test_deploy_urls_are_for_ids_as_they_are_stored(tmp_path: Path) -> None:
    key = DeployKey(tmp_path / "key")
    ends = datetime(2100, 1, 1, tzinfo=UTC)
    mine = "abcdef00-0000-4000-8000-00000000000a"
    assert key.read(key.sign(Ticket(mine, False), ends), datetime.now(UTC)) == Ticket(mine, False)
    for other in (mine.upper(), _without_dashes(mine)):
        with pytest.raises(Missing):
            key.sign(Ticket(other, False), ends)


def test_keys_that_repeat_sort_no_further(admin: Client) -> None:
    args = [("sort_key", key) for key in ("name", "size", "name", "id", "owner", "id")]
    wanted = queries.read([*args, ("sort_dir", "asc")], Caller())
    assert wanted.order == [("name", False), ("size", False), ("id", False)]
    made = [admin.new(name=f"rep{at}", tags=["rep"]) for at in range(2)]
    found = admin.ids(f"tag=rep&sort=name:asc,name:desc,id,size&marker={made[0]}")
    assert found == made[1:]


@pytest.mark.parametrize(
    "query",
    [
        "sort=" + ",".join(["name"] * 9),
        "&".join(["sort_key=name"] * 9),
        "created_at=gt:0001-01-01T00:00:00%2B14:00",
        "updated_at=lt:9999-12-31T23:59:59-14:00",
    ],
)
def test_lists_that_are_asked_too_much(admin: Client, query: str) -> None:
    assert admin.call("GET", f"/v2/images?{query}").status_code == 400


def test_times_before_all_time() -> None:
    early = "0001-01-01T00:00:00+14:00"
    with pytest.raises(Invalid):
        queries.read([("created_at", f"gt:{early}")], Caller())
    for read in (compute_moment, timeline_moment):
        with pytest.raises(Invalid):
            read(early, "since")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_content_is_inspected_as_what_the_image_is_when_it_begins(
    cloud: Cloud, admin: Client
) -> None:
    """Its format is changed between the look at it and the begin of the upload."""
    image_id = admin.new(disk_format="raw")
    seen = {**admin.show(image_id), "properties": {}}
    change = {"op": "replace", "path": "/disk_format", "value": "qcow2"}
    assert admin.patch(image_id, change).status_code == 200
    with pytest.raises(Fault):
        cloud.run(cloud.images.receive(seen, _once(b"\1" * 100_000), None))
    waits_empty(cloud, admin, image_id)
