"""Application credentials on the wire: a user's own keys for programs.

Access rules are refused, not ignored: a restriction that nobody enforces would be a lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.auth.throttle import LoginAttempt
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.common import future_end, linked, listing, moment

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

from ingot.services.identity.api.common import Row, guarded


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _AppCreds(identity)
    many = "/v3/users/{user_id}/application_credentials"
    one = many + "/{credential_id}"

    return [
        guarded("GET", many, api.index, "list_application_credentials"),
        guarded(
            "POST",
            many,
            api.create,
            "create_application_credential",
            201,
            body=schemas.AppCredBody,
        ),
        guarded("GET", one, api.show, "get_application_credential"),
        guarded("DELETE", one, api.delete, "delete_application_credential", 204),
        guarded("GET", "/v3/users/{user_id}/access_rules", api.access_rules, "list_access_rules"),
    ]


def _end_of(text: str | None) -> str | None:
    """As Keystone writes it here, and nowhere else: without a zone."""
    told = moment(text)
    return None if told is None else told.removesuffix("Z")


class _AppCreds:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @staticmethod
    def _check(call: Call, rule: str) -> str:
        call.require(f"identity:{rule}", {"target.user.id": call.params["user_id"]})
        return call.params["user_id"]

    async def _body(self, row: Row, base_url: str) -> Row:
        book = await self._identity.roles()
        roles = [book.roles[key] for key in row["role_ids"] if key in book.roles]
        body = {
            "id": row["id"],
            "name": row["name"],
            "description": row["description"],
            "user_id": row["user_id"],
            "project_id": row["project_id"],
            "expires_at": _end_of(row["expires_at"]),
            "unrestricted": bool(row["unrestricted"]),
            "system": None,
            "access_rules": [],
            "roles": [{"id": role.id, "name": role.name, "domain_id": None} for role in roles],
        }
        return linked(body, base_url, f"users/{row['user_id']}/application_credentials/{row['id']}")

    async def index(self, call: Call) -> Reply:
        user_id = self._check(call, "list_application_credentials")
        wanted = [("user_id", user_id)]
        wanted += [(key, value) for key, value in call.args if key == "name"]
        rows = await self._identity.db.read(
            lambda conn: store.find(conn, tables.application_credentials, wanted)
        )
        bodies = {row["id"]: await self._body(row, call.base_url) for row in rows}
        return listing(call, "application_credentials", rows, lambda row, _url: bodies[row["id"]])

    async def _get(self, call: Call, rule: str) -> Row:
        user_id = self._check(call, rule)
        return await self._identity.db.read(lambda conn: self._find(conn, call, user_id))

    @staticmethod
    def _find(conn: sa.Connection, call: Call, user_id: str) -> Row:
        key = call.params["credential_id"]
        row = store.get(conn, tables.application_credentials, key)
        if row is None or row["user_id"] != user_id:
            raise Missing(f"Could not find application credential: {key}.")
        return row

    async def show(self, call: Call) -> Reply:
        row = await self._get(call, "get_application_credential")
        return Reply({"application_credential": await self._body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        user_id = self._check(call, "create_application_credential")
        caller, new = call.caller, call.body.application_credential
        self._may_make(call)
        if new.access_rules:
            raise Invalid("Access rules are not supported: they would not be enforced.")
        if caller.project_id is None or new.project_id not in (None, caller.project_id):
            raise Invalid("An application credential is for the project of the token in use.")
        secret = new.secret or ids.new_secret(64)
        row: Row = {
            "id": ids.new_hex(),
            "user_id": user_id,
            "project_id": caller.project_id,
            "name": new.name,
            "description": new.description or "",
            "secret_hash": await self._identity.passwords.hash(
                secret, LoginAttempt.of(call.remote, user_id)
            ),
            "unrestricted": bool(new.unrestricted),
            "expires_at": future_end(new.expires_at, self._identity.clock.now()),
            "role_ids": await self._role_ids(call, new.roles),
        }

        def make(conn: sa.Connection) -> None:
            store.need(conn, tables.users, user_id, "user")
            store.need(conn, tables.projects, row["project_id"], "project")
            store.insert(conn, tables.application_credentials, row, "application_credential")

        await self._identity.write(make)
        body = {**await self._body(row, call.base_url), "secret": secret}
        return Reply({"application_credential": body})

    async def delete(self, call: Call) -> None:
        user_id = self._check(call, "delete_application_credential")
        self._may_make(call)

        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, user_id)
            store.delete(conn, tables.application_credentials, row["id"])
            store.touch(conn)

        await self._identity.write(remove)

    async def access_rules(self, call: Call) -> Reply:
        self._check(call, "list_access_rules")
        return listing(call, "access_rules", [], lambda row, _url: row)

    # -- inside ------------------------------------------------------------------------------

    @staticmethod
    def _may_make(call: Call) -> None:
        """A restricted credential makes and deletes no credentials: it could outlive itself."""
        if not call.caller.extra.get("unrestricted", True):
            raise Forbidden(
                "A restricted application credential cannot manage application credentials."
            )
        if call.caller.extra.get("trust_id"):
            raise Forbidden("A token of a trust cannot manage application credentials.")

    async def _role_ids(self, call: Call, wanted: list[schemas.Named] | None) -> list[str]:
        """The roles asked for, each of which the caller must have; all of the caller's by default."""
        own: Any = call.caller.extra.get("role_ids", ())
        if not wanted:
            return list(own)
        book = await self._identity.roles()
        by_name = {role.name: role.id for role in book.roles.values() if role.domain_id is None}
        chosen: list[str] = []
        for role in wanted:
            key = role.id or by_name.get(role.name or "")
            if key is None or key not in own:
                raise Invalid(f"Cannot give the role {role.id or role.name}: it is not yours here.")
            chosen.append(key)
        return chosen
