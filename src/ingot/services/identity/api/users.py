"""Users: handlers and wire forms of /v3/users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.auth.throttle import LoginAttempt
from ingot.kit.faults import Invalid, Unauthenticated
from ingot.services.identity import grants, schemas, store, tables
from ingot.services.identity.api.common import (
    MAX_BODY,
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
from ingot.services.identity.api.projects import PROJECT_FLAGS, PROJECTS_BY, project_body
from ingot.services.identity.types import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity


USERS_BY = ("domain_id", "enabled", "name")
#: What users are listed by upstream and nobody has here: no password expires, nobody comes from elsewhere.
_NOBODY_BY = frozenset({"password_expires_at", "idp_id", "protocol_id", "unique_id"})


def user_body(row: Row, base_url: str) -> Row:
    body: Row = {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "enabled": bool(row["enabled"]),
        "options": {},
        "password_expires_at": None,
    }
    for key in ("default_project_id", "description"):
        if row.get(key) is not None:
            body[key] = row[key]
    return linked(body, base_url, f"users/{row['id']}")


def operations(identity: Identity, prefix: str) -> list[Operation]:
    users = _Users(identity)
    user = "/v3/users/{user_id}"

    return [
        guarded("GET", "/v3/users", users.index, "list_users"),
        guarded("POST", "/v3/users", users.create, "create_user", 201, body=schemas.UserBody),
        guarded("GET", user, users.show, "get_user"),
        guarded("PATCH", user, users.update, "update_user", body=schemas.UserBody),
        guarded("DELETE", user, users.delete, "delete_user", 204),
        # Who knows the old password may change it, with or without a token.
        Operation(
            "POST",
            user + "/password",
            users.change_password,
            rule=None,
            body=schemas.PasswordChangeBody,
            status=204,
            max_body=MAX_BODY,
        ),
        guarded("GET", user + "/projects", users.projects, "list_user_projects"),
    ]


def user_target(row: Row | None) -> Row:
    return {
        "target.user.id": row["id"] if row else None,
        "target.user.domain_id": row["domain_id"] if row else None,
    }


class _Users:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def _get(self, call: Call, rule: str) -> Row:
        return await self._identity.db.read(lambda conn: self._find(conn, call, rule))

    @staticmethod
    def _find(conn: sa.Connection, call: Call, rule: str) -> Row:
        return of_path(conn, call, tables.users, "user", rule, user_target)

    async def index(self, call: Call) -> Reply:
        wanted = of_domain(call, "list_users", filters(call, USERS_BY))
        rows = await self._identity.db.scan(lambda conn: find_users(conn, call, wanted))
        return listing(call, "users", rows, user_body)

    async def _hash(self, call: Call, password: str | None) -> str | None:
        who = LoginAttempt.of(call.remote, call.caller.user_id or "")
        return await self._identity.passwords.hash(password, who) if password else None

    async def show(self, call: Call) -> Reply:
        row = await self._get(call, "get_user")
        return Reply({"user": user_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.user, schemas.UserFields, ("name",))
        domain_id = domain_of(call, values.get("domain_id"), DEFAULT_DOMAIN)
        call.require("identity:create_user", {"target.user.domain_id": domain_id})
        password = values.get("password")
        row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "domain_id": domain_id,
            "enabled": values.get("enabled", True),
            "password_hash": await self._hash(call, password),
            "default_project_id": values.get("default_project_id"),
            "description": values.get("description"),
            "extra": extra,
        }

        def make(conn: sa.Connection) -> None:
            need_domain(conn, domain_id)
            store.insert(conn, tables.users, row, "user")

        await self._identity.write(make)
        return Reply({"user": user_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        # Once before a password is hashed for nothing, and once more with the change.
        await self._get(call, "update_user")
        values, extra = schemas.split(call.body.user, schemas.UserFields)
        for name in ("name", "enabled"):
            if name in values and values[name] is None:
                raise Invalid(f"The {name} of a user cannot be null.")
        new_password = "password" in values
        if new_password:
            password = values.pop("password")
            values["password_hash"] = await self._hash(call, password)
        domain_id = values.pop("domain_id", None)

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_user")
            if domain_id not in (None, row["domain_id"]):
                raise Invalid("Cannot change the domain of a user.")
            merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
            store.update(conn, tables.users, row["id"], {**values, "extra": merged}, "user")
            if new_password or (values.get("enabled") is False and row["enabled"]):
                store.end_tokens_of(conn, tables.users, row["id"])
            else:
                store.touch(conn)
            return store.need(conn, tables.users, row["id"], "user")

        body = await self._identity.write(change)
        return Reply({"user": user_body(body, call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_user")
            store.forget_actor(conn, "user", row["id"])

        await self._identity.write(remove)

    async def change_password(self, call: Call) -> None:
        identity, key = self._identity, call.params["user_id"]

        def known(conn: sa.Connection) -> str | None:
            row = store.get(conn, tables.users, key)
            return row["password_hash"] if row and row["enabled"] else None

        before, who = await identity.db.read(known), LoginAttempt.of(call.remote, key)
        if not await identity.passwords.verify(call.body.user.original_password, before, who):
            raise _wrong_password()
        hashed = await identity.passwords.hash(call.body.user.password, who)

        def change(conn: sa.Connection) -> None:
            if known(conn) != before:  # somebody changed it meanwhile: the one given is the old one
                raise _wrong_password()
            store.update(conn, tables.users, key, {"password_hash": hashed}, "user")
            store.end_tokens_of(conn, tables.users, key)

        await identity.write(change)

    async def projects(self, call: Call) -> Reply:
        row = await self._get(call, "list_user_projects")
        wanted = filters(call, PROJECTS_BY, PROJECT_FLAGS)

        def find(conn: sa.Connection) -> list[Row]:
            places, _domains, _system = grants.places_of(conn, row["id"])
            found = store.find(conn, tables.projects, [*wanted, ("is_domain", False)])
            return [project for project in found if project["id"] in places]

        return listing(call, "projects", await self._identity.db.scan(find), project_body)


def _wrong_password() -> Unauthenticated:
    return Unauthenticated(
        "The request you have made requires authentication.",
        next_action="Check the original password.",
    )


def find_users(
    conn: sa.Connection,
    call: Call,
    wanted: list[tuple[str, Any]],
    ids: sa.Select[Any] | None = None,
) -> list[Row]:
    if any(name in _NOBODY_BY for name, _ in call.args):
        return []
    return store.find(conn, tables.users, wanted, ids=ids)
