"""Images: their ids, content, properties, tags, members and states."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.races.shapes import Document, Things
from tests.races.table import Act, Case, Kind, Place, Seen

ROOT = "/image/v2/images"
PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
_BODY = {"disk_format": "raw", "container_format": "bare"}
_RESTING = ("queued", "active", "deactivated")


async def image(place: Place) -> str:
    """Its path."""
    body = {"name": place.name("i"), "visibility": "shared", **_BODY}
    return f"{ROOT}/{(await place.make(ROOT, body))['id']}"


async def whole_image(place: Place) -> str:
    path = await image(place)
    await place.change("PUT", f"{path}/file", b"content")
    return path


async def _some(place: Place, paths: list[str]) -> list[Any]:
    """What is there of them."""
    return [await place.get(path) for path in paths if await place.there(path)]


def _moving(found: list[Any]) -> list[str]:
    return [f"{one['id']}: {one['status']}" for one in found if one["status"] not in _RESTING]


async def uploads(place: Place) -> Case:
    """Several contents for one image: it has the one that was accepted."""
    paths = [await image(place) for _ in range(max(2, place.size // 5))]
    acts: list[Act] = []
    for path in paths:
        for _ in range(5):
            data = place.name("content").encode() * 1000
            key = hashlib.md5(data, usedforsecurity=False).hexdigest()
            acts.append(Act(key, "PUT", f"{path}/file", data, once=path))

    async def look() -> Seen:
        found = await _some(place, paths)
        return Seen([one["checksum"] for one in found if one["checksum"]], stuck=_moving(found))

    return Case(acts, look)


async def uploads_and_ends(place: Place) -> Case:
    """Images are deleted while their content comes."""
    paths = [await image(place) for _ in range(max(2, place.size // 5))]
    acts: list[Act] = []
    for path in paths:
        send = Act("", "PUT", f"{path}/file", b"content" * 30000, once=f"content of {path}")
        end = Act(path, "DELETE", path, gone=True, once=path)
        acts += [send, end, send, end, end]

    async def look() -> Seen:
        found = await _some(place, paths)
        return Seen([f"{ROOT}/{one['id']}" for one in found], stuck=_moving(found))

    return Case(acts, look, before=paths, civil=(404, 409, 410))


async def protections(place: Place) -> Case:
    """Images are protected and deleted at the same moment: one of the two is accepted."""
    paths = [await whole_image(place) for _ in range(max(2, place.size // 5))]
    guard = [{"op": "replace", "path": "/protected", "value": True}]
    acts: list[Act] = []
    for path in paths:
        keep = Act(f"guard of {path}", "PATCH", path, guard, once=path, headers=PATCH)
        end = Act(path, "DELETE", path, gone=True, once=path)
        acts += [keep, end, end, end]

    async def look() -> Seen:
        found = await _some(place, paths)
        there = [f"{ROOT}/{one['id']}" for one in found]
        guarded = [f"guard of {ROOT}/{one['id']}" for one in found if one["protected"]]
        return Seen([*there, *guarded], stuck=_moving(found))

    return Case(acts, look, before=paths, civil=(403, 404, 409))


async def states(place: Place) -> Case:
    """Images are switched off and on, renamed and deleted."""
    paths = [await whole_image(place) for _ in range(max(2, place.size // 5))]
    acts: list[Act] = []
    for number, path in enumerate(paths):
        off, on = f"{path}/actions/deactivate", f"{path}/actions/reactivate"
        acts += [Act("", "POST", off), Act("", "POST", on)] * 2
        if number % 2:
            acts += [Act(path, "DELETE", path, gone=True, once=path)] * 2

    async def look() -> Seen:
        found = await _some(place, paths)
        return Seen([f"{ROOT}/{one['id']}" for one in found], stuck=_moving(found))

    return Case(acts, look, before=paths, civil=(403, 404, 409))


KINDS: dict[str, Kind] = {
    "images": Things(
        ROOT,
        lambda name, _: {"id": name, **_BODY},
        "images",
        shown="id",
        naming=lambda number: f"00000000-0000-4000-8000-{number:012x}",
        query="?limit=1000",
    ),
    "image content": uploads,
    "image content and ends": uploads_and_ends,
    "image protection and ends": protections,
    "image states and ends": states,
    "image properties": Document(
        image,
        lambda key: ("PATCH", "", [{"op": "add", "path": f"/{key}", "value": "v"}]),
        lambda found: found,
        lambda key: ("PATCH", "", [{"op": "remove", "path": f"/{key}"}]),
        headers=PATCH,
    ),
    "image tags": Document(
        image,
        lambda key: ("PUT", f"/tags/{key}", None),
        lambda found: found["tags"],
        lambda key: ("DELETE", f"/tags/{key}", None),
    ),
    "image members": Document(
        image,
        lambda key: ("POST", "/members", {"member": key}),
        lambda found: [one["member_id"] for one in found["members"]],
        lambda key: ("DELETE", f"/members/{key}", None),
        where="/members",
    ),
}
