"""The Image API by plain HTTP: content that lies, uploads that break, ranges, patches, rights."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from ingot.kit.faults import Conflict, Missing
from ingot.services.image import Images, RawView
from tests.identity.cloud import Cloud, running

Json = dict[str, Any]
PATCH = "application/openstack-images-v2.1-json-patch"
OCTETS = {"Content-Type": "application/octet-stream"}


class Client:
    """Somebody with a token."""

    def __init__(self, cloud: Cloud, user: str = "admin") -> None:
        secret = cloud.bootstrap.admin_password if user == "admin" else None
        who = {
            "name": user,
            "domain": {"id": "default"},
            "password": secret or cloud.bootstrap.demo_password,
        }
        place = {"project": {"name": user, "domain": {"id": "default"}}}
        auth = {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": place}
        url = f"{cloud.url}/identity/v3/auth/tokens"
        reply = requests.post(url, json={"auth": auth}, timeout=10)
        self.token = reply.headers["X-Subject-Token"]
        self.root = f"{cloud.url}/image"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"X-Auth-Token": self.token, **more.pop("headers", {})}
        return requests.request(method, self.root + path, headers=headers, timeout=30, **more)

    def new(self, **fields: Any) -> str:
        body = {"name": "x", "disk_format": "raw", "container_format": "bare", **fields}
        reply = self.call("POST", "/v2/images", json=body)
        assert reply.status_code == 201, reply.text
        return reply.json()["id"]

    def put(self, image_id: str, data: Any, **headers: str) -> requests.Response:
        path = f"/v2/images/{image_id}/file"
        return self.call("PUT", path, data=data, headers={**OCTETS, **headers})

    def show(self, image_id: str) -> Json:
        return self.call("GET", f"/v2/images/{image_id}").json()

    def patch(self, image_id: str, *changes: Json, media: str = PATCH) -> requests.Response:
        path = f"/v2/images/{image_id}"
        return self.call("PATCH", path, data=json.dumps(changes), headers={"Content-Type": media})

    def ids(self, query: str) -> list[str]:
        reply = self.call("GET", f"/v2/images?{query}")
        assert reply.status_code == 200, reply.text
        return [item["id"] for item in reply.json()["images"]]


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    return Client(cloud)


@pytest.fixture
def demo(cloud: Cloud) -> Client:
    return Client(cloud, "demo")


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True, timeout=60)


def left(cloud: Cloud) -> list[str]:
    """What lies where half-received content lies."""
    return sorted(path.name for path in (cloud.state / "images" / "incoming").iterdir())


def waits_empty(cloud: Cloud, client: Client, image_id: str) -> None:
    """The image waits for content again and nothing is left behind."""
    deadline = time.monotonic() + 10
    while client.show(image_id)["status"] != "queued":
        assert time.monotonic() < deadline, client.show(image_id)
    assert client.show(image_id)["size"] is None
    assert left(cloud) == []
    assert not (cloud.state / "images" / image_id).exists()


# -- content that is not what it says ------------------------------------------------------------


def _qcow2(path: Path, *words: str) -> bytes:
    qemu_img("create", "-f", "qcow2", *words, str(path), "1M")
    return path.read_bytes()


@pytest.fixture(params=["raw as qcow2", "qcow2 as raw", "backing", "data file", "vmdk", "empty"])
def lie(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bytes, str]:
    """Declared format, content, a word of the cause."""
    base = tmp_path / "base.raw"
    base.write_bytes(b"\1" * (1 << 20))
    match request.param:
        case "raw as qcow2":
            return "qcow2", b"\1" * 100_000, "raw"
        case "qcow2 as raw":
            return "raw", _qcow2(tmp_path / "a"), "qcow2"
        case "backing":
            return "qcow2", _qcow2(tmp_path / "a", "-b", str(base), "-F", "raw"), "backing file"
        case "data file":
            data = _qcow2(tmp_path / "a", "-o", f"data_file={tmp_path / 'd'},data_file_raw=on")
            return "qcow2", data, "data_file"
        case "vmdk":
            qemu_img("create", "-f", "vmdk", str(tmp_path / "v"), "1M")
            return "raw", (tmp_path / "v").read_bytes(), "vmdk"
        case _:
            return "raw", b"", "no content"


def test_content_that_lies_is_refused(
    cloud: Cloud, admin: Client, lie: tuple[str, bytes, str]
) -> None:
    declared, data, cause = lie
    image_id = admin.new(disk_format=declared)
    reply = admin.put(image_id, data)
    assert reply.status_code == 400
    assert cause in reply.json()["error"]["message"]
    waits_empty(cloud, admin, image_id)
    # It is not spoilt: the right content makes it active.
    good = b"\2" * 4096 if declared == "raw" else None
    if good:
        assert admin.put(image_id, good).status_code == 204
        assert admin.show(image_id)["status"] == "active"


def test_an_ancient_qcow_header_is_refused(cloud: Cloud, admin: Client) -> None:
    image_id = admin.new(disk_format="qcow2")
    data = struct.pack(">4sIQIIQ", b"QFI\xfb", 9, 0, 0, 16, 1 << 20) + bytes(4096)
    assert admin.put(image_id, data).status_code == 400
    waits_empty(cloud, admin, image_id)


# -- uploads -------------------------------------------------------------------------------------


def test_digests_and_sizes(admin: Client, cloud: Cloud) -> None:
    data = os.urandom(5 << 20) + bytes(6 << 20) + os.urandom(12345)
    image_id = admin.new()

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(data), 70_001):
            yield data[at : at + 70_001]

    assert admin.put(image_id, chunks()).status_code == 204
    shown = admin.show(image_id)
    assert shown["size"] == shown["virtual_size"] == len(data)
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert shown["os_hash_value"] == hashlib.sha512(data).hexdigest()
    facts = (cloud.state / "images" / image_id).stat()
    assert facts.st_blocks * 512 < len(data) - (5 << 20), "runs of zeros are holes"
    assert admin.call("GET", f"/v2/images/{image_id}/file").content == data
    assert admin.put(image_id, b"again").status_code == 409
    assert admin.show(image_id)["size"] == len(data)


def test_an_upload_that_breaks_off(cloud: Cloud, admin: Client) -> None:
    host, _, port = cloud.url.removeprefix("http://").partition(":")
    for framing in ("Content-Length: 50000000", "Transfer-Encoding: chunked"):
        image_id = admin.new()
        with socket.create_connection((host, int(port)), timeout=10) as line:
            head = (
                f"PUT /image/v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\n"
                f"X-Auth-Token: {admin.token}\r\nContent-Type: application/octet-stream\r\n"
                f"{framing}\r\n\r\n"
            )
            line.sendall(head.encode())
            piece = b"a" * 100_000
            if "chunked" in framing:
                piece = b"%x\r\n" % len(piece) + piece + b"\r\n"
            for _ in range(60):
                line.sendall(piece)
            deadline = time.monotonic() + 10
            while admin.show(image_id)["status"] != "saving":
                assert time.monotonic() < deadline
        waits_empty(cloud, admin, image_id)
        assert admin.put(image_id, b"whole" * 1000).status_code == 204


def test_a_deleted_image_takes_no_content(cloud: Cloud, admin: Client) -> None:
    image_id = admin.new()

    def deleting() -> Iterator[bytes]:
        yield b"a" * 100_000
        assert admin.call("DELETE", f"/v2/images/{image_id}").status_code == 204
        yield b"b" * 100_000

    assert admin.put(image_id, deleting()).status_code in (404, 410)
    assert left(cloud) == []
    assert not (cloud.state / "images" / image_id).exists()


def test_what_an_upload_needs(admin: Client) -> None:
    assert admin.put(admin.new(disk_format=None), b"x").status_code == 400
    image_id = admin.new()
    path = f"/v2/images/{image_id}/file"
    assert admin.call("PUT", path, json={"a": 1}).status_code == 415
    assert admin.call("GET", path).status_code == 204
    assert admin.put("00000000-0000-0000-0000-000000000000", b"x").status_code == 404


def test_a_full_store(tmp_path: Path) -> None:
    """A real full disk: a small tmpfs."""
    store = tmp_path / "images"
    store.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(store)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode().strip()}")
    try:
        with running(tmp_path) as cloud:
            admin = Client(cloud)
            for data in (os.urandom(20 << 20), _stream(20)):
                image_id = admin.new()
                reply = admin.put(image_id, data)
                assert reply.status_code == 413, reply.text
                assert "not enough room" in reply.json()["error"]["message"]
                waits_empty(cloud, admin, image_id)
            assert admin.put(image_id, b"small" * 1000).status_code == 204
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)


def _stream(mebibytes: int) -> Iterator[bytes]:
    """Chunked: the size is not told before."""
    for _ in range(mebibytes):
        yield os.urandom(1 << 20)


def test_limits(tmp_path: Path) -> None:
    with running(tmp_path, most_bytes=1_000_000) as cloud:
        admin = Client(cloud)
        for data in (b"a" * 1_000_001, _stream(2)):
            image_id = admin.new()
            assert admin.put(image_id, data).status_code == 413
            waits_empty(cloud, admin, image_id)


def test_a_restart_takes_back_what_was_half_received(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        admin = Client(cloud)
        image_id = admin.new()
        # As a killed process leaves it.
        from ingot.services.image import store

        cloud.run(
            cloud.images.db.write(
                lambda conn: store.move(
                    conn, image_id, ["queued"], "saving", {"receiver": "localhost"}
                )
            )
        )
        (tmp_path / "images" / "incoming" / f"{image_id}.dead").write_bytes(b"half")
        secret = cloud.bootstrap
    with running(tmp_path) as cloud:
        cloud.bootstrap = secret
        waits_empty(cloud, Client(cloud), image_id)


# -- download --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "status", "first", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("bytes=2999990-", 206, 2_999_990, 3_000_000),
        ("bytes=-10", 206, 2_999_990, 3_000_000),
        ("bytes=0-99999999", 206, 0, 3_000_000),
        ("bytes=3000000-", 416, 0, 0),
        ("bytes=9-5", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("lines=1-2", 416, 0, 0),
    ],
)
def test_ranges(
    cloud: Cloud, admin: Client, wanted: str, status: int, first: int, end: int
) -> None:
    data = hashlib.sha512(b"seed").digest() * 46_875
    image_id = admin.new()
    assert admin.put(image_id, data).status_code == 204
    url = cloud.images.deploy_url(image_id, 60)
    for reply in (
        admin.call("GET", f"/v2/images/{image_id}/file", headers={"Range": wanted}),
        requests.get(url, headers={"Range": wanted}, timeout=10),
    ):
        assert reply.status_code == status
        if status == 206:
            assert reply.content == data[first:end]
            assert reply.headers["Content-Range"] == f"bytes {first}-{end - 1}/3000000"


def test_deploy_urls(cloud: Cloud, admin: Client) -> None:
    data = os.urandom(3_000_000)
    image_id = admin.new(visibility="private")
    admin.put(image_id, data)
    url = cloud.images.deploy_url(image_id, 60)
    assert requests.get(url, timeout=10).content == data
    head = requests.head(url, timeout=10)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "3000000")
    for bad in (url[:-2], url + "A", url[:-5] + "AAAAA", cloud.images.deploy_url(image_id, -1)):
        assert requests.get(bad, timeout=10).status_code == 404
    assert admin.call("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert requests.get(url, timeout=10).status_code == 404


def test_the_raw_view(cloud: Cloud, admin: Client, tmp_path: Path) -> None:
    raw = os.urandom(200_000) + bytes(20 << 20) + os.urandom(200_192)
    (tmp_path / "r").write_bytes(raw)
    qemu_img("convert", "-O", "qcow2", "-c", str(tmp_path / "r"), str(tmp_path / "q"))
    image_id = admin.new(disk_format="qcow2")
    admin.put(image_id, (tmp_path / "q").read_bytes())
    told: list[float] = []
    view = cloud.run(cloud.images.raw_view(image_id, told.append))
    whole = raw + bytes(-len(raw) % 512)
    assert view.sha512 == hashlib.sha512(whole).hexdigest()
    assert view.size == len(whole)
    assert told[-1] == 1.0
    assert view.path.stat().st_blocks * 512 < 2 << 20, "it is sparse"
    made = view.path.stat().st_ino
    again = cloud.run(cloud.images.raw_view(image_id))
    assert again.path.stat().st_ino == made, "converted once"
    url = cloud.images.deploy_url(image_id, 60, raw=True)
    assert requests.get(url, timeout=10).content == whole
    admin.call("DELETE", f"/v2/images/{image_id}")
    assert list(view.path.parent.iterdir()) == []
    with pytest.raises(Missing):
        cloud.run(cloud.images.raw_view(image_id))
    with pytest.raises(Conflict):
        cloud.run(cloud.images.raw_view(admin.new()))


def test_two_controllers_want_the_raw_view_at_once(
    cloud: Cloud, admin: Client, tmp_path: Path
) -> None:
    """Over one folder: each makes it, neither in the other's way; what a killed one left is no trouble."""
    raw = os.urandom(16 << 20)
    (tmp_path / "r").write_bytes(raw)
    qemu_img("convert", "-O", "qcow2", "-c", str(tmp_path / "r"), str(tmp_path / "q"))
    image_id = admin.new(disk_format="qcow2")
    admin.put(image_id, (tmp_path / "q").read_bytes())
    own = cloud.images
    other = Images(own.db, own.clock, replace(own.settings, host="c2/../x"))
    for left in (f"{image_id}.part", f"{image_id}.c2%2F..%2Fx.part"):
        (own.blobs.raw / left).write_bytes(b"left behind" * 1000)

    async def both() -> list[RawView]:
        return await asyncio.gather(own.raw_view(image_id), other.raw_view(image_id))

    for view in cloud.run(both()):
        assert view.sha512 == hashlib.sha512(raw).hexdigest()
        assert view.path.read_bytes() == raw
    admin.call("DELETE", f"/v2/images/{image_id}")
    assert list(own.blobs.raw.iterdir()) == []


# -- documents -------------------------------------------------------------------------------------


def test_discovery(cloud: Cloud) -> None:
    for path, status in (("", 300), ("/", 300), ("/versions", 200)):
        reply = requests.get(f"{cloud.url}/image{path}", timeout=10)
        assert reply.status_code == status
        versions = {item["id"]: item["status"] for item in reply.json()["versions"]}
        assert versions["v2.17"] == "CURRENT"
        assert "v2.0" in versions


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": 5}, 400),
        ({"name": "a" * 256}, 400),
        ({"disk_format": "floppy"}, 400),
        ({"visibility": "secret"}, 400),
        ({"min_disk": -1}, 400),
        ({"id": "not-a-uuid"}, 400),
        ({"colour": 5}, 400),
        ({"status": "active"}, 403),
        ({"os_glance_x": "1"}, 403),
        ({"tags": ["a" * 256]}, 400),
        ([1], 400),
    ],
)
def test_bad_images(admin: Client, body: Any, status: int) -> None:
    reply = admin.call("POST", "/v2/images", json=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["code"] == status


def test_bodies_that_are_too_much(admin: Client) -> None:
    deep = b'{"a":' * 50_000
    assert admin.call("POST", "/v2/images", data=deep).status_code == 400
    assert admin.call("POST", "/v2/images", data=b" " * (2 << 20)).status_code == 413


def test_patch(admin: Client, demo: Client) -> None:
    image_id = admin.new(hw_a="1", tags=["t"])
    assert admin.patch(image_id, media="application/json").status_code == 415
    ok = admin.patch(
        image_id,
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/hw_b", "value": "2"},
        {"op": "remove", "path": "/hw_a"},
        {"op": "add", "path": "/with~1slash", "value": "x"},
    )
    assert ok.status_code == 200, ok.text
    shown = admin.show(image_id)
    assert (shown["name"], shown["hw_b"], shown["with/slash"]) == ("new", "2", "x")
    assert "hw_a" not in shown
    old = "application/openstack-images-v2.0-json-patch"
    assert admin.patch(image_id, {"replace": "/name", "value": "old"}, media=old).ok
    for change, status in (
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "replace", "path": "/nothing", "value": "x"}, 409),
        ({"op": "move", "path": "/name", "from": "/x"}, 400),
        ({"op": "add", "path": "name", "value": "x"}, 400),
        ({"op": "add", "path": "/a/b/c", "value": "x"}, 400),
        ({"op": "add", "path": "/x"}, 400),
        ({"op": "add", "path": "/x", "value": {"deep": 1}}, 400),
        ({"op": "replace", "path": "/min_disk", "value": "many"}, 400),
    ):
        assert admin.patch(image_id, change).status_code == status, change
    assert admin.show(image_id)["name"] == "old", "a refused patch changes nothing"
    admin.put(image_id, b"x" * 512)
    qcow = {"op": "replace", "path": "/disk_format", "value": "qcow2"}
    assert admin.patch(image_id, qcow).status_code == 403, "it was inspected as raw"


def test_lists(admin: Client) -> None:
    made = {
        name: admin.new(name=name, tags=["list", name], os_distro=f"d-{name}", min_disk=number)
        for number, name in enumerate(("ab", "cd", 'e"f,g'))
    }
    admin.put(made["ab"], b"x" * 1000)
    everything = list(made.values())
    assert admin.ids("tag=list&sort=name:asc") == everything
    assert admin.ids("tag=list&sort_key=name&sort_dir=desc") == everything[::-1]
    assert admin.ids("tag=list&tag=cd") == [made["cd"]]
    assert admin.ids("tag=list&name=cd") == [made["cd"]]
    assert admin.ids("tag=list&sort=name:asc&name=in:ab,cd") == everything[:2]
    assert admin.ids('tag=list&name=in:"e""f,g"') == [made['e"f,g']]
    assert admin.ids(f"sort=name:asc&id=in:{made['ab']},{made['cd']}") == everything[:2]
    assert admin.ids("os_distro=d-cd") == [made["cd"]]
    assert admin.ids("os_distro=d-c") == []
    assert admin.ids("tag=list&status=active") == [made["ab"]]
    assert admin.ids("tag=list&size_min=999&size_max=1000") == [made["ab"]]
    assert admin.ids("tag=list&size_min=1001") == []
    assert admin.ids("tag=list&created_at=gt:2999-01-01T00:00:00Z") == []
    # Page by page, with a key that is partly null.
    seen: list[str] = []
    page = "/v2/images?tag=list&sort=size:asc,name:asc&limit=1"
    while page:
        body = admin.call("GET", page).json()
        seen += [item["id"] for item in body["images"]]
        page = body.get("next", "")
    assert seen == [made["cd"], made['e"f,g'], made["ab"]]
    for bad in (
        "limit=-1",
        "limit=x",
        "sort=colour:asc",
        "sort=name:up",
        "marker=nope",
        "visibility=x",
        "size_min=x",
        "name=in:%22a",
        "created_at=gt:yesterday",
        "protected=maybe",
        "sort=name&sort_key=name",
    ):
        assert admin.call("GET", f"/v2/images?{bad}").status_code == 400, bad


def test_a_tag_with_quotes_is_no_other_tag(admin: Client) -> None:
    sly = admin.new(tags=['x"sly', 'a,"sly'], note='","sly":"1')
    assert admin.ids("tag=sly") == []
    assert admin.ids("sly=1") == []
    assert admin.call("DELETE", f"/v2/images/{sly}").status_code == 204


# -- rights ----------------------------------------------------------------------------------------


def test_who_sees_what(cloud: Cloud, admin: Client, demo: Client) -> None:
    private = admin.new(name="private", visibility="private")
    shared = admin.new(name="shared-one", visibility="shared")
    public = admin.new(name="public", visibility="public")
    community = admin.new(name="community", visibility="community")
    mine = set(demo.ids("limit=1000"))
    assert public in mine
    assert not {private, shared, community} & mine
    assert community in demo.ids("visibility=community")
    assert demo.call("GET", f"/v2/images/{private}").status_code == 404
    assert demo.call("GET", f"/v2/images/{community}").status_code == 200
    for method, path in (("DELETE", ""), ("PUT", "/tags/x"), ("POST", "/actions/deactivate")):
        assert demo.call(method, f"/v2/images/{public}{path}").status_code == 403
        assert demo.call(method, f"/v2/images/{private}{path}").status_code == 404
    # Sharing: offered, seen by id, accepted, listed, taken back.
    project = cloud.bootstrap.demo_project_id
    members = f"/v2/images/{shared}/members"
    assert admin.call("POST", members, json={"member": project}).status_code == 200
    assert admin.call("POST", members, json={"member": project}).status_code == 409
    assert demo.call("GET", f"/v2/images/{shared}").status_code == 200
    assert shared not in demo.ids("limit=1000")
    assert shared in demo.ids("visibility=shared&member_status=pending")
    answer = {"status": "accepted"}
    assert demo.call("PUT", f"{members}/{project}", json=answer).status_code == 200
    assert shared in demo.ids("limit=1000")
    assert demo.patch(shared, {"op": "add", "path": "/x", "value": "1"}).status_code == 403
    assert admin.call("DELETE", f"{members}/{project}").status_code == 204
    assert demo.call("GET", f"/v2/images/{shared}").status_code == 404
    # What only administrators do.
    own = demo.new()
    publish = {"op": "replace", "path": "/visibility", "value": "public"}
    assert demo.patch(own, publish).status_code == 403
    give = {"op": "replace", "path": "/owner", "value": "somebody"}
    assert demo.patch(own, give).status_code == 403
    assert demo.call("POST", "/v2/images", json={"owner": "x"}).status_code == 403


def test_no_token(cloud: Cloud) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/x"), ("PUT", "/x/file")):
        for headers in ({}, {"X-Auth-Token": "gAAAnonsense"}):
            url = f"{cloud.url}/image/v2/images{path}"
            reply = requests.request(method, url, headers=headers, timeout=10)
            assert reply.status_code == 401


def test_protection_and_deactivation(admin: Client, demo: Client) -> None:
    image_id = demo.new(protected=True)
    demo.put(image_id, b"x" * 512)
    assert demo.call("DELETE", f"/v2/images/{image_id}").status_code == 403
    path = f"/v2/images/{image_id}"
    assert demo.call("POST", path + "/actions/deactivate").status_code == 204
    assert demo.call("GET", path + "/file").status_code == 403
    assert admin.call("GET", path + "/file").status_code == 200
    assert demo.call("POST", path + "/actions/reactivate").status_code == 204
    assert demo.patch(image_id, {"op": "replace", "path": "/protected", "value": False}).ok
    assert demo.call("DELETE", path).status_code == 204
    queued = demo.new()
    assert demo.call("POST", f"/v2/images/{queued}/actions/deactivate").status_code == 403


def test_import(cloud: Cloud, admin: Client) -> None:
    image_id = admin.new(disk_format="qcow2")
    path = f"/v2/images/{image_id}"
    method = {"method": {"name": "glance-direct"}}
    assert admin.call("POST", path + "/import", json=method).status_code == 409
    assert admin.call("PUT", path + "/stage", data=b"no qcow2", headers=OCTETS).status_code == 204
    assert admin.show(image_id)["status"] == "uploading"
    other = {"method": {"name": "web-download", "uri": "http://x"}}
    assert admin.call("POST", path + "/import", json=other).status_code == 400
    assert admin.call("POST", path + "/import", json=method).status_code == 400
    waits_empty(cloud, admin, image_id)


def test_look_ups_for_other_rooms(cloud: Cloud, admin: Client, demo: Client) -> None:
    images, identity = cloud.images, cloud.identity
    image_id = admin.new(name="only-one", visibility="private", kernel_id="k")
    caller = cloud.run(identity.caller_for(demo.token))
    found = cloud.run(images.get("only-one"))
    assert (found.id, found.kernel_id) == (image_id, "k")
    for ref in ("only-one", image_id):
        with pytest.raises(Missing):
            cloud.run(images.get(ref, caller))
    admin.new(name="only-one")
    with pytest.raises(Conflict):
        cloud.run(images.get("only-one"))
