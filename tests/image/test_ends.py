"""What is left of images, and of uploads, that came to their end."""

from __future__ import annotations

import pytest

from ingot.services.image import store
from tests.identity.cloud import Cloud
from tests.image.test_wire import Client, left


@pytest.fixture
def admin(cloud: Cloud) -> Client:
    return Client(cloud)


@pytest.fixture
def demo(cloud: Cloud) -> Client:
    return Client(cloud, "demo")


def test_an_id_is_given_once(admin: Client, demo: Client) -> None:
    """Who knows the id of an image, such as a machine, must not get another project's content by it."""
    for visibility in ("private", "public"):
        image_id = admin.new(visibility=visibility)
        assert admin.call("DELETE", f"/v2/images/{image_id}").status_code == 204
        assert admin.call("DELETE", f"/v2/images/{image_id}").status_code == 404
        for client in (demo, admin):
            reply = client.call("POST", "/v2/images", json={"id": image_id})
            assert reply.status_code == 409, reply.text
            assert "already exists" in reply.json()["error"]["message"]


def test_stores_of_what_has_content(admin: Client) -> None:
    image_id = admin.new()
    assert "stores" not in admin.show(image_id)
    assert admin.put(image_id, b"x" * 1000).status_code == 204
    (store,) = admin.call("GET", "/v2/info/stores").json()["stores"]
    assert admin.show(image_id)["stores"] == store["id"]


def test_an_upload_without_receiver_is_taken_back(cloud: Cloud, admin: Client) -> None:
    """Of a host that is gone for good, by any other; one that goes on is left alone."""
    lost, alive = admin.new(), admin.new()
    old = "2020-01-01T00:00:00.000000+00:00"
    new = "2999-01-01T00:00:00.000000+00:00"
    for image_id, at, secret in ((lost, old, "a" * 16), (alive, new, "b" * 16)):
        held = {"receiver": "another", "reception": secret, "received_at": at}
        cloud.run(
            cloud.images.db.write(
                lambda conn, image_id=image_id, held=held: store.move(
                    conn, image_id, ["queued"], "saving", held
                )
            )
        )
        (cloud.state / "images" / "incoming" / f"{image_id}.dead").write_bytes(b"half")
    cloud.run(cloud.images.look_after())
    assert admin.show(alive)["status"] == "saving"
    assert admin.put(lost, b"whole" * 100).status_code == 204
    assert [name.partition(".")[0] for name in left(cloud)] == [alive]
    # The lost receiver comes to itself: it does not get the image any more.
    late = cloud.images.db.write(
        lambda conn: store.move(conn, lost, ["saving"], "active", {}, "a" * 16)
    )
    assert cloud.run(late) is False
    admin.call("DELETE", f"/v2/images/{alive}")


def test_an_upload_at_a_controller_of_the_release_before_goes_on(
    cloud: Cloud, admin: Client
) -> None:
    """It never says that it lives. One that began long ago is taken back all the same."""
    lately, long_ago = admin.new(), admin.new()
    for image_id in (lately, long_ago):
        held = {"receiver": "old", "reception": None, "received_at": None}
        if image_id == long_ago:
            held["updated_at"] = "2020-01-01T00:00:00.000000+00:00"
        cloud.run(
            cloud.images.db.write(
                lambda conn, image_id=image_id, held=held: store.move(
                    conn, image_id, ["queued"], "saving", held
                )
            )
        )
    cloud.run(cloud.images.look_after())
    assert admin.show(lately)["status"] == "saving"
    assert admin.show(long_ago)["status"] == "queued"
    for image_id in (lately, long_ago):
        admin.call("DELETE", f"/v2/images/{image_id}")


def test_content_of_a_deleted_image_goes_at_the_next_start(cloud: Cloud, admin: Client) -> None:
    """As after an end between the deletion and the removal of the file."""
    gone, kept = admin.new(), admin.new()
    for image_id in (gone, kept):
        assert admin.put(image_id, b"x" * 1000).status_code == 204
    assert admin.call("DELETE", f"/v2/images/{gone}").status_code == 204
    folder = cloud.state / "images"
    for left_behind in (folder / gone, folder / "raw" / gone, folder / "raw" / f"{gone}.json"):
        left_behind.write_bytes(b"x")
    cloud.run(cloud.images.take_back())
    assert not list(folder.rglob(f"{gone}*"))
    assert (folder / kept).read_bytes() == b"x" * 1000
