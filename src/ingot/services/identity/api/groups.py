"""Groups and their members: handlers and wire forms of /v3/groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.common import (
    Row,
    domain_of,
    filters,
    guarded,
    linked,
    listing,
    need_domain,
    of_domain,
    of_path,
)
from ingot.services.identity.api.users import USERS_BY, find_users, user_body, user_target
from ingot.services.identity.types import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

_GROUPS_BY = ("domain_id", "name")


def group_body(row: Row, base_url: str) -> Row:
    body: Row = {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "description": row["description"],
    }
    return linked(body, base_url, f"groups/{row['id']}")


def operations(identity: Identity, prefix: str) -> list[Operation]:
    groups = _Groups(identity)
    group = "/v3/groups/{group_id}"
    member = group + "/users/{user_id}"
    return [
        guarded("GET", "/v3/users/{user_id}/groups", groups.of_user, "list_groups_for_user"),
        guarded("GET", "/v3/groups", groups.index, "list_groups"),
        guarded("POST", "/v3/groups", groups.create, "create_group", 201, body=schemas.GroupBody),
        guarded("GET", group, groups.show, "get_group"),
        guarded("PATCH", group, groups.update, "update_group", body=schemas.GroupBody),
        guarded("DELETE", group, groups.delete, "delete_group", 204),
        guarded("GET", group + "/users", groups.members, "list_users_in_group"),
        guarded("GET", member, groups.has, "check_user_in_group", 204),
        guarded("PUT", member, groups.add, "add_user_to_group", 204),
        guarded("DELETE", member, groups.drop, "remove_user_from_group", 204),
    ]


def _group_target(row: Row | None) -> Row:
    return {
        "target.group.id": row["id"] if row else None,
        "target.group.domain_id": row["domain_id"] if row else None,
    }


class _Groups:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def _get(self, call: Call, rule: str) -> Row:
        return await self._identity.db.read(lambda conn: self._find(conn, call, rule))

    @staticmethod
    def _find(conn: sa.Connection, call: Call, rule: str) -> Row:
        return of_path(conn, call, tables.groups, "group", rule, _group_target)

    async def index(self, call: Call) -> Reply:
        wanted = of_domain(call, "list_groups", filters(call, _GROUPS_BY))
        rows = await self._identity.db.scan(lambda conn: store.find(conn, tables.groups, wanted))
        return listing(call, "groups", rows, group_body)

    async def show(self, call: Call) -> Reply:
        row = await self._get(call, "get_group")
        return Reply({"group": group_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.group, schemas.GroupFields, ("name",))
        domain_id = domain_of(call, values.get("domain_id"), DEFAULT_DOMAIN)
        call.require("identity:create_group", {"target.group.domain_id": domain_id})
        row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "domain_id": domain_id,
            "description": values.get("description") or "",
            "extra": extra,
        }

        def make(conn: sa.Connection) -> None:
            need_domain(conn, domain_id)
            store.insert(conn, tables.groups, row, "group")

        await self._identity.write(make)
        return Reply({"group": group_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.group, schemas.GroupFields)
        if "name" in values and values["name"] is None:
            raise Invalid("The name of a group cannot be null.")
        if values.get("description", "") is None:
            values["description"] = ""
        domain_id = values.pop("domain_id", None)

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_group")
            if domain_id not in (None, row["domain_id"]):
                raise Invalid("Cannot change the domain of a group.")
            merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
            store.update(conn, tables.groups, row["id"], {**values, "extra": merged}, "group")
            return store.need(conn, tables.groups, row["id"], "group")

        return Reply({"group": group_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_group")
            store.forget_actor(conn, "group", row["id"])

        await self._identity.write(remove)

    # -- members -----------------------------------------------------------------------------

    async def members(self, call: Call) -> Reply:
        row = await self._get(call, "list_users_in_group")
        wanted = filters(call, USERS_BY)
        if call.caller.domain_id:
            wanted.append(("domain_id", call.caller.domain_id))
        members = store.members_of(row["id"])
        rows = await self._identity.db.scan(lambda conn: find_users(conn, call, wanted, members))
        return listing(call, "users", rows, user_body)

    async def has(self, call: Call) -> None:
        def has(conn: sa.Connection) -> None:
            _need_member(conn, *_pair(conn, call, "check_user_in_group"))

        await self._identity.db.read(has)

    async def add(self, call: Call) -> None:
        def add(conn: sa.Connection) -> None:
            store.set_member(conn, *_pair(conn, call, "add_user_to_group"), True)

        await self._identity.write(add)

    async def drop(self, call: Call) -> None:
        def drop(conn: sa.Connection) -> None:
            group_id, user_id = _pair(conn, call, "remove_user_from_group")
            _need_member(conn, group_id, user_id)
            store.set_member(conn, group_id, user_id, False)

        await self._identity.write(drop)

    async def of_user(self, call: Call) -> Reply:
        row = await self._identity.db.read(
            lambda conn: of_path(
                conn, call, tables.users, "user", "list_groups_for_user", user_target
            )
        )
        wanted = filters(call, _GROUPS_BY)
        if call.caller.domain_id:
            wanted.append(("domain_id", call.caller.domain_id))
        rows = await self._identity.db.scan(
            lambda conn: store.find(conn, tables.groups, wanted, ids=store.groups_of(row["id"]))
        )
        return listing(call, "groups", rows, group_body)


def _pair(conn: sa.Connection, call: Call, rule: str) -> tuple[str, str]:
    """Ids of the group and the user of the path, if the caller may: both are asked whose they are."""
    group_id, user_id = call.params["group_id"], call.params["user_id"]
    group = store.get(conn, tables.groups, group_id)
    user = store.get(conn, tables.users, user_id)
    target = {
        "target.group.id": group_id,
        "target.group.domain_id": group["domain_id"] if group else None,
        "target.user.id": user_id,
        "target.user.domain_id": user["domain_id"] if user else None,
    }
    call.require(f"identity:{rule}", target)
    if group is None:
        raise Missing(f"Could not find group: {group_id}.")
    if user is None:
        raise Missing(f"Could not find user: {user_id}.")
    return group_id, user_id


def _need_member(conn: sa.Connection, group_id: str, user_id: str) -> None:
    if not store.is_member(conn, group_id, user_id):
        raise Missing(f"User {user_id} is not in group {group_id}.")
