"""Domains: handlers and wire forms of /v3/domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Conflict, Forbidden
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.common import (
    Row,
    filters,
    guarded,
    limit_and_one,
    linked,
    listing,
    need_domain,
)
from ingot.services.identity.api.project_rows import update_project_row
from ingot.services.identity.types import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

_DOMAINS_BY = ("enabled", "name")


def domain_body(row: Row, base_url: str) -> Row:
    body: Row = {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "tags": row["tags"],
        "options": {},
    }
    return linked(body, base_url, f"domains/{row['id']}")


def operations(identity: Identity, prefix: str) -> list[Operation]:
    domains = Domains(identity)
    domain, body = "/v3/domains/{domain_id}", schemas.DomainBody
    return [
        guarded("GET", "/v3/domains", domains.index, "list_domains"),
        guarded("POST", "/v3/domains", domains.create, "create_domain", 201, body=body),
        guarded("GET", domain, domains.show, "get_domain"),
        guarded("PATCH", domain, domains.update, "update_domain", body=body),
        guarded("DELETE", domain, domains.delete, "delete_domain", 204),
    ]


class Domains:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    @staticmethod
    def _find(conn: sa.Connection, call: Call, rule: str) -> Row:
        key = call.params["domain_id"]
        call.require(f"identity:{rule}", {"target.domain.id": key})
        return need_domain(conn, key)

    async def index(self, call: Call) -> Reply:
        call.require("identity:list_domains")
        wanted = [
            ("name__iexact" if key == "name" else key, value)
            for key, value in filters(call, _DOMAINS_BY)
        ]
        wanted.append(("is_domain", True))
        rows = await self._identity.db.scan(
            lambda conn: store.find(conn, tables.projects, wanted, limit=limit_and_one(call))
        )
        return listing(call, "domains", rows, domain_body)

    async def show(self, call: Call) -> Reply:
        row = await self._identity.db.read(lambda conn: self._find(conn, call, "get_domain"))
        return Reply({"domain": domain_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        call.require("identity:create_domain")
        values, extra = schemas.split(call.body.domain, schemas.DomainFields, ("name",))
        row = await self._identity.write(lambda conn: new_domain(conn, values, extra))
        return Reply({"domain": domain_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.domain, schemas.DomainFields)

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_domain")
            return change_domain(conn, row, values, extra)

        return Reply({"domain": domain_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_domain")
            remove_domain(self._identity, conn, row)

        await self._identity.write(remove)


def new_domain(conn: sa.Connection, values: Row, extra: Row) -> Row:
    """The row of a new domain; Conflict where its name is taken."""
    row: dict[str, Any] = {
        "id": ids.new_hex(),
        "name": values["name"],
        "is_domain": True,
        "enabled": values.get("enabled", True),
        "description": values.get("description") or "",
        "tags": values.get("tags", []),
        "extra": extra,
    }
    _need_free_name(conn, row["id"], row["name"])
    store.insert(conn, tables.projects, row, "domain")
    return row


def change_domain(conn: sa.Connection, row: Row, values: Row, extra: Row) -> Row:
    """The row of a domain after a change; Forbidden for disabling the default one."""
    if row["id"] == DEFAULT_DOMAIN and values.get("enabled") is False:
        raise Forbidden("The default domain cannot be disabled: nobody could log in any more.")
    if values.get("name"):
        _need_free_name(conn, row["id"], values["name"])
    return update_project_row(conn, row, values, extra, "domain")


def remove_domain(identity: Identity, conn: sa.Connection, row: Row) -> None:
    """Delete a disabled domain with all that is in it."""
    if row["enabled"]:
        raise Forbidden(
            "Cannot delete a domain that is enabled, please disable it first.",
        )
    for kind, table in (("user", tables.users), ("group", tables.groups)):
        for key in store.ids_in_domain(conn, table, row["id"]):
            store.forget_actor(conn, kind, key)
    for key in store.ids_in_domain(conn, tables.projects, row["id"]):
        identity.leave(conn, key, store.need(conn, tables.projects, key, "project")["name"])
        store.forget_project(conn, key)
    for key in store.ids_in_domain(conn, tables.roles, row["id"]):
        store.delete(conn, tables.roles, key)
    store.forget_project(conn, row["id"])


def _need_free_name(conn: sa.Connection, key: str, name: str) -> None:
    other = store.domain_by_name(conn, name)
    if other is not None and other["id"] != key:
        raise Conflict(
            f"Conflict occurred attempting to store domain - Duplicate entry found with name {name}."
        )
