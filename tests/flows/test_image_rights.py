"""Images of one project are not booted or written on machines of another, by whatever name and whoever starts it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace as replace_struct

from ingot.kit.auth.policy import Caller
from ingot.kit.auth.standalone import as_before
from ingot.kit.db.database import Database
from ingot.kit.faults import Missing, Unauthenticated
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import By, PatchOperation
from ingot.services.baremetal import store as bm_store
from ingot.services.baremetal.adapters import OwnImages
from ingot.services.baremetal.boot import imagerights
from ingot.services.baremetal.boot.imagerights import CLOUD, Right
from ingot.services.baremetal.boot.plan import Intent
from ingot.services.baremetal.workflows import netboot
from ingot.services.image import Images, ImageSettings
from ingot.services.image import store as image_store
from ingot.services.image import tables as image_tables
from ingot.services.image.service import new_row
from ingot.workflow import Op
from tests.flows.site import Site, site

pytestmark = pytest.mark.anyio

A, B = "p-a", "p-b"
SECRET = b"A's own" + bytes(100_000)
SEED = 5


def member(project_id: str) -> Caller:
    return Caller(
        user_id=f"u-{project_id}", project_id=project_id, roles=frozenset({"member", "reader"})
    )


ADMIN = Caller(
    user_id="u-admin", project_id="p-admin", roles=frozenset({"admin", "member", "reader"})
)


class Place:
    """A site with our own images, and what two tenants do there."""

    def __init__(self, here: Site, images: Images, people: dict[str, frozenset[str]]) -> None:
        self.here, self.images, self.people = here, images, people

    async def image(self, owner: str, name: str, visibility: str = "private", **more: Any) -> str:
        values = {
            "name": name,
            "visibility": visibility,
            "disk_format": "raw",
            "container_format": "bare",
        }
        properties: dict[str, str] = more
        row = new_row(values, properties, owner, "2026-01-01T00:00:00.000000+00:00")
        await self.images.db.write(lambda conn: image_store.insert(conn, row))

        async def content() -> AsyncIterator[bytes]:
            yield SECRET

        await self.images.receive(row, content(), None)
        return str(row["id"])

    async def share(self, image_id: str, project_id: str, on: bool) -> None:
        values = {
            "image_id": image_id,
            "member_id": project_id,
            "status": "accepted",
            "created_at": "x",
            "updated_at": "x",
        }
        await self.images.db.write(
            lambda conn: (
                image_store.add_member(conn, values)
                if on
                else image_store.drop_member(conn, image_id, project_id)
            )
        )

    async def give(self, image_id: str, project_id: str) -> None:
        """An administrator gives an image to another project."""
        table = image_tables.images
        change = table.update().where(table.c.id == image_id).values(owner=project_id)
        await self.images.db.write(lambda conn: conn.execute(change).rowcount)

    async def write(self, uuid: str, who: Caller, **fields: Any) -> None:
        changes = [
            PatchOperation("add", f"/{name.replace('__', '/')}", fields[name]) for name in fields
        ]
        by = By(who.user_id or "", who.project_id, right=imagerights.of(who))
        await self.here.db.write(lambda conn: self.here.baremetal.patch(conn, uuid, changes, by=by))

    async def script(self, uuid: str) -> str:
        port = (await self.here.db.read(lambda c: bm_store.ports_of(c, uuid)))[0]
        url = f"{self.here.url}/boot/{port.address}"
        async with aiohttp.ClientSession() as http, http.get(url) as reply:
            return await reply.text()

    async def fetch(self, url: str) -> int:
        async with aiohttp.ClientSession() as http, http.get(url) as reply:
            return reply.status


@contextlib.asynccontextmanager
async def place(count: int = 1) -> AsyncIterator[Place]:
    rooms: list[Images] = []
    people: dict[str, frozenset[str]] = {}

    async def still(caller: Caller) -> Caller:
        """As identity says; those whom nothing happened to are who they were."""
        roles = people.get(caller.user_id or "", caller.roles)
        if not roles:
            raise Unauthenticated("The user has no right here any more.")
        return replace(caller, roles=roles)

    def own(db: Database, clock: Clock, base: Path, url: str) -> OwnImages:
        settings = ImageSettings(state_dir=base, deploy_base_url=url, reserve_bytes=0)
        rooms.append(Images(db, clock, settings))
        return OwnImages(rooms[0], still)

    async with site(count, seed=SEED, protocols=("redfish",), images=own) as here:
        await rooms[0].start()
        try:
            yield Place(here, rooms[0], people)
        finally:
            await rooms[0].close()


@pytest.mark.parametrize("starter", ["tenant", "operator"])
async def test_a_foreign_image_is_not_booted(starter: str) -> None:
    """By id, by name, by a property of an own image; also when an operator starts the work."""
    async with place() as at:
        theirs = await at.image(A, "img-a")
        lure = await at.image(B, "lure", kernel_id=theirs, ramdisk_id=theirs)
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk", owner=B)
        orders: list[dict[str, str]] = [
            {"kernel": theirs, "ramdisk": theirs},
            {"kernel": "img-a", "ramdisk": "img-a"},
            {"boot_iso": theirs},
            {"image_source": lure},
            {"image_source": "img-a"},
        ]
        for order in orders:
            await at.write(uuid, member(B), instance_info=order)
            if starter == "operator":  # touches the order, but does not name the image
                await at.write(uuid, ADMIN, instance_info__display_name="x")
            await at.here.verb(uuid, "active")
            assert await at.here.rest(uuid) == "deploy failed", order
            told = await at.here.db.read(lambda c: at.here.baremetal.last_error(c, uuid)) or ""
            assert "No image found" in told, told
            assert "/images/" not in await at.script(uuid)
            await at.here.verb(uuid, "deleted")
            assert await at.here.rest(uuid) == "available"


@pytest.mark.parametrize("by_operator", [False, True])
async def test_what_an_image_names_is_opened_by_its_owners_right(by_operator: bool) -> None:
    """Whoever orders the image may see everything: Compute for its users, an operator by hand."""
    async with place() as at:
        theirs, own = await at.image(A, "img-a"), await at.image(B, "own")
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk")

        async def order(image_id: str) -> None:
            info = {"image_source": image_id}
            if by_operator:
                await at.write(uuid, ADMIN, instance_info=info)
            else:
                await at.here.order_instance(uuid, info)
            await at.here.verb(uuid, "active")

        for named in (
            {"kernel_id": theirs, "ramdisk_id": own},
            {"kernel_id": own, "ramdisk_id": theirs},
            {"kernel_id": "img-a", "ramdisk_id": "img-a"},
            {"boot_iso_id": theirs},
        ):
            await order(await at.image(B, "lure", **named))
            assert await at.here.rest(uuid) == "deploy failed", named
            told = await at.here.db.read(lambda c: at.here.baremetal.last_error(c, uuid)) or ""
            assert "No image found" in told, told
            assert "/images/" not in await at.script(uuid)
            await at.here.verb(uuid, "deleted")
            assert await at.here.rest(uuid) == "available"
        await order(await at.image(B, "good", kernel_id=own, ramdisk_id=own))
        await at.here.until(uuid, "active")
        (url, *_) = [word for word in (await at.script(uuid)).split() if "/images/" in word]
        assert await at.fetch(url) == 200


@pytest.mark.parametrize("by_compute", [True, False])
async def test_what_an_image_names_is_seen_by_who_orders_it(by_compute: bool) -> None:
    """A's public image names A's private kernel: that is A's bait or A's slip, but nothing of B's."""
    async with place() as at:
        private = await at.image(A, "private")
        lure = await at.image(A, "lure", "public", kernel_id=private, ramdisk_id=private)
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk", owner=B)
        info = {"image_source": lure}
        if by_compute:
            await at.here.order_instance(uuid, info, imagerights.of(member(B)))
        else:
            await at.write(uuid, member(B), instance_info=info)
        await at.here.verb(uuid, "active")
        assert await at.here.rest(uuid) == "deploy failed"
        told = await at.here.db.read(lambda c: at.here.baremetal.last_error(c, uuid)) or ""
        assert "No image found" in told, told
        assert "/images/" not in await at.script(uuid)


async def test_whoever_has_lost_the_right_opens_nothing() -> None:
    """At the deploy and at a rebuild; boots of what was deployed are the project's."""
    async with place() as at:
        own, theirs = await at.image(B, "own"), await at.image(A, "img-a")
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk", owner=B)
        await at.write(uuid, member(B), instance_info={"kernel": own, "ramdisk": own})
        at.people[f"u-{B}"] = frozenset()
        await at.here.verb(uuid, "active")
        assert await at.here.rest(uuid) == "deploy failed"
        told = await at.here.db.read(lambda c: at.here.baremetal.last_error(c, uuid)) or ""
        assert "has no right in its project any more" in told, told
        at.people.clear()
        await at.here.verb(uuid, "active")
        await at.here.until(uuid, "active")
        assert "/images/" in await at.script(uuid)
        # A machine that boots it again does not end with the person, but with the project's sight of it.
        at.people[f"u-{B}"] = frozenset()
        assert "/images/" in await at.script(uuid)
        await at.give(own, A)
        assert "/images/" not in await at.script(uuid)
        await at.give(own, B)
        # What an administrator named is not opened by somebody who is none any more, nor by a stronger one of now.
        await at.write(uuid, ADMIN, instance_info={"kernel": theirs, "ramdisk": theirs})
        at.people["u-admin"] = frozenset({"member", "reader"})
        await at.here.verb(uuid, "rebuild")
        assert await at.here.rest(uuid) == "deploy failed"
        at.people["u-admin"] = ADMIN.roles
        await at.here.verb(uuid, "rebuild")
        await at.here.until(uuid, "active")
        await at.write(uuid, member(B), instance_info={"kernel": theirs, "ramdisk": theirs, "x": 1})
        await at.write(uuid, replace(member(B), user_id="u"), instance_info={"kernel": own})
        await at.write(
            uuid, replace(member(B), user_id="u"), instance_info={"kernel": theirs, "ramdisk": own}
        )
        at.people["u"] = frozenset({"admin", "member", "reader"})
        await at.here.verb(uuid, "rebuild")
        assert await at.here.rest(uuid) == "deploy failed"


async def test_the_operators_right_ends_with_a_role() -> None:
    async with place() as at:
        theirs = await at.image(A, "img-a")
        operator = Caller(user_id="u-op", system=True, roles=frozenset({"admin", "member"}))
        right = imagerights.of(operator)
        people = {"u-op": operator.roles}

        async def still(caller: Caller) -> Caller:
            return replace(caller, roles=people[caller.user_id or ""])

        opens = OwnImages(at.images, still)
        assert (await opens.file(theirs, 60, right, "n")).id == theirs
        people["u-op"] = frozenset({"member"})
        with pytest.raises(Missing):
            await opens.file(theirs, 60, right, "n")


class Resumed:
    """An operation whose record tells what its steps found, and that commits the rest."""

    def __init__(self, at: Place, uuid: str, told: str) -> None:
        self.at, self.subject, self.told = at, f"node:{uuid}", told

    async def step(self, name: str, _fn: Any, **how: Any) -> Any:
        if name == "find what the instance boots":
            return msgspec.json.decode(self.told, type=how["result_type"])
        return None

    async def commit(self, _name: str, fn: Any) -> Any:
        return await self.at.here.db.write(fn)


@pytest.mark.parametrize("told", ['{"iso": "x"}', '{"kernel": "x", "ramdisk": "x"}'])
async def test_a_deploy_that_began_before_rights_were_kept_goes_on(told: str) -> None:
    async with place() as at:
        own = await at.image(B, "own")
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk", owner=B)
        await at.write(uuid, member(B), instance_info={"kernel": own, "ramdisk": own})
        op = cast("Op", Resumed(at, uuid, told))
        await netboot.prepare_boot(netboot.NodeTask(at.here.deps, op))
        node = await at.here.node(uuid)
        intent = msgspec.convert(node.boot_intent, Intent)
        assert intent.kernel == intent.ramdisk == own, intent
        right = replace_struct(imagerights.of(member(B)), lasting=True)
        assert intent.rights == dict.fromkeys(("kernel", "ramdisk"), right)


async def test_a_foreign_image_is_not_written() -> None:
    async with place() as at:
        theirs = await at.image(A, "img-a")
        (uuid,) = await at.here.enrol("available", owner=B)
        (machine,) = at.here.fleet.machines.values()
        for ident in (theirs, "img-a", f"glance://{theirs}"):
            await at.write(uuid, member(B), instance_info={"image_source": ident})
            await at.here.verb(uuid, "active")
            assert await at.here.rest(uuid) == "deploy failed", ident
            assert not [act for act in machine.destructive_acts if act.act == "write_image"]
            await at.here.verb(uuid, "deleted")
            assert await at.here.rest(uuid) == "available"
        # Nor does the agent come from it, which the operator's own cleaning boots.
        names = {"deploy_kernel": theirs, "deploy_ramdisk": theirs}
        for name, ident in names.items():
            await at.write(uuid, member(B), **{f"driver_info__{name}": ident})
        await at.here.verb(uuid, "manage")
        assert await at.here.rest(uuid) == "manageable"
        await at.here.verb(uuid, "provide")
        script = ""
        while "/images/" not in script and "No image found" not in script:
            script = await at.script(uuid)
        assert "/images/" not in script, script


async def test_own_public_shared_and_community_images_serve() -> None:
    async with place() as at:
        own, public = await at.image(B, "own"), await at.image(A, "pub", "public")
        shared, community = await at.image(A, "s", "shared"), await at.image(A, "c", "community")
        await at.share(shared, B, True)
        opens = OwnImages(at.images, as_before)
        right = imagerights.of(member(B))
        for ident in (own, public, shared, community, "own", "pub", "s"):
            assert (await opens.file(ident, 60, right, "n")).id
        with pytest.raises(Missing):
            await opens.file("c", 60, right, "n")  # somebody else's bait
        # Of two that have the name the own view decides.
        await at.image(A, "own")
        assert (await opens.file("own", 60, right, "n")).id == own
        await at.share(shared, B, False)
        with pytest.raises(Missing):
            await opens.file(shared, 60, right, "n")
        assert (await opens.file(shared, 60, CLOUD, "n")).id == shared
        with pytest.raises(Missing):
            await opens.file(own, 60, Right(), "n")


async def test_urls_end_with_the_instance() -> None:
    async with place() as at:
        own = await at.image(B, "own")
        (uuid,) = await at.here.enrol("available", deploy_interface="ramdisk", owner=B)
        await at.write(uuid, member(B), instance_info={"kernel": own, "ramdisk": own})
        await at.here.verb(uuid, "active")
        await at.here.until(uuid, "active")
        script = await at.script(uuid)
        (url, *_) = [word for word in script.split() if "/images/" in word]
        assert await at.fetch(url) == 200
        await at.here.verb(uuid, "deleted")
        await at.here.until(uuid, "available")
        assert await at.fetch(url) == 404
        assert "/images/" not in await at.script(uuid)


async def test_urls_end_with_a_deploy_to_disk() -> None:
    async with place() as at:
        own = await at.image(B, "own")
        (uuid,) = await at.here.enrol("available", owner=B)
        await at.write(uuid, member(B), instance_info={"image_source": own})
        await at.here.verb(uuid, "active")
        await at.here.until(uuid, "active")
        (machine,) = at.here.fleet.machines.values()
        assert [act.act for act in machine.destructive_acts].count("write_image") == 1
        held = await at.images.db.read(lambda c: image_store.hold(c, f"node:{uuid}"))
        assert held is None
        # One that is made for the next boot works; the old one's secret does not come back.
        first = await at.images.hold(f"node:{uuid}")
        url = at.images.deploy_url(own, 60, hold=first)
        assert await at.fetch(url) == 200
        await at.images.db.write(lambda c: at.images.let_go(c, f"node:{uuid}"))
        assert await at.images.hold(f"node:{uuid}") != first
        assert await at.fetch(url) == 404
