"""The image of a server is opened by the right of whoever ordered it, as that is when it is opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ingot.workflow import LocalDispatcher, operations
from tests.compute.cloud import IMAGE, Cloud, cloud

pytestmark = pytest.mark.anyio


class People:
    """What two projects do with users, roles and images."""

    def __init__(self, here: Cloud) -> None:
        self.here = here

    async def ask(
        self, method: str, path: str, body: Any = None, *, who: str = "admin", file: bytes = b""
    ) -> Any:
        headers = {"X-Auth-Token": await self.here.token(who)}
        how: dict[str, Any] = {"json": body}
        if file:
            headers["Content-Type"], how = "application/octet-stream", {"data": file}
        url = self.here.url + path
        async with self.here.session.request(method, url, headers=headers, **how) as reply:
            assert reply.status < 300, (method, path, reply.status, await reply.text())
            return await reply.json() if reply.content_length else None

    async def project_of(self, who: str) -> str:
        found = await self.ask("GET", f"/identity/v3/projects?name={who}")
        return str(found["projects"][0]["id"])

    async def user_of(self, who: str) -> str:
        found = await self.ask("GET", f"/identity/v3/users?name={who}")
        return str(found["users"][0]["id"])

    async def role(self, method: str, who: str, name: str) -> None:
        """Give (PUT) or take (DELETE) a role of a user in the project of the same name."""
        found = await self.ask("GET", f"/identity/v3/roles?name={name}")
        place = f"{await self.project_of(who)}/users/{await self.user_of(who)}"
        role = found["roles"][0]["id"]
        await self.ask(method, f"/identity/v3/projects/{place}/roles/{role}")

    async def image(self, who: str, visibility: str) -> str:
        body = {
            "name": "theirs",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": visibility,
        }
        made = await self.ask("POST", "/image/v2/images", body, who=who)
        await self.ask("PUT", f"/image/v2/images/{made['id']}/file", who=who, file=IMAGE)
        return str(made["id"])

    async def shared(self, to: str) -> str:
        """The administrator's image, shared with a project."""
        image = await self.image("admin", "shared")
        member = await self.project_of(to)
        await self.ask("POST", f"/image/v2/images/{image}/members", {"member": member})
        return image

    async def unshare(self, image: str, to: str) -> None:
        member = await self.project_of(to)
        await self.ask("DELETE", f"/image/v2/images/{image}/members/{member}")

    @contextlib.asynccontextmanager
    async def meanwhile(self) -> AsyncIterator[None]:
        """What is ordered waits until what is done here is done."""
        await self.here.dispatcher.kill()
        yield
        self.here.dispatcher = LocalDispatcher(self.here.engine_of())
        await self.here.dispatcher.start()

    async def refused(self, uuid: str, image: str) -> None:
        """The server is in ERROR, with the cause in words."""
        async with asyncio.timeout(40):
            message, server = "", dict[str, Any]()
            while image not in message:
                server = await self.here.server_is(uuid, "ERROR", "BUILD", "REBUILD", "ACTIVE")
                message = server.get("fault", {"message": ""})["message"]
        assert server["status"] == "ERROR"
        assert "was deleted, or the project does not see it" in message

    async def orders_of(self, node: str) -> list[str]:
        """Kinds of the operations that a machine has had."""
        found = await self.here.db.read(lambda conn: operations(conn, f"node:{node}", limit=9))
        return [one.kind for one in found]


async def test_a_share_that_was_taken_back_builds_nothing(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        people, flavor = People(here), await here.flavor()
        image = await people.shared("demo")
        async with people.meanwhile():
            uuid = await here.boot(flavor, who="demo", imageRef=image)
            await people.unshare(image, "demo")
        await people.refused(uuid, image)
        assert await people.orders_of(node) == []
        assert (await here.node(node)).instance_uuid is None
        # While it is shared it is built, and what was built stays.
        image = await people.shared("demo")
        uuid = await here.boot(flavor, who="demo", imageRef=image)
        await here.server_is(uuid, "ACTIVE")
        await people.unshare(image, "demo")
        assert (await here.get(f"/servers/{uuid}"))["server"]["status"] == "ACTIVE"


async def test_a_share_that_was_taken_back_rebuilds_and_rescues_nothing(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        people = People(here)
        uuid = await here.boot(await here.flavor(), who="demo")
        await here.server_is(uuid, "ACTIVE")
        before = await people.orders_of(node)
        for action in ("rebuild", "rescue"):
            image = await people.shared("demo")
            body = {
                "rebuild": {"rebuild": {"imageRef": image}},
                "rescue": {"rescue": {"rescue_image_ref": image}},
            }[action]
            async with people.meanwhile():
                status = 202 if action == "rebuild" else 200
                path = f"/servers/{uuid}/action"
                await here.call("POST", path, body, who="demo", version="2.87", status=status)
                await people.unshare(image, "demo")
            await people.refused(uuid, image)
            assert await people.orders_of(node) == before


async def test_a_role_that_was_taken_opens_nothing(tmp_path: Path) -> None:
    """Roles are those of now: a former administrator's order opens no foreign image."""
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        people, flavor = People(here), await here.flavor()
        theirs = await people.image("admin", "private")
        await people.role("PUT", "demo", "admin")
        async with people.meanwhile():
            uuid = await here.boot(flavor, who="demo", imageRef=theirs)
            await people.role("DELETE", "demo", "admin")
        await people.refused(uuid, theirs)
        # Nor does somebody who has no role any more have an image of their project's.
        here.tokens.pop("demo")
        own = await people.image("demo", "private")
        async with people.meanwhile():
            uuid = await here.boot(flavor, who="demo", imageRef=own)
            await people.role("DELETE", "demo", "member")
        await people.refused(uuid, own)
        assert await people.orders_of(node) == []
        # With the right that it had the same order is carried out.
        await people.role("PUT", "demo", "member")
        here.tokens.pop("demo")
        await here.server_is(await here.boot(flavor, who="demo", imageRef=own), "ACTIVE")
