"""Many at one image at the same moment, and a database that goes away, on both databases."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import requests

from tests import postgres
from tests.identity.cloud import Cloud, running
from tests.image.test_wire import Client, left

CROWD = 24


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    url = ""
    if request.param == "postgresql":
        if why := postgres.missing():
            pytest.skip(why)
        url = request.getfixturevalue("postgres_url")
    with running(tmp_path_factory.mktemp("cloud"), database=url) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgres.server() as server:
        yield server.create()


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    return Client(cloud)


def at_once(asks: list[Callable[[], requests.Response]]) -> list[requests.Response]:
    gate = Barrier(len(asks))

    def one(ask: Callable[[], requests.Response]) -> requests.Response:
        gate.wait()
        return ask()

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(one, asks))


def statuses(replies: list[requests.Response]) -> Counter[int]:
    return Counter(reply.status_code for reply in replies)


def test_no_change_is_lost(admin: Client) -> None:
    image_id = admin.new()

    def add(number: int) -> Callable[[], requests.Response]:
        if number % 2:
            path = f"/v2/images/{image_id}/tags/t{number}"
            return lambda: admin.call("PUT", path)
        change = {"op": "add", "path": f"/p{number}", "value": "x"}
        return lambda: admin.patch(image_id, change)

    replies = at_once([add(number) for number in range(CROWD)])
    shown = admin.show(image_id)
    for number, reply in enumerate(replies):
        assert reply.status_code in (200, 204, 503), reply.text
        there = f"t{number}" in shown["tags"] if number % 2 else f"p{number}" in shown
        assert there == (reply.status_code != 503), (number, reply.status_code)
    assert statuses(replies)[503] < CROWD // 2


def test_deleted_once(admin: Client) -> None:
    for _ in range(4):
        image_id = admin.new()
        replies = at_once([lambda i=image_id: admin.call("DELETE", f"/v2/images/{i}")] * 8)
        seen = statuses(replies)
        assert seen[204] == 1 and set(seen) <= {204, 404, 503}, seen


def test_protected_or_deleted(admin: Client) -> None:
    protect = {"op": "replace", "path": "/protected", "value": True}
    for _ in range(8):
        image_id = admin.new()
        shield, delete = at_once(
            [
                lambda i=image_id: admin.patch(i, protect),
                lambda i=image_id: admin.call("DELETE", f"/v2/images/{i}"),
            ]
        )
        got = (shield.status_code, delete.status_code)
        assert got in ((200, 403), (404, 204)), got
        there = admin.call("GET", f"/v2/images/{image_id}").status_code == 200
        assert there == (got[0] == 200)


def test_one_id_once(admin: Client) -> None:
    image_id = admin.new()
    admin.call("DELETE", f"/v2/images/{image_id}")
    fresh = "11111111-1111-4111-8111-111111111111"
    for wanted, made in ((image_id, 0), (fresh, 1)):
        body = {"id": wanted}
        replies = at_once([lambda b=body: admin.call("POST", "/v2/images", json=b)] * 8)
        seen = statuses(replies)
        assert seen[201] == made and set(seen) <= {201, 409}, seen


def test_one_upload_wins(cloud: Cloud, admin: Client) -> None:
    image_id = admin.new()
    contents = [os.urandom(200_000) for _ in range(8)]
    replies = at_once([lambda c=content: admin.put(image_id, c) for content in contents])
    seen = statuses(replies)
    assert seen[204] == 1 and set(seen) <= {204, 409}, seen
    won = next(c for c, r in zip(contents, replies, strict=True) if r.status_code == 204)
    assert admin.call("GET", f"/v2/images/{image_id}/file").content == won
    assert left(cloud) == []


def test_upload_or_delete(cloud: Cloud, admin: Client) -> None:
    for _ in range(6):
        image_id = admin.new()
        put, gone = at_once(
            [
                lambda i=image_id: admin.put(i, os.urandom(300_000)),
                lambda i=image_id: admin.call("DELETE", f"/v2/images/{i}"),
            ]
        )
        assert gone.status_code == 204 and put.status_code in (204, 404, 410), put.status_code
        assert not (cloud.state / "images" / image_id).exists() and left(cloud) == []


@pytest.mark.postgres
def test_the_database_goes_away_during_an_upload(tmp_path: Any) -> None:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.server() as server, running(tmp_path, database=server.create()) as cloud:
        admin = Client(cloud)
        image_id = admin.new()

        def content() -> Iterator[bytes]:
            yield b"a" * 1_000_000
            until = time.monotonic() + 10
            while admin.show(image_id)["status"] != "saving":
                assert time.monotonic() < until
            server.stop()
            yield b"b" * 1_000_000

        assert admin.put(image_id, content()).status_code == 503
        server.start()
        cloud.run(cloud.images.look_after(), timeout=60)
        assert admin.show(image_id)["status"] == "queued" and left(cloud) == []
        assert admin.put(image_id, b"whole" * 1000).status_code == 204
        assert admin.show(image_id)["size"] == 5000
