"""Projects (with tags) and domains on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.identity import schemas, store, tables
from ingot.identity.api.common import (
    MAX_BODY,
    domain_of,
    filters,
    limit_of,
    linked,
    listing,
    need_domain,
)
from ingot.identity.types import DEFAULT_DOMAIN
from ingot.kit import ids
from ingot.kit.faults import Conflict, Forbidden, Invalid, Missing
from ingot.kit.web import Call, Operation, Reply

if TYPE_CHECKING:
    from ingot.identity.service import Identity

Row = dict[str, Any]

PROJECTS_BY = ("domain_id", "enabled", "name", "parent_id", "is_domain")
PROJECT_FLAGS = ("enabled", "is_domain")
_DOMAINS_BY = ("enabled", "name")
_TAGS_BY = ("tags", "tags-any", "not-tags", "not-tags-any")


def project_body(row: Row, base_url: str) -> Row:
    body: Row = {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "parent_id": row["parent_id"] or row["domain_id"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "is_domain": bool(row["is_domain"]),
        "tags": row["tags"],
        "options": {},
    }
    if row["is_domain"]:
        body |= {"domain_id": None, "parent_id": None}
    return linked(body, base_url, f"projects/{row['id']}")


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
    projects, domains = _Projects(identity), _Domains(identity)
    one, tag = "/v3/projects/{project_id}", "/v3/projects/{project_id}/tags/{tag}"
    tags, domain = "/v3/projects/{project_id}/tags", "/v3/domains/{domain_id}"

    def row(verb: str, path: str, handler: Any, rule: str, status: int = 200, **more: Any) -> Any:
        return Operation(
            verb,
            path,
            handler,
            rule=f"identity:{rule}",
            late=True,
            status=status,
            max_body=MAX_BODY,
            **more,
        )

    project_body_, domain_body_ = schemas.ProjectBody, schemas.DomainBody
    return [
        row("GET", "/v3/projects", projects.index, "list_projects"),
        row("POST", "/v3/projects", projects.create, "create_project", 201, body=project_body_),
        row("GET", one, projects.show, "get_project"),
        row("PATCH", one, projects.update, "update_project", body=project_body_),
        row("DELETE", one, projects.delete, "delete_project", 204),
        row("GET", tags, projects.tags, "list_project_tags"),
        row("PUT", tags, projects.set_tags, "update_project_tags", body=schemas.TagsBody),
        row("DELETE", tags, projects.clear_tags, "delete_project_tags", 204),
        row("GET", tag, projects.has_tag, "get_project_tag", 204),
        row("PUT", tag, projects.add_tag, "create_project_tag", 201),
        row("DELETE", tag, projects.drop_tag, "delete_project_tag", 204),
        row("GET", "/v3/domains", domains.index, "list_domains"),
        row("POST", "/v3/domains", domains.create, "create_domain", 201, body=domain_body_),
        row("GET", domain, domains.show, "get_domain"),
        row("PATCH", domain, domains.update, "update_domain", body=domain_body_),
        row("DELETE", domain, domains.delete, "delete_domain", 204),
    ]


def _target(row: Row | None) -> Row:
    domain_id = (row["domain_id"] or row["id"]) if row else None
    return {
        "target.project.id": row["id"] if row else None,
        "target.project.domain_id": domain_id,
        "target.domain_id": domain_id,
    }


class _Projects:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def _get(self, call: Call, rule: str) -> Row:
        """The project of the path, if the caller may; who may not is not told whether it is there."""
        key = call.params["project_id"]
        row = await self._identity.db.read(lambda conn: store.get(conn, tables.projects, key))
        call.require(f"identity:{rule}", _target(row))
        if row is None:
            raise Missing(f"Could not find project: {key}.")
        return row

    async def index(self, call: Call) -> Reply:
        wanted = filters(call, PROJECTS_BY, PROJECT_FLAGS)
        given = dict(wanted)
        domain_id = given.get("domain_id") or call.caller.domain_id
        call.require("identity:list_projects", {"target.domain_id": domain_id})
        if call.caller.domain_id and "domain_id" not in given:
            wanted.append(("domain_id", call.caller.domain_id))
        if "is_domain" not in given:
            wanted.append(("is_domain", False))
        marks = {key: value for key, value in call.args if key in _TAGS_BY}
        limit = None if marks else _peek(call)
        rows = await self._identity.db.scan(
            lambda conn: store.find(conn, tables.projects, wanted, limit=limit)
        )
        return listing(call, "projects", [r for r in rows if _tagged(r, marks)], project_body)

    async def show(self, call: Call) -> Reply:
        row = await self._get(call, "get_project")
        return Reply({"project": project_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.project, schemas.ProjectFields, ("name",))
        if values.get("is_domain"):
            raise Invalid("Make a domain by POST /v3/domains.")

        def check(conn: sa.Connection) -> tuple[str, str]:
            parent_id = values.get("parent_id")
            if parent_id is None:
                domain_id = domain_of(call, values.get("domain_id"), DEFAULT_DOMAIN)
                return domain_id, domain_id
            parent = store.need(conn, tables.projects, parent_id, "project")
            domain_id = parent["domain_id"] or parent["id"]
            if values.get("domain_id") not in (None, domain_id):
                raise Invalid("The parent project is in another domain than the one given.")
            return domain_id, parent_id

        domain_id, parent_id = await self._identity.db.read(check)
        call.require(
            "identity:create_project",
            {"target.project.domain_id": domain_id, "target.domain_id": domain_id},
        )
        row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "domain_id": domain_id,
            "parent_id": parent_id,
            "is_domain": False,
            "enabled": values.get("enabled", True),
            "description": values.get("description") or "",
            "tags": values.get("tags", []),
            "extra": extra,
        }

        def make(conn: sa.Connection) -> None:
            need_domain(conn, domain_id)
            store.insert(conn, tables.projects, row, "project")

        await self._identity.write(make)
        return Reply({"project": project_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        row = await self._get(call, "update_project")
        values, extra = schemas.split(call.body.project, schemas.ProjectFields)
        if row["is_domain"]:
            raise Forbidden("Change a domain by PATCH /v3/domains.")
        for fixed in ("domain_id", "parent_id", "is_domain"):
            if values.pop(fixed, row[fixed]) != row[fixed]:
                raise Forbidden(f"Cannot change {fixed} of a project.")
        body = await self._identity.write(
            lambda conn: _change(conn, row["id"], values, extra, "project")
        )
        return Reply({"project": project_body(body, call.base_url)})

    async def delete(self, call: Call) -> None:
        row = await self._get(call, "delete_project")
        if row["is_domain"]:
            raise Forbidden("Delete a domain by DELETE /v3/domains.")

        def remove(conn: sa.Connection) -> None:
            if store.subtree(conn, row["id"]):
                raise Forbidden(f"Project {row['id']} has projects below it; delete those first.")
            store.forget_project(conn, row["id"])

        await self._identity.write(remove)

    # -- tags --------------------------------------------------------------------------------

    async def tags(self, call: Call) -> Reply:
        row = await self._get(call, "list_project_tags")
        return Reply({"tags": row["tags"], "links": {"self": call.url}})

    async def has_tag(self, call: Call) -> None:
        row = await self._get(call, "get_project_tag")
        if call.params["tag"] not in row["tags"]:
            raise Missing(f"Could not find project tag: {call.params['tag']}.")

    async def set_tags(self, call: Call) -> Reply:
        row = await self._get(call, "update_project_tags")
        tags = sorted(set(call.body.tags))
        await self._store_tags(row, tags)
        return Reply({"tags": tags, "links": {"self": call.url}})

    async def clear_tags(self, call: Call) -> None:
        await self._store_tags(await self._get(call, "delete_project_tags"), [])

    async def add_tag(self, call: Call) -> None:
        row = await self._get(call, "create_project_tag")
        tags = sorted({*row["tags"], call.params["tag"]})
        if len(tags) > 80:
            raise Invalid("A project has 80 tags at most.")
        await self._store_tags(row, tags)

    async def drop_tag(self, call: Call) -> None:
        row = await self._get(call, "delete_project_tag")
        if call.params["tag"] not in row["tags"]:
            raise Missing(f"Could not find project tag: {call.params['tag']}.")
        await self._store_tags(row, [tag for tag in row["tags"] if tag != call.params["tag"]])

    async def _store_tags(self, row: Row, tags: list[str]) -> None:
        await self._identity.write(
            lambda conn: store.update(conn, tables.projects, row["id"], {"tags": tags}, "project")
        )


class _Domains:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def _get(self, call: Call, rule: str) -> Row:
        key = call.params["domain_id"]
        call.require(f"identity:{rule}", {"target.domain.id": key})
        return await self._identity.db.read(lambda conn: need_domain(conn, key))

    async def index(self, call: Call) -> Reply:
        call.require("identity:list_domains")
        wanted = [*filters(call, _DOMAINS_BY), ("is_domain", True)]
        rows = await self._identity.db.scan(
            lambda conn: store.find(conn, tables.projects, wanted, limit=_peek(call))
        )
        return listing(call, "domains", rows, domain_body)

    async def show(self, call: Call) -> Reply:
        row = await self._get(call, "get_domain")
        return Reply({"domain": domain_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        call.require("identity:create_domain")
        values, extra = schemas.split(call.body.domain, schemas.DomainFields, ("name",))
        row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "is_domain": True,
            "enabled": values.get("enabled", True),
            "description": values.get("description") or "",
            "tags": values.get("tags", []),
            "extra": extra,
        }
        await self._identity.write(lambda conn: store.insert(conn, tables.projects, row, "domain"))
        return Reply({"domain": domain_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        row = await self._get(call, "update_domain")
        values, extra = schemas.split(call.body.domain, schemas.DomainFields)
        if row["id"] == DEFAULT_DOMAIN and values.get("enabled") is False:
            raise Forbidden("The default domain cannot be disabled: nobody could log in any more.")
        body = await self._identity.write(
            lambda conn: _change(conn, row["id"], values, extra, "domain")
        )
        return Reply({"domain": domain_body(body, call.base_url)})

    async def delete(self, call: Call) -> None:
        row = await self._get(call, "delete_domain")
        if row["enabled"]:
            raise Forbidden(
                "Cannot delete a domain that is enabled, please disable it first.",
            )

        def remove(conn: sa.Connection) -> None:
            for kind, table in (("user", tables.users), ("group", tables.groups)):
                for key in store.ids_in_domain(conn, table, row["id"]):
                    store.forget_actor(conn, kind, key)
            for key in store.ids_in_domain(conn, tables.projects, row["id"]):
                store.forget_project(conn, key)
            for key in store.ids_in_domain(conn, tables.roles, row["id"]):
                store.delete(conn, tables.roles, key)
            store.forget_project(conn, row["id"])

        await self._identity.write(remove)


def _peek(call: Call) -> int | None:
    """One row more than asked for tells whether the list was cut."""
    limit = limit_of(call)
    return None if limit is None else limit + 1


def _change(conn: sa.Connection, key: str, values: Row, extra: Row, what: str) -> Row:
    """Write changed fields of a project or domain; disabling ends its tokens for good."""
    row = store.need(conn, tables.projects, key, what)
    for name in ("name", "enabled"):
        if name in values and values[name] is None:
            raise Conflict(f"The {name} of a {what} cannot be null.")
    if values.get("description", "") is None:
        values = {**values, "description": ""}
    merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
    store.update(conn, tables.projects, key, {**values, "extra": merged}, what)
    if values.get("enabled") is False and row["enabled"]:
        store.end_tokens_of(conn, tables.projects, key)
    else:
        store.touch(conn)
    return store.need(conn, tables.projects, key, what)


def _tagged(row: Row, marks: Row) -> bool:
    """Whether a project's tags fit: all of `tags`, one of `tags-any`, not all of `not-tags`, none of `not-tags-any`."""
    have = set(row["tags"])

    def asked(name: str) -> set[str]:
        return {tag for tag in str(marks.get(name, "")).split(",") if tag}

    if asked("tags") - have:
        return False
    if asked("tags-any") and not asked("tags-any") & have:
        return False
    if asked("not-tags-any") & have:
        return False
    return not (asked("not-tags") and asked("not-tags") <= have)
