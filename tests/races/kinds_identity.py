"""Users, groups, roles, projects, domains, the catalogue, application credentials, and who may do what where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.races.shapes import Document, Family, Things
from tests.races.table import Case, Kind, Place

ROOT = "/identity/v3"
_DOMAIN = {"domain_id": "default"}


async def make(place: Place, what: str, **more: Any) -> str:
    """A new user, group, role or project; its id."""
    body = {"name": place.name(what[0]), **({} if what == "role" else _DOMAIN), **more}
    return str((await place.make(f"{ROOT}/{what}s", {what: body}))["id"])


async def _path(place: Place, what: str) -> str:
    return f"{ROOT}/{what}s/{await make(place, what)}"


async def user(place: Place) -> str:
    return await _path(place, "user")


async def group(place: Place) -> str:
    return await _path(place, "group")


async def role(place: Place) -> str:
    return await _path(place, "role")


async def project(place: Place) -> str:
    return await _path(place, "project")


async def users(place: Place) -> list[str]:
    """Ids of new ones."""
    return [await make(place, "user") for _ in range(min(24, place.size))]


async def roles(place: Place) -> list[str]:
    return [await make(place, "role") for _ in range(min(24, place.size))]


def _attribute(kind: str) -> Document:
    """Attributes that nobody knows are kept."""

    async def home(place: Place) -> str:
        return await _path(place, kind)

    return Document(home, lambda key: ("PATCH", "", {kind: {key: "v"}}), lambda found: found[kind])


def _names(kind: str, **more: Any) -> Things:
    body = {**more} if kind in ("role", "domain") else {**_DOMAIN, **more}
    return Things(f"{ROOT}/{kind}s", lambda name, _: {kind: {"name": name, **body}}, f"{kind}s")


async def _service(place: Place) -> str:
    body = {"type": place.name("t"), "name": "s"}
    return str((await place.make(f"{ROOT}/services", {"service": body}))["id"])


def _endpoint(url: str, home: str) -> Any:
    return {"endpoint": {"service_id": home, "interface": "public", "url": url}}


async def credentials(place: Place) -> Case:
    """Of the administrator, for the project of the token."""
    things = Things(
        f"{ROOT}/users/{place.tenant.user}/application_credentials",
        lambda name, _: {"application_credential": {"name": name}},
        "application_credentials",
    )
    return await things(place)


# -- assignments ---------------------------------------------------------------------------------


async def assignments(place: Place) -> Case:
    """Roles of many users on one project."""
    known = await make(place, "role")

    def at(user: str) -> str:
        return f"/users/{user}/roles/{known}"

    return await _assigned(place, project, at, "scope.project.id")


async def _assigned(place: Place, home: Any, at: Any, scope: str) -> Case:
    path = await home(place)
    where = f"{ROOT}/role_assignments?{scope}={path.rpartition('/')[2]}"

    async def same(_: Place) -> str:
        return path

    document = Document(
        same,
        lambda key: ("PUT", at(key), None),
        lambda found: [one["user"]["id"] for one in found["role_assignments"]],
        lambda key: ("DELETE", at(key), None),
        keys=users,
        absolute=where,
    )
    return await document(place)


async def system_assignments(place: Place) -> Case:
    known = await make(place, "role")

    async def system(_: Place) -> str:
        return f"{ROOT}/system"

    document = Document(
        system,
        lambda key: ("PUT", f"/users/{key}/roles/{known}", None),
        lambda found: [one["user"]["id"] for one in found["role_assignments"]],
        lambda key: ("DELETE", f"/users/{key}/roles/{known}", None),
        keys=users,
        absolute=f"{ROOT}/role_assignments?role.id={known}",
    )
    return await document(place)


async def users_and_assignments(place: Place) -> Case:
    """Users get roles while they are deleted; the projects are those of no other race."""
    known = await make(place, "role")
    names: dict[str, str] = {}
    spare = [await make(place, "project") for _ in range(6)]

    def child(path: str, name: str) -> tuple[str, str, Any]:
        who = path.rpartition("/")[2]
        where = spare[sum(one.endswith(f" {who}") for one in names) % 6]
        names[f"{where} {who}"] = name
        return "PUT", f"{ROOT}/projects/{where}/users/{who}/roles/{known}", None

    async def children(place: Place) -> Mapping[str, str]:
        path = f"{ROOT}/role_assignments?role.id={known}"
        found = (await place.get(path))["role_assignments"]
        pairs = [(one["scope"]["project"]["id"], one["user"]["id"]) for one in found]
        return {names[f"{where} {who}"]: f"{ROOT}/users/{who}" for where, who in pairs}

    return await Family(user, child, children, cascade=True)(place)


async def roles_and_assignments(place: Place) -> Case:
    """Roles are given while they are deleted."""
    names: dict[str, str] = {}
    where = await make(place, "project")
    people = [await make(place, "user") for _ in range(6)]

    def child(path: str, name: str) -> tuple[str, str, Any]:
        what = path.rpartition("/")[2]
        who = people[sum(one.endswith(f" {what}") for one in names) % 6]
        names[f"{who} {what}"] = name
        return "PUT", f"{ROOT}/projects/{where}/users/{who}/roles/{what}", None

    async def children(place: Place) -> Mapping[str, str]:
        path = f"{ROOT}/role_assignments?scope.project.id={where}"
        found = (await place.get(path))["role_assignments"]
        pairs = [(one["user"]["id"], one["role"]["id"]) for one in found]
        return {names[f"{who} {what}"]: f"{ROOT}/roles/{what}" for who, what in pairs}

    return await Family(role, child, children, cascade=True)(place)


async def groups_and_members(place: Place) -> Case:
    """Groups get members while they are deleted. Whose groups are asked of each member."""
    names: dict[str, str] = {}
    people = [await make(place, "user") for _ in range(6)]

    def child(path: str, name: str) -> tuple[str, str, Any]:
        who = people[sum(one.endswith(f" {path}") for one in names) % 6]
        names[f"{who} {path}"] = name
        return "PUT", f"{path}/users/{who}", None

    async def children(place: Place) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for who in people:
            for one in (await place.get(f"{ROOT}/users/{who}/groups"))["groups"]:
                path = f"{ROOT}/groups/{one['id']}"
                found[names[f"{who} {path}"]] = path
        return found

    return await Family(group, child, children, cascade=True)(place)


async def projects_and_children(place: Place) -> Case:
    """Projects get projects below them while they are deleted."""

    def child(path: str, name: str) -> tuple[str, str, Any]:
        body = {"name": name, **_DOMAIN, "parent_id": path.rpartition("/")[2]}
        return "POST", f"{ROOT}/projects", {"project": body}

    async def children(place: Place) -> Mapping[str, str]:
        found = (await place.get(f"{ROOT}/projects"))["projects"]
        return {one["name"]: f"{ROOT}/projects/{one['parent_id']}" for one in found}

    family = Family(project, child, children, cascade=False, civil=(400, 403, 404, 409))
    return await family(place)


KINDS: dict[str, Kind] = {
    "users": _names("user"),
    "groups": _names("group"),
    "roles": _names("role"),
    "projects": _names("project"),
    "domains": _names("domain", enabled=False),
    "regions": Things(
        f"{ROOT}/regions", lambda name, _: {"region": {"id": name}}, "regions", shown="id"
    ),
    "services": Things(
        f"{ROOT}/services",
        lambda name, _: {"service": {"type": name, "name": name}},
        "services",
        unique=False,
    ),
    "endpoints": Things(
        f"{ROOT}/endpoints",
        _endpoint,
        "endpoints",
        shown="url",
        unique=False,
        home=_service,
        naming="http://example.org/{}".format,
    ),
    "application credentials": credentials,
    "user attributes": _attribute("user"),
    "group attributes": _attribute("group"),
    "role attributes": _attribute("role"),
    "project attributes": _attribute("project"),
    "project tags": Document(
        project,
        lambda key: ("PUT", f"/tags/{key}", None),
        lambda found: found["tags"],
        lambda key: ("DELETE", f"/tags/{key}", None),
        where="/tags",
    ),
    "group members": Document(
        group,
        lambda key: ("PUT", f"/users/{key}", None),
        lambda found: [one["id"] for one in found["users"]],
        lambda key: ("DELETE", f"/users/{key}", None),
        where="/users",
        keys=users,
    ),
    "implied roles": Document(
        role,
        lambda key: ("PUT", f"/implies/{key}", None),
        lambda found: [one["id"] for one in found["role_inference"]["implies"]],
        lambda key: ("DELETE", f"/implies/{key}", None),
        where="/implies",
        keys=roles,
    ),
    "roles on a project": assignments,
    "roles on the system": system_assignments,
    "users and their roles": users_and_assignments,
    "roles and their assignments": roles_and_assignments,
    "groups and their members": groups_and_members,
    "projects and those below": projects_and_children,
}
