"""Projects and their tags: handlers and wire forms of /v3/projects."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import schemas, store, tables
from ingot.services.identity.api.common import (
    Row,
    domain_of,
    filters,
    guarded,
    limit_and_one,
    linked,
    listing,
    need_domain,
    of_domain,
    of_path,
)
from ingot.services.identity.api.domains import change_domain, new_domain, remove_domain
from ingot.services.identity.api.project_rows import update_project_row
from ingot.services.identity.types import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity


PROJECTS_BY = ("domain_id", "enabled", "name", "parent_id", "is_domain")
PROJECT_FLAGS = ("enabled", "is_domain")
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


def operations(identity: Identity, prefix: str) -> list[Operation]:
    projects = Projects(identity)
    one, tag = "/v3/projects/{project_id}", "/v3/projects/{project_id}/tags/{tag}"
    tags = "/v3/projects/{project_id}/tags"

    body = schemas.ProjectBody
    return [
        guarded("GET", "/v3/projects", projects.index, "list_projects"),
        guarded("POST", "/v3/projects", projects.create, "create_project", 201, body=body),
        guarded("GET", one, projects.show, "get_project"),
        guarded("PATCH", one, projects.update, "update_project", body=body),
        guarded("DELETE", one, projects.delete, "delete_project", 204),
        guarded("GET", tags, projects.tags, "list_project_tags"),
        guarded("PUT", tags, projects.set_tags, "update_project_tags", body=schemas.TagsBody),
        guarded("DELETE", tags, projects.clear_tags, "delete_project_tags", 204),
        guarded("GET", tag, projects.has_tag, "get_project_tag", 204),
        guarded("PUT", tag, projects.add_tag, "create_project_tag", 201),
        guarded("DELETE", tag, projects.drop_tag, "delete_project_tag", 204),
    ]


def _target(row: Row | None) -> Row:
    domain_id = (row["domain_id"] or row["id"]) if row else None
    return {
        "target.project.id": row["id"] if row else None,
        "target.project.domain_id": domain_id,
        "target.domain_id": domain_id,
    }


class Projects:
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
        limit = None if marks else limit_and_one(call)
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
            return await self._create_domain(call, values, extra)

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

    async def _create_domain(self, call: Call, values: Row, extra: Row) -> Reply:
        """A project that acts as a domain is a domain: in no other, and below nothing."""
        call.require("identity:create_project", _in_domain(None))
        if values.get("domain_id") or values.get("parent_id"):
            raise Invalid("A project that acts as a domain is in no domain and below no project.")
        row = await self._identity.write(lambda conn: new_domain(conn, values, extra))
        return Reply(
            {"project": project_body({"domain_id": "", "parent_id": "", **row}, call.base_url)}
        )

    async def update(self, call: Call) -> Reply:
        values, extra = schemas.split(call.body.project, schemas.ProjectFields)
        fixed = {
            key: values.pop(key) for key in ("domain_id", "parent_id", "is_domain") if key in values
        }

        def change(conn: sa.Connection) -> Row:
            row = self._find(conn, call, "update_project")
            for key, value in fixed.items():
                if (value or "") != (row[key] or ""):
                    raise Forbidden(f"Cannot change {key} of a project.")
            if row["is_domain"]:
                call.require("identity:update_domain", {"target.domain.id": row["id"]})
                return change_domain(conn, row, values, extra)
            return update_project_row(conn, row, values, extra, "project")

        return Reply({"project": project_body(await self._identity.write(change), call.base_url)})

    async def delete(self, call: Call) -> None:
        def remove(conn: sa.Connection) -> None:
            row = self._find(conn, call, "delete_project")
            if row["is_domain"]:
                call.require("identity:delete_domain", {"target.domain.id": row["id"]})
                return remove_domain(self._identity, conn, row)
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
