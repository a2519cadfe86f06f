"""Who has which role where, on the wire: grants and role assignments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Forbidden, Invalid, Missing
from ingot.services.identity import grants, store, tables
from ingot.services.identity.api.common import linked, listing, need_domain, truth
from ingot.services.identity.api.roles import role_body
from ingot.services.identity.grants import Assignment, RoleBook

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

from ingot.services.identity.api.common import Row

_ACTORS = {"user": tables.users, "group": tables.groups}


def operations(identity: Identity, prefix: str) -> list[Operation]:
    rows: list[Operation] = []
    for target in ("project", "domain", "system"):
        for actor in ("user", "group"):
            place = f"/{target}s/{{{target}_id}}" if target != "system" else "/system"
            path = f"{place}/{actor}s/{{{actor}_id}}/roles"
            rows += _grant_rows(_Grants(identity, actor, target, False), "/v3" + path, "")
            if target != "system":
                inherited = _Grants(identity, actor, target, True)
                rows += _grant_rows(inherited, "/v3/OS-INHERIT" + path, "/inherited_to_projects")
    api = _Assignments(identity)
    rows.append(
        Operation(
            "GET",
            "/v3/role_assignments",
            api.index,
            rule="identity:list_role_assignments",
            late=True,
        )
    )
    return rows


def _grant_rows(api: _Grants, path: str, suffix: str) -> list[Operation]:
    one = f"{path}/{{role_id}}{suffix}"
    return [
        Operation("GET", path + suffix, api.index, rule=api.rule("list"), late=True),
        Operation("GET", one, api.check, rule=api.rule("check"), late=True, status=204),
        Operation("PUT", one, api.add, rule=api.rule("create"), late=True, status=204),
        Operation("DELETE", one, api.drop, rule=api.rule("revoke"), late=True, status=204),
    ]


@dataclass(frozen=True)
class _Grants:
    """Grants of one sort: actor user or group; target project, domain or system."""

    identity: Identity
    actor: str
    target: str
    inherited: bool

    def rule(self, verb: str) -> str:
        if self.target == "system":
            noun = "grants" if verb == "list" else "grant"
            return f"identity:{verb}_system_{noun}_for_{self.actor}"
        return f"identity:{verb}_grant" + ("s" if verb == "list" else "")

    def _place(self, conn: sa.Connection, call: Call, verb: str) -> tuple[str, str]:
        """Ids of actor and target, if the caller may; a 404 for what is not there."""
        actor_id = call.params[f"{self.actor}_id"]
        actor = store.get(conn, _ACTORS[self.actor], actor_id)
        target_id, facts = "all", dict[str, Any]()
        place: Row | None = None
        if self.target != "system":
            target_id = call.params[f"{self.target}_id"]
            place = store.get(conn, tables.projects, target_id)
            if place is not None and self.target == "project":
                facts["target.project.domain_id"] = place["domain_id"]
            elif place is not None:
                facts["target.domain.id"] = place["id"]
        if actor is not None:
            facts[f"target.{self.actor}.domain_id"] = actor["domain_id"]
        role_id = call.params.get("role_id")
        role = store.get(conn, tables.roles, role_id) if role_id else None
        facts["target.role.name"] = role["name"] if role else None
        call.require(self.rule(verb), facts)
        if actor is None:
            raise Missing(f"Could not find {self.actor}: {actor_id}.")
        if self.target == "domain":
            need_domain(conn, target_id)
        elif place is None and self.target == "project":
            raise Missing(f"Could not find project: {target_id}.")
        if role_id and role is None:
            raise Missing(f"Could not find role: {role_id}.")
        # As upstream: asked for projects only.
        at_project = verb == "create" and self.target == "project" and place is not None
        if role and place and at_project and role["domain_id"] not in ("", place["domain_id"]):
            raise Forbidden("A role of a domain is given only at projects of that domain.")
        return actor_id, target_id

    def _assignment(self, conn: sa.Connection, call: Call, verb: str) -> Assignment:
        actor_id, target_id = self._place(conn, call, verb)
        return Assignment(
            self.actor, actor_id, self.target, target_id, call.params["role_id"], self.inherited
        )

    async def index(self, call: Call) -> Reply:
        def find(conn: sa.Connection) -> list[Row]:
            actor_id, target_id = self._place(conn, call, "list")
            found = grants.assignments(
                conn,
                {
                    "actor_type": self.actor,
                    "actor_id": actor_id,
                    "target_type": self.target,
                    "target_id": target_id,
                    "inherited": self.inherited,
                },
            )
            given = {assignment.role_id for assignment in found}
            return [row for row in store.find(conn, tables.roles) if row["id"] in given]

        return listing(call, "roles", await self.identity.db.scan(find), role_body)

    async def check(self, call: Call) -> None:
        def check(conn: sa.Connection) -> None:
            assignment = self._assignment(conn, call, "check")
            if not grants.exists(conn, assignment):
                raise _no_grant(assignment)

        await self.identity.db.read(check)

    async def add(self, call: Call) -> None:
        await self.identity.write(
            lambda conn: grants.add(conn, self._assignment(conn, call, "create"))
        )

    async def drop(self, call: Call) -> None:
        def drop(conn: sa.Connection) -> None:
            assignment = self._assignment(conn, call, "revoke")
            if not grants.remove(conn, assignment):
                raise _no_grant(assignment)

        await self.identity.write(drop)


def _no_grant(assignment: Assignment) -> Missing:
    return Missing(
        f"Could not find role assignment with role: {assignment.role_id}, {assignment.actor_type}: "
        f"{assignment.actor_id}, {assignment.target_type}: {assignment.target_id}."
    )


# -- the list of all -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """An assignment with where it comes from (`effective` lists only)."""

    assignment: Assignment
    group_id: str = ""


class _Assignments:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def index(self, call: Call) -> Reply:
        # A domain's reader would see the assignments of that domain only: the narrower list is not made,
        # so the domain half of the rule never applies here.
        call.require("identity:list_role_assignments", {})
        asked = dict(call.args)
        effective = "effective" in asked and truth(asked["effective"])
        names = "include_names" in asked and truth(asked["include_names"])
        wanted = _filters(asked)
        if effective and "group_id" in wanted:
            raise Invalid(
                "Combining effective and group filter will always result in an empty list."
            )
        book = await self._identity.roles()

        def find(conn: sa.Connection) -> list[Row]:
            if effective:
                shown = _fit(_effective(conn, book), wanted)
            else:
                shown = [_Shown(item) for item in grants.assignments(conn, _columns(wanted))]
            if "include_subtree" in asked and truth(asked["include_subtree"]):
                shown += _subtree(conn, wanted)
            return _bodies(conn, book, shown, names, call.base_url)

        rows = await self._identity.db.scan(find)
        return listing(call, "role_assignments", rows, lambda row, _url: row)


def _filters(asked: dict[str, str]) -> dict[str, Any]:
    """The query as facts about an assignment: user_id, group_id, role_id, project, domain, system."""
    known = {
        "user.id": "user_id",
        "group.id": "group_id",
        "role.id": "role_id",
        "scope.project.id": "project",
        "scope.domain.id": "domain",
    }
    wanted: dict[str, Any] = {known[key]: value for key, value in asked.items() if key in known}
    if asked.get("scope.system"):
        wanted["system"] = "all"
    if asked.get("scope.OS-INHERIT:inherited_to") == "projects":
        wanted["inherited"] = True
    if "user_id" in wanted and "group_id" in wanted:
        raise Invalid("Specify a user or group, not both.")
    if sum(key in wanted for key in ("project", "domain", "system")) > 1:
        raise Invalid("Specify one of project, domain and system.")
    return wanted


def _columns(wanted: dict[str, Any]) -> dict[str, Any]:
    """The facts as columns."""
    columns: dict[str, Any] = {}
    for key, value in wanted.items():
        if key in ("user_id", "group_id"):
            columns |= {"actor_type": key[:-3], "actor_id": value}
        elif key in ("project", "domain", "system"):
            columns |= {"target_type": key, "target_id": value}
        else:
            columns[key] = value
    return columns


def _fit(shown: Iterable[_Shown], wanted: dict[str, Any]) -> list[_Shown]:
    columns = _columns({k: v for k, v in wanted.items() if k != "inherited"})
    return [
        item
        for item in shown
        if all(getattr(item.assignment, key) == value for key, value in columns.items())
    ]


def _effective(conn: sa.Connection, book: RoleBook) -> list[_Shown]:
    """Groups taken apart into members, inheritance into projects, roles into what they imply."""
    found: dict[Assignment, _Shown] = {}
    for item in grants.assignments(conn, {}):
        group_id = item.actor_id if item.actor_type == "group" else ""
        actors = [item.actor_id]
        if group_id:
            actors = list(conn.execute(store.members_of(group_id)).scalars())
        places = [(item.target_type, item.target_id)]
        if item.inherited:
            places = [
                ("project", key) for key in grants.below(conn, item.target_type, item.target_id)
            ]
        for actor_id in actors:
            for target_type, target_id in places:
                for role in book.expand([item.role_id]):
                    single = Assignment("user", actor_id, target_type, target_id, role.id)
                    found.setdefault(single, _Shown(single, group_id))
    return list(found.values())


def _subtree(conn: sa.Connection, wanted: dict[str, Any]) -> list[_Shown]:
    """Assignments on the projects below the one that was asked for."""
    if "project" not in wanted:
        raise Invalid("scope.project.id must be specified if include_subtree is also specified.")
    keys = [row["id"] for row in store.subtree(conn, wanted["project"])]
    columns = {**_columns(wanted), "target_type": "project", "target_id": keys}
    return [_Shown(item) for item in grants.assignments(conn, columns)]


def _bodies(
    conn: sa.Connection, book: RoleBook, shown: list[_Shown], names: bool, base_url: str
) -> list[Row]:
    known: dict[str, Row] = {}
    if names:
        items = [item.assignment for item in shown]
        known |= store.names(conn, tables.users, (i.actor_id for i in items))
        known |= store.names(conn, tables.groups, (i.actor_id for i in items))
        known |= store.names(conn, tables.projects, (i.target_id for i in items))
        known |= store.names(
            conn, tables.projects, [row["domain_id"] for row in known.values() if row["domain_id"]]
        )
        for key in {item.role_id for item in items}:
            role = book.roles[key]
            known[key] = {"id": key, "name": role.name, "domain_id": role.domain_id}

    def thing(key: str) -> Row:
        row = known.get(key)
        if row is None:
            return {"id": key}
        body = {"id": key, "name": row["name"]}
        if row["domain_id"]:
            domain = known.get(row["domain_id"], {})
            body["domain"] = {"id": row["domain_id"], "name": domain.get("name")}
        return body

    return [_body(item, thing, base_url) for item in shown]


def _body(shown: _Shown, thing: Any, base_url: str) -> Row:
    item = shown.assignment
    scope: Row = (
        {"system": {"all": True}}
        if item.target_type == "system"
        else {item.target_type: thing(item.target_id)}
    )
    place = "system" if item.target_type == "system" else f"{item.target_type}s/{item.target_id}"
    if item.inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
        place = f"OS-INHERIT/{place}"
    path = f"{place}/{item.actor_type}s/{item.actor_id}/roles/{item.role_id}"
    if item.inherited:
        path += "/inherited_to_projects"
    body: Row = {
        "role": thing(item.role_id),
        item.actor_type: thing(item.actor_id),
        "scope": scope,
    }
    links = {"assignment": linked({}, base_url, path)["links"]["self"]}
    if shown.group_id:
        links["membership"] = f"{base_url}/v3/groups/{shown.group_id}/users/{item.actor_id}"
    return {**body, "links": links}
