"""OS-TRUST: a user lets another act with some of their roles in a project, in their name or not.

Trusts are always for a project. A trust ends with its time, its uses, either user, the project and the trustor's
roles; tokens of it end with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import when
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import grants, schemas, store, tables, trust_store
from ingot.services.identity.api.common import (
    Row,
    future_end,
    guarded,
    linked,
    listing,
    moment,
)
from ingot.services.identity.api.roles import role_body
from ingot.services.identity.types import Scope

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _Trusts(identity)
    many, one = "/v3/OS-TRUST/trusts", "/v3/OS-TRUST/trusts/{trust_id}"
    return [
        guarded("GET", many, api.index, "list_trusts"),
        guarded("POST", many, api.create, "create_trust", 201, body=schemas.TrustBody),
        guarded("GET", one, api.show, "get_trust"),
        guarded("DELETE", one, api.delete, "delete_trust", 204),
        guarded("GET", f"{one}/roles", api.roles, "list_roles_for_trust"),
        guarded("GET", f"{one}/roles/{{role_id}}", api.role, "get_role_for_trust"),
    ]


class _Trusts:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    # -- looking -------------------------------------------------------------------------------

    async def index(self, call: Call) -> Reply:
        given = dict(call.args)
        wanted = {
            name: given[name] for name in ("trustor_user_id", "trustee_user_id") if given.get(name)
        }
        rule = "list_trusts"
        for name in wanted:
            rule = f"list_trusts_for_{name.removesuffix('_user_id')}"
            break
        call.require(f"identity:{rule}", {f"target.trust.{k}": v for k, v in wanted.items()})
        now = self._identity.clock.now()
        rows = await self._identity.db.scan(lambda conn: trust_store.of(conn, wanted, now))
        return listing(call, "trusts", rows, _body)

    async def show(self, call: Call) -> Reply:
        row = await self._identity.db.read(lambda conn: self._find(conn, call, "get_trust"))
        return Reply({"trust": await self._whole(row, call.base_url)})

    async def roles(self, call: Call) -> Reply:
        row = await self._identity.db.read(
            lambda conn: self._find(conn, call, "list_roles_for_trust")
        )
        return listing(call, "roles", await self._roles(row), role_body)

    async def role(self, call: Call) -> Reply:
        row = await self._identity.db.read(
            lambda conn: self._find(conn, call, "get_role_for_trust")
        )
        for role in await self._roles(row):
            if role["id"] == call.params["role_id"]:
                return Reply({"role": role_body(role, call.base_url)})
        raise Missing(f"Could not find role: {call.params['role_id']}.")

    def _find(self, conn: sa.Connection, call: Call, rule: str) -> Row:
        """The trust that the path names, if the caller may; used up and expired ones are gone."""
        key = call.params["trust_id"]
        row = trust_store.get(conn, key, self._identity.clock.now())
        mine = row is not None and call.caller.user_id in {row[name] for name in _USERS}
        target = {f"target.trust.{name}": row[name] for name in _USERS} if row else {}
        if mine:
            call.require(f"identity:{rule}", target)
        # To strangers a trust of others and one that is not there are alike.
        if row is None or row["remaining_uses"] == 0 or not call.allows(f"identity:{rule}", target):
            raise Missing(f"Could not find trust: {key}.")
        return row

    async def _roles(self, row: Row) -> list[Row]:
        def find(conn: sa.Connection) -> list[Row]:
            found = [store.get(conn, tables.roles, key) for key in row["role_ids"]]
            return [role for role in found if role is not None]

        return await self._identity.db.read(find)

    async def _whole(self, row: Row, base_url: str) -> Row:
        roles = await self._roles(row)
        links = {"self": f"{base_url}/v3/OS-TRUST/trusts/{row['id']}/roles"}
        return {
            **_body(row, base_url),
            "roles": [role_body(role, base_url) for role in roles],
            "roles_links": {**links, "next": None, "previous": None},
        }

    # -- changing ------------------------------------------------------------------------------

    async def create(self, call: Call) -> Reply:
        new: schemas.TrustNew = call.body.trust
        call.require("identity:create_trust", {"trust.trustor_user_id": new.trustor_user_id})
        if not call.caller.extra.get("unrestricted", True):
            raise Forbidden("A restricted application credential cannot manage trusts.")
        bound = call.caller.extra.get("application_credential_id")
        if bound and new.project_id != call.caller.project_id:
            raise Forbidden("An application credential makes trusts for its own project only.")
        if not new.roles:
            raise Forbidden("At least one role should be specified.")
        end = future_end(new.expires_at, self._identity.clock.now())
        parent_id = call.caller.extra.get("trust_id")
        row: Row = {
            "id": ids.new_hex(),
            "trustor_user_id": new.trustor_user_id,
            "trustee_user_id": new.trustee_user_id,
            "project_id": new.project_id,
            "impersonation": new.impersonation,
            "expires_at": end,
            "remaining_uses": new.remaining_uses,
            "redelegated_trust_id": parent_id,
            "redelegation_count": _count(new),
        }
        book = await self._identity.roles()

        def make(conn: sa.Connection) -> Row:
            store.need(conn, tables.users, new.trustee_user_id, "user")
            project = store.need(conn, tables.projects, new.project_id, "project")
            giver = new.trustor_user_id
            token_roles: Any = call.caller.extra.get("role_ids", ())
            own = book.reached(token_roles) if bound else None
            if parent_id:
                parent = trust_store.get(conn, str(parent_id), self._identity.clock.now())
                _check_redelegation(parent, row, new)
                assert parent is not None
                row["redelegation_count"] = parent["redelegation_count"] - 1
                row["expires_at"] = row["expires_at"] or parent["expires_at"]
                first = trust_store.root(conn, parent)
                giver = first["trustor_user_id"] if first else ""
                own = book.reached(parent["role_ids"])
            held = grants.held_roles(conn, giver, Scope("project", new.project_id), project)
            has = book.reached(held)
            row["role_ids"] = _wanted(book, new.roles, has if own is None else has & own)
            trust_store.insert(conn, row)
            return store.need(conn, tables.trusts, row["id"], "trust")

        made = await self._identity.write(make)
        return Reply({"trust": await self._whole(made, call.base_url)})

    async def delete(self, call: Call) -> None:
        if not call.caller.extra.get("unrestricted", True):
            raise Forbidden("A restricted application credential cannot manage trusts.")

        def remove(conn: sa.Connection) -> None:
            trust_store.delete(conn, self._find(conn, call, "delete_trust")["id"])

        await self._identity.write(remove)


_USERS = ("trustor_user_id", "trustee_user_id")


def _body(row: Row, base_url: str) -> Row:
    body = {
        "id": row["id"],
        "trustor_user_id": row["trustor_user_id"],
        "trustee_user_id": row["trustee_user_id"],
        "project_id": row["project_id"],
        "impersonation": bool(row["impersonation"]),
        "expires_at": moment(row["expires_at"]),
        "remaining_uses": row["remaining_uses"],
        "redelegated_trust_id": row["redelegated_trust_id"],
        "redelegation_count": row["redelegation_count"],
        "deleted_at": None,
    }
    return linked(body, base_url, f"OS-TRUST/trusts/{row['id']}")


def _count(new: schemas.TrustNew) -> int:
    """How often the new trust may be passed on."""
    if not new.allow_redelegation:
        return 0
    if new.remaining_uses is not None:
        raise Invalid("A trust that may be passed on cannot have a number of uses.")
    most = trust_store.MOST_REDELEGATIONS
    count = most if new.redelegation_count is None else new.redelegation_count
    if count > most:
        raise Forbidden(f"A trust is passed on {most} times at most.")
    return count


def _check_redelegation(parent: Row | None, row: Row, new: schemas.TrustNew) -> None:
    """Forbidden unless a token of `parent` may make this trust: never more than it was given."""
    if parent is None or parent["redelegation_count"] < 1:
        raise Forbidden("This trust must not be passed on.")
    if new.project_id != parent["project_id"]:
        raise Forbidden("A trust that is passed on is for the same project.")
    if new.impersonation and not parent["impersonation"]:
        raise Forbidden(
            "Impersonation is not allowed because the redelegated trust does not have it."
        )
    if new.remaining_uses is not None:
        raise Forbidden("A trust that is passed on cannot have a number of uses.")
    if row["redelegation_count"] >= parent["redelegation_count"]:
        raise Forbidden("The redelegation count must be below that of the trust in use.")
    mine, given = when(row["expires_at"]), when(parent["expires_at"])
    if mine is not None and given is not None and mine > given:
        raise Forbidden("The trust would last longer than the one in use.")


def _wanted(book: grants.RoleBook, wanted: list[schemas.Named], has: set[str]) -> list[str]:
    """Ids of the roles asked for, each of which the trustor must have; 404 as upstream."""
    by_name: dict[Any, str] = {
        role.name: role.id for role in book.roles.values() if role.domain_id is None
    }
    chosen: list[str] = []
    for role in wanted:
        key = role.id or by_name.get(role.name)
        if key is None or key not in has:
            raise Missing(f"Could not find role: {role.id or role.name}.")
        chosen.append(key)
    return chosen
