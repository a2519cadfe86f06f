"""Whose right opens the images that a node names, asked for by the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, system, world

from ingot.kit.auth.standalone import as_before
from ingot.services.baremetal import store
from ingot.services.baremetal.adapters import OwnImages
from ingot.services.baremetal.boot.imagerights import CLOUD, right_to
from ingot.services.image import Images, ImageSettings
from ingot.services.image import store as image_store
from ingot.services.image.service import new_row

pytestmark = pytest.mark.anyio
A, B = "p-a", "p-b"


class Place:
    """A node of B's, and images of both."""

    def __init__(self, api: World, uuid: str) -> None:
        self.api, self.uuid = api, uuid

    async def image(self, owner: str, name: str) -> str:
        row = new_row({"name": name, "visibility": "private"}, {}, owner, "2026")
        await self.api.db.write(lambda conn: image_store.insert(conn, row))
        return str(row["id"])

    async def write(self, info: dict[str, Any]) -> None:
        change = {"op": "add", "path": "/instance_info", "value": info}
        reply = await self.api.ask("PATCH", "/v1/nodes/n1", [change])
        assert reply.status == 200, reply.json

    async def start(self) -> tuple[int, str]:
        """The answer to `active`; the node is as before."""
        reply = await self.api.ask("PUT", "/v1/nodes/n1/states/provision", {"target": "active"})
        await self.api.end_operations()
        await self.api.force(
            "n1", provision_state="available", target_provision_state=None, reservation=None
        )
        return reply.status, reply.error if reply.json else ""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Place]:
    def own(db: Any, clock: Any) -> OwnImages:
        return OwnImages(Images(db, clock, ImageSettings(state_dir=tmp_path)), as_before)

    async with world(tmp_path, images=own) as api:
        node = await api.node(name="n1", owner=B, lessee=B)
        await api.force("n1", provision_state="available", power_state="power off")
        yield Place(api, node["uuid"])


@pytest.mark.parametrize("field", ["image_source", "kernel", "ramdisk", "boot_iso"])
async def test_a_foreign_image_is_refused_at_once(here: Place, field: str) -> None:
    theirs, mine = await here.image(A, "img-a"), await here.image(B, "img-b")
    for ident in (theirs, "img-a", f"glance://{theirs}"):
        here.api.become(project("member", B))
        await here.write({field: ident})
        assert (await here.start())[0] == 400
        validate = (await here.api.ask("GET", "/v1/nodes/n1/validate")).json["deploy"]
        assert validate["result"] is False and "No image found" in validate["reason"]
        # Nor when an operator starts it, who has changed something else.
        here.api.become(system())
        change = {"op": "add", "path": "/instance_info/display_name", "value": "x"}
        await here.api.ask("PATCH", "/v1/nodes/n1", [change])
        status, text = await here.start()
        assert status == 400 and "No image found" in text
    here.api.become(project("member", B))
    for ident in (mine, "img-b", "http://192.0.2.9/image"):
        await here.write({field: ident})
        assert (await here.start())[0] == 202
    # What an operator names is the operator's to open; a tenant's change of something else keeps it so.
    here.api.become(system())
    await here.write({field: theirs})
    here.api.become(project("member", B))
    change = {"op": "add", "path": "/instance_info/display_name", "value": "x"}
    await here.api.ask("PATCH", "/v1/nodes/n1", [change])
    assert (await here.start())[0] == 202


async def test_who_wrote_a_name(here: Place) -> None:
    async def right(name: str) -> Any:
        known = await here.api.db.read(lambda conn: store.image_rights(conn, here.uuid))
        return right_to(*known, name)

    here.api.become(project("member", B))
    await here.write({"image_source": "x", "kernel": "k"})
    assert (await right("instance_info.kernel")).project_id == B
    here.api.become(system())
    await here.write({"image_source": "x", "kernel": "other"})
    assert (await right("instance_info.image_source")).project_id == B, "it was left as it was"
    operator = await right("instance_info.kernel")
    assert operator.cloud and operator.system and operator.user, "asked about again at use"
    here.api.become(project("member", B))
    await here.write({"image_source": "x"})
    await here.write({"image_source": "x", "kernel": "other"})
    assert (await right("instance_info.kernel")).project_id == B, "it is not the same name any more"
    # What has no record (from before there was one) is opened by the right of the node's project.
    await here.api.force("n1", image_rights=None)
    assert (await right("instance_info.kernel")).project_id == B
    await here.api.force("n1", image_rights=None, owner=None, lessee=None)
    assert await right("instance_info.kernel") == CLOUD


async def test_urls_end_with_the_node(here: Place) -> None:
    """What an agent was booted from is held by nobody any more."""
    holder = f"node:{here.uuid}"
    secret = await here.api.db.write(lambda conn: image_store.add_hold(conn, holder, "a" * 16))
    assert await here.api.db.read(lambda conn: image_store.is_held(conn, secret))
    assert (await here.api.ask("DELETE", "/v1/nodes/n1")).status == 204
    assert not await here.api.db.read(lambda conn: image_store.is_held(conn, secret))
