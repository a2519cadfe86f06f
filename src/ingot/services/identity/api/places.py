"""Projects (with tags) and domains on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Conflict, Forbidden, Invalid, Missing
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.common import (
    MAX_BODY,
    domain_of,
    filters,
    limit_of,
    linked,
    listing,
    need_domain,
    of_domain,
    of_path,
)
from ingot.services.identity.types import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

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
        return await self._identity.db.read(lambda conn: self._find(conn, call, rule))

    @staticmethod
    def _find(conn: sa.Connection, call: Call, rule: str) -> Row:
        return of_path(conn, call, tables.projects, "project", rule, _target)

    async def index(self, call: Call) -> Reply:
        wanted = of_domain(call, "list_projects", filters(call, PROJECTS_BY, PROJECT_FLAGS))
        if "is_domain" not in dict(wanted):
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

        row: Row = {
            "id": ids.new_hex(),
            "name": values["name"],
            "is_domain": False,
            "enabled": values.get("enabled", True),
            "description": values.get("description") or "",
            "tags": values.get("tags", []),
            "extra": extra,
        }

        def make(conn: sa.Connection) -> Row:
            domain_id, parent_id = _place(conn, call, values)
            need_domain(conn, domain_id)
            made = {**row, "domain_id": domain_id, "parent_id": parent_id}
            store.insert(conn, tables.projects, made, "project")
            return made

        made = await self._identity.write(make)
        return Reply({"project": project_body(made, call.base_url)})

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.project, schemas.ProjectFields)
        fixed = {
            key: values.pop(key) for key in ("domain_id", "parent_id", "is_domain") if key in values
        }

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_project")
            if row["is_domain"]:
                raise Forbidden("Change a domain by PATCH /v3/domains.")
            for key, value in fixed.items():
                if value != row[key]:
                    raise Forbidden(f"Cannot change {key} of a project.")
            return _change(conn, row, values, extra, "project")

        return Reply({"project": project_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_project")
            if row["is_domain"]:
                raise Forbidden("Delete a domain by DELETE /v3/domains.")
            if store.subtree(conn, row["id"]):
                raise Forbidden(f"Project {row['id']} has projects below it; delete those first.")
            self._identity.leave(conn, row["id"], row["name"])
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
        tags = sorted(set(call.body.tags))
        await self._change_tags(call, "update_project_tags", lambda _tags: tags)
        return Reply({"tags": tags, "links": {"self": call.url}})

    async def clear_tags(self, call: Call) -> None:
        await self._change_tags(call, "delete_project_tags", lambda _tags: [])

    async def add_tag(self, call: Call) -> None:
        tag = call.params["tag"]
        if not 0 < len(tag) <= 255 or set(tag) & set(",/"):
            raise Invalid("A tag has 1 to 255 characters, no comma and no slash.")

        def add(tags: list[str]) -> list[str]:
            more = sorted({*tags, tag})
            if len(more) > 80:
                raise Invalid("A project has 80 tags at most.")
            return more

        await self._change_tags(call, "create_project_tag", add)

    async def drop_tag(self, call: Call) -> None:
        tag = call.params["tag"]

        def drop(tags: list[str]) -> list[str]:
            if tag not in tags:
                raise Missing(f"Could not find project tag: {tag}.")
            return [other for other in tags if other != tag]

        await self._change_tags(call, "delete_project_tag", drop)

    async def _change_tags(
        self, call: Call, rule: str, new: Callable[[list[str]], list[str]]
    ) -> None:
        def change(conn: sa.Connection) -> None:
            row = self._find(conn, call, rule)
            store.update(conn, tables.projects, row["id"], {"tags": new(row["tags"])}, "project")

        await self._identity.write(change)


class _Domains:
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
            lambda conn: store.find(conn, tables.projects, wanted, limit=_peek(call))
        )
        return listing(call, "domains", rows, domain_body)

    async def show(self, call: Call) -> Reply:
        row = await self._identity.db.read(lambda conn: self._find(conn, call, "get_domain"))
        return Reply({"domain": domain_body(row, call.base_url)})

    async def create(self, call: Call) -> Reply:
        call.require("identity:create_domain")
        values, extra = schemas.split(call.body.domain, schemas.DomainFields, ("name",))
        row: dict[str, Any] = {
            "id": ids.new_hex(),
            "name": values["name"],
            "is_domain": True,
            "enabled": values.get("enabled", True),
            "description": values.get("description") or "",
            "tags": values.get("tags", []),
            "extra": extra,
        }

        def make(conn: sa.Connection) -> None:
            _need_free_name(conn, row["id"], row["name"])
            store.insert(conn, tables.projects, row, "domain")

        await self._identity.write(make)
        return Reply({"domain": domain_body(row, call.base_url)})

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.domain, schemas.DomainFields)

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_domain")
            if row["id"] == DEFAULT_DOMAIN and values.get("enabled") is False:
                raise Forbidden(
                    "The default domain cannot be disabled: nobody could log in any more."
                )
            if values.get("name"):
                _need_free_name(conn, row["id"], values["name"])
            return _change(conn, row, values, extra, "domain")

        return Reply({"domain": domain_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_domain")
            if row["enabled"]:
                raise Forbidden(
                    "Cannot delete a domain that is enabled, please disable it first.",
                )
            for kind, table in (("user", tables.users), ("group", tables.groups)):
                for key in store.ids_in_domain(conn, table, row["id"]):
                    store.forget_actor(conn, kind, key)
            for key in store.ids_in_domain(conn, tables.projects, row["id"]):
                self._identity.leave(
                    conn, key, store.need(conn, tables.projects, key, "project")["name"]
                )
                store.forget_project(conn, key)
            for key in store.ids_in_domain(conn, tables.roles, row["id"]):
                store.delete(conn, tables.roles, key)
            store.forget_project(conn, row["id"])

        await self._identity.write(remove)


def _need_free_name(conn: sa.Connection, key: str, name: str) -> None:
    other = store.domain_by_name(conn, name)
    if other is not None and other["id"] != key:
        raise Conflict(
            f"Conflict occurred attempting to store domain - Duplicate entry found with name {name}."
        )


def _place(conn: sa.Connection, call: Call, values: Row) -> tuple[str, str]:
    """Domain and parent of a new project, if the caller may make it there.

    A parent where they may not is to them as one that is not there.
    """
    given, parent_id = values.get("domain_id"), values.get("parent_id")
    domain_id = domain_of(call, given, DEFAULT_DOMAIN)
    if parent_id is None:
        call.require("identity:create_project", _in_domain(domain_id))
        return domain_id, domain_id
    parent = store.get(conn, tables.projects, parent_id)
    place = _in_domain((parent["domain_id"] or parent["id"]) if parent else None)
    if parent is None or not call.allows("identity:create_project", place):
        call.require("identity:create_project", _in_domain(domain_id))
        raise Missing(f"Could not find project: {parent_id}.")
    if given not in (None, place["target.domain_id"]):
        raise Invalid("The parent project is in another domain than the one given.")
    return place["target.domain_id"], parent_id


def _in_domain(domain_id: str | None) -> Row:
    return {"target.project.domain_id": domain_id, "target.domain_id": domain_id}


def _peek(call: Call) -> int | None:
    """One row more than asked for tells whether the list was cut."""
    limit = limit_of(call)
    return None if limit is None else limit + 1


def _change(conn: sa.Connection, row: Row, values: Row, extra: Row, what: str) -> Row:
    """Write changed fields of a project or domain; disabling ends its tokens for good."""
    key = row["id"]
    for name in ("name", "enabled"):
        if name in values and values[name] is None:
            raise Conflict(f"The {name} of a {what} cannot be null.")
    if values.get("description", "") is None:
        values = {**values, "description": ""}
    merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
    store.update(conn, tables.projects, key, {**values, "extra": merged}, what)
    if values.get("enabled") is False and row["enabled"]:
        store.end_tokens_of(conn, tables.projects, key)
        if row["is_domain"]:
            store.end_tokens_of_domain(conn, key)
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
