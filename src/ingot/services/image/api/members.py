"""Sharing an image with other projects, on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Forbidden, Missing
from ingot.services.image import schemas, store
from ingot.services.image.api.common import moment, need
from ingot.services.image.store import Row

if TYPE_CHECKING:
    from ingot.services.image.service import Images


def member_operations(images: Images) -> list[Operation]:
    api = _Members(images)
    many = "/v2/images/{image_id}/members"
    one = many + "/{member_id}"

    def row(verb: str, path: str, handler: Any, rule: str, status: int = 200, **more: Any) -> Any:
        return Operation(verb, path, handler, rule=rule, late=True, status=status, **more)

    return [
        row("GET", many, api.index, "get_members"),
        row("POST", many, api.create, "add_member", body=schemas.MemberBody),
        row("GET", one, api.show, "get_member"),
        row("PUT", one, api.update, "modify_member", body=schemas.MemberStatusBody),
        row("DELETE", one, api.delete, "delete_member", 204),
    ]


class _Members:
    def __init__(self, images: Images) -> None:
        self._images = images

    def _get(self, conn: sa.Connection, call: Call, rule: str) -> Row:
        row = need(conn, self._images, call, rule)
        if row["visibility"] != "shared":
            raise Forbidden("Only shared images have members.")
        return row

    async def index(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> tuple[Row, list[Row]]:
            row = self._get(conn, call, "get_members")
            return row, store.members(conn, row["id"])

        row, rows = await self._images.db.read(find)
        own = row["owner"] == call.caller.project_id or "admin" in call.caller.roles
        shown = [m for m in rows if own or m["member_id"] == call.caller.project_id]
        return Reply({"members": [_body(m) for m in shown], "schema": "/v2/schemas/members"})

    async def show(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> Row:
            return self._need(conn, call, self._get(conn, call, "get_member"))

        return Reply(_body(await self._images.db.read(find)))

    @staticmethod
    def _need(conn: sa.Connection, call: Call, row: Row) -> Row:
        member_id = call.params["member_id"]
        found = store.member(conn, row["id"], member_id)
        own = row["owner"] == call.caller.project_id or "admin" in call.caller.roles
        if found is None or not (own or member_id == call.caller.project_id):
            raise Missing(f"{member_id} not found in the member list of the image {row['id']}.")
        return found

    async def create(self, call: Call) -> Reply:
        now = timestamp(self._images.clock.now())

        def change(conn: sa.Connection) -> Row:
            values = {
                "image_id": self._get(conn, call, "add_member")["id"],
                "member_id": call.body.member,
                "status": "pending",
                "created_at": now,
                "updated_at": now,
            }
            store.add_member(conn, values)
            return values

        return Reply(_body(await self._images.db.write(change)))

    async def update(self, call: Call) -> Reply:
        member_id = call.params["member_id"]
        # A member accepts for itself; the owner cannot do it in its place.
        own = member_id == call.caller.project_id or "admin" in call.caller.roles
        values = {
            "status": call.body.status,
            "updated_at": timestamp(self._images.clock.now()),
        }

        def change(conn: sa.Connection) -> Row:
            row = self._get(conn, call, "modify_member")
            if not own:
                raise Forbidden("Only the member itself accepts or rejects an image.")
            self._need(conn, call, row)
            store.update_member(conn, row["id"], member_id, values)
            return self._need(conn, call, row)

        return Reply(_body(await self._images.db.write(change)))

    async def delete(self, call: Call) -> None:
        member_id = call.params["member_id"]

        def change(conn: sa.Connection) -> None:
            row = self._get(conn, call, "delete_member")
            if not store.drop_member(conn, row["id"], member_id):
                raise Missing(f"{member_id} not found in the member list of the image {row['id']}.")

        await self._images.db.write(change)


def _body(row: Row) -> Row:
    return {
        "image_id": row["image_id"],
        "member_id": row["member_id"],
        "status": row["status"],
        "created_at": moment(row["created_at"]),
        "updated_at": moment(row["updated_at"]),
        "schema": "/v2/schemas/member",
    }
