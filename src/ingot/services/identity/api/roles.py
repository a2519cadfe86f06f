"""Roles and what they imply, on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import grants, schemas, store, tables
from ingot.services.identity.api.common import (
    MAX_BODY,
    filters,
    linked,
    listing,
    need_domain,
)
from ingot.services.identity.bootstrap import ROLES

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

from ingot.services.identity.api.common import Row


def role_body(row: Row, base_url: str) -> Row:
    body: Row = {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"] or None,
        "description": row.get("description"),
        "options": {},
    }
    return linked(body, base_url, f"roles/{row['id']}")


def operations(identity: Identity, prefix: str) -> list[Operation]:
    api = _Roles(identity)
    one, implies = "/v3/roles/{role_id}", "/v3/roles/{role_id}/implies"
    implied = implies + "/{implied_id}"

    def row(verb: str, path: str, handler: Any, rule: str, status: int = 200, **more: Any) -> Any:
        return Operation(
            verb,
            path,
            handler,
            rule=f"identity:{rule}",
            status=status,
            max_body=MAX_BODY,
            **more,
        )

    return [
        row("GET", "/v3/roles", api.index, "list_roles"),
        row("POST", "/v3/roles", api.create, "create_role", 201, body=schemas.RoleBody),
        row("GET", one, api.show, "get_role"),
        row("PATCH", one, api.update, "update_role", body=schemas.RoleBody),
        row("DELETE", one, api.delete, "delete_role", 204),
        row("GET", implies, api.implied, "list_implied_roles"),
        row("GET", implied, api.inference, "get_implied_role"),
        row("HEAD", implied, api.inference, "check_implied_role", 204),
        row("PUT", implied, api.imply, "create_implied_role", 201),
        row("DELETE", implied, api.unimply, "delete_implied_role", 204),
        row("GET", "/v3/role_inferences", api.inferences, "list_role_inference_rules"),
    ]


def _short(row: Row, base_url: str) -> Row:
    return linked({"id": row["id"], "name": row["name"]}, base_url, f"roles/{row['id']}")


class _Roles:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def _get(self, key: str) -> Row:
        return await self._identity.db.read(
            lambda conn: store.need(conn, tables.roles, key, "role")
        )

    async def index(self, call: Call) -> Reply:
        wanted = filters(call, ("domain_id", "name"))
        if "domain_id" not in dict(wanted):
            wanted.append(("domain_id", ""))
        rows = await self._identity.db.scan(lambda conn: store.find(conn, tables.roles, wanted))
        return listing(call, "roles", rows, role_body)

    async def show(self, call: Call) -> Reply:
        return Reply({"role": role_body(await self._get(call.params["role_id"]), call.base_url)})

    async def create(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.role, schemas.RoleFields, ("name",))
        row: Row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "domain_id": values.get("domain_id") or "",
            "description": values.get("description"),
            "extra": extra,
        }

        def make(conn: sa.Connection) -> None:
            if row["domain_id"]:
                need_domain(conn, row["domain_id"])
            store.insert(conn, tables.roles, row, "role")
            store.touch(conn)

        await self._identity.write(make)
        return Reply({"role": role_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.role, schemas.RoleFields)
        if "name" in values and values["name"] is None:
            raise Invalid("The name of a role cannot be null.")
        domain_id = values.pop("domain_id", None) or ""

        def change(conn: sa.Connection) -> Row:
            row = store.need(conn, tables.roles, call.params["role_id"], "role")
            if domain_id not in ("", row["domain_id"]):
                raise Invalid("Cannot change the domain of a role.")
            if row["name"] in ROLES and values.get("name", row["name"]) != row["name"]:
                raise Forbidden(f"The role {row['name']} is named in policies and keeps its name.")
            merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
            store.update(conn, tables.roles, row["id"], {**values, "extra": merged}, "role")
            store.touch(conn)
            return store.need(conn, tables.roles, row["id"], "role")

        return Reply({"role": role_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = store.need(conn, tables.roles, call.params["role_id"], "role")
            if row["name"] == "admin" and not row["domain_id"]:
                raise Forbidden(
                    "The admin role cannot be deleted: nobody could administer any more."
                )
            store.delete(conn, tables.roles, row["id"])
            store.touch(conn)

        await self._identity.write(remove)

    # -- implications ------------------------------------------------------------------------

    @staticmethod
    def _pair(conn: sa.Connection, call: Call) -> tuple[Row, Row]:
        prior = store.need(conn, tables.roles, call.params["role_id"], "role")
        return prior, store.need(conn, tables.roles, call.params["implied_id"], "role")

    async def implied(self, call: Call) -> Reply:
        prior = await self._get(call.params["role_id"])
        book = await self._identity.roles()
        shown = [
            _short({"id": key, "name": book.roles[key].name}, call.base_url)
            for key in sorted(book.implied.get(prior["id"], ()))
        ]
        body = {"prior_role": _short(prior, call.base_url), "implies": shown}
        return Reply({"role_inference": body, "links": {"self": call.url}})

    async def inference(self, call: Call) -> Reply:
        prior, implied = await self._identity.db.read(lambda conn: self._pair(conn, call))
        book = await self._identity.roles()
        if implied["id"] not in book.implied.get(prior["id"], ()):
            raise Missing(f"{prior['id']} does not imply {implied['id']}.")
        return self._implication_reply(call, prior, implied)

    async def imply(self, call: Call) -> Reply:
        def imply(conn: sa.Connection) -> tuple[Row, Row]:
            prior, implied = self._pair(conn, call)
            if implied["domain_id"] and not prior["domain_id"]:
                raise Forbidden("A role of the whole cloud cannot imply one of a domain.")
            reached = grants.role_book(conn).reached([implied["id"]])
            if prior["id"] in reached:
                raise Invalid("A role cannot imply itself, directly or through others.")
            if implied["name"] == "admin" and not implied["domain_id"]:
                raise Forbidden("The admin role cannot be implied.")
            grants.set_implied(conn, prior["id"], implied["id"], True)
            return prior, implied

        return self._implication_reply(call, *await self._identity.write(imply))

    async def unimply(self, call: Call) -> None:
        def end(conn: sa.Connection) -> None:
            prior, implied = self._pair(conn, call)
            if not grants.set_implied(conn, prior["id"], implied["id"], False):
                raise Missing(f"{prior['id']} does not imply {implied['id']}.")

        await self._identity.write(end)

    async def inferences(self, call: Call) -> Reply:
        book = await self._identity.roles()

        def short(key: str) -> Row:
            return _short({"id": key, "name": book.roles[key].name}, call.base_url)

        body = [
            {"prior_role": short(prior), "implies": [short(key) for key in sorted(implied)]}
            for prior, implied in sorted(book.implied.items())
        ]
        return Reply({"role_inferences": body, "links": {"self": call.url}})

    @staticmethod
    def _implication_reply(call: Call, prior: Row, implied: Row) -> Reply:
        body = {
            "prior_role": _short(prior, call.base_url),
            "implies": _short(implied, call.base_url),
        }
        return Reply({"role_inference": body, "links": {"self": call.url}})
