"""SQL about who has which role where, and what the roles imply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.kit.db.prepared import among
from ingot.services.identity import store, tables
from ingot.services.identity.types import Role, Scope

_A = tables.assignments


@dataclass(frozen=True)
class RoleBook:
    """All roles and what they imply, read once per epoch."""

    roles: Mapping[str, Role]
    implied: Mapping[str, frozenset[str]]

    def reached(self, ids: Iterable[str]) -> set[str]:
        """Ids of roles with all that they imply."""
        seen: set[str] = set()
        waiting = [key for key in ids if key in self.roles]
        while waiting:
            key = waiting.pop()
            if key not in seen:
                seen.add(key)
                waiting.extend(self.implied.get(key, frozenset()))
        return seen

    def expand(self, ids: Iterable[str]) -> tuple[Role, ...]:
        """Roles with all that they imply; domain roles themselves are not told (they only imply)."""
        seen = self.reached(ids)
        shown = [self.roles[key] for key in seen if self.roles[key].domain_id is None]
        return tuple(sorted(shown, key=lambda role: role.name))


def role_book(conn: sa.Connection) -> RoleBook:
    columns = (tables.roles.c.id, tables.roles.c.name, tables.roles.c.domain_id)
    roles = {
        row.id: Role(row.id, row.name, row.domain_id or None)
        for row in conn.execute(sa.select(*columns))
    }
    implied: dict[str, set[str]] = {}
    for row in conn.execute(sa.select(tables.implied_roles)):
        implied.setdefault(row.prior_id, set()).add(row.implied_id)
    return RoleBook(roles, {key: frozenset(value) for key, value in implied.items()})


def _actors(user_id: str) -> sa.ColumnElement[bool]:
    """Assignments to the user or to one of their groups."""
    return sa.or_(
        sa.and_(_A.c.actor_type == "user", _A.c.actor_id == user_id),
        sa.and_(_A.c.actor_type == "group", _A.c.actor_id.in_(store.groups_of(user_id))),
    )


def held_roles(
    conn: sa.Connection, user_id: str, scope: Scope, project: Mapping[str, Any] | None
) -> dict[str, int]:
    """Roles that a user has in a scope (directly, by groups, inherited from above), by id, and the epoch since which."""
    given: dict[str, Any] = {"user": user_id, "kind": scope.kind, "target": scope.id}
    query = _HELD
    if scope.kind == "project" and project is not None:
        query = _HELD_IN_PROJECT
        parents = [row["id"] for row in store.parents(conn, dict(project))]
        given |= {"domain": project["domain_id"], "parents": parents}
    held: dict[str, int] = {}
    for role_id, since_given, since_member in query.rows(conn, given):
        since = max(since_given, since_member)
        held[role_id] = min(since, held.get(role_id, since))
    return held


def _held(*more: sa.ColumnElement[bool]) -> PreparedStatement:
    """more: assignments that count besides those of the scope itself."""
    user: sa.BindParameter[str] = sa.bindparam("user")
    members = tables.memberships
    itself = sa.and_(
        _A.c.target_type == sa.bindparam("kind"),
        _A.c.target_id == sa.bindparam("target"),
        _A.c.inherited.is_(False),
    )
    place = sa.or_(itself, *more)
    direct = sa.select(_A.c.role_id, _A.c.since, _A.c.since.label("member_since")).where(
        _A.c.actor_type == "user", _A.c.actor_id == user, place
    )
    by_group = (
        sa.select(_A.c.role_id, _A.c.since, members.c.since.label("member_since"))
        .join(members, members.c.group_id == _A.c.actor_id)
        .where(_A.c.actor_type == "group", members.c.user_id == user, place)
    )
    return PreparedStatement(sa.union_all(direct, by_group))


_HELD = _held()
_HELD_IN_PROJECT = _held(
    sa.and_(
        _A.c.inherited.is_(True),
        sa.or_(
            sa.and_(_A.c.target_type == "domain", _A.c.target_id == sa.bindparam("domain")),
            sa.and_(_A.c.target_type == "project", among(_A.c.target_id, "parents")),
        ),
    )
)


def places_of(conn: sa.Connection, user_id: str) -> tuple[set[str], set[str], bool]:
    """Where a user has any role: project ids, domain ids, system."""
    query = sa.select(_A.c.target_type, _A.c.target_id, _A.c.inherited).where(_actors(user_id))
    projects: set[str] = set()
    domains: set[str] = set()
    system = False
    for row in conn.execute(query.distinct()):
        if row.inherited:
            projects.update(below(conn, row.target_type, row.target_id))
        elif row.target_type == "project":
            projects.add(row.target_id)
        elif row.target_type == "domain":
            domains.add(row.target_id)
        else:
            system = True
    return projects, domains, system


def below(conn: sa.Connection, target_type: str, target_id: str) -> list[str]:
    if target_type == "domain":
        return [
            row["id"]
            for row in store.find(
                conn, tables.projects, [("domain_id", target_id), ("is_domain", False)]
            )
        ]
    return [row["id"] for row in store.subtree(conn, target_id)]


# -- single assignments --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assignment:
    """actor_type user or group; target_type project, domain or system (target_id "all")."""

    actor_type: str
    actor_id: str
    target_type: str
    target_id: str
    role_id: str
    inherited: bool = False

    def where(self) -> sa.ColumnElement[bool]:
        return sa.and_(
            _A.c.actor_type == self.actor_type,
            _A.c.actor_id == self.actor_id,
            _A.c.target_type == self.target_type,
            _A.c.target_id == self.target_id,
            _A.c.role_id == self.role_id,
            _A.c.inherited.is_(self.inherited),
        )


def exists(conn: sa.Connection, assignment: Assignment) -> bool:
    return conn.execute(sa.select(_A.c.role_id).where(assignment.where())).first() is not None


def add(conn: sa.Connection, assignment: Assignment) -> None:
    """Give a role; giving it twice is no harm."""
    if not exists(conn, assignment):
        since = store.touch(conn)
        conn.execute(
            _A.insert().values(
                actor_type=assignment.actor_type,
                actor_id=assignment.actor_id,
                target_type=assignment.target_type,
                target_id=assignment.target_id,
                role_id=assignment.role_id,
                inherited=assignment.inherited,
                since=since,
            )
        )


def remove(conn: sa.Connection, assignment: Assignment) -> bool:
    """Take a role back; False when it was not there."""
    gone = conn.execute(_A.delete().where(assignment.where())).rowcount > 0
    if gone:
        store.touch(conn)
    return gone


def assignments(conn: sa.Connection, filters: Mapping[str, Any]) -> list[Assignment]:
    """Assignments whose columns equal the filters; a list value means any of them."""
    query = sa.select(_A)
    for name, value in filters.items():
        several = cast("list[str]", value) if isinstance(value, list) else None
        column = _A.c[name]
        query = query.where(column.in_(several) if several is not None else column == value)
    query = query.order_by(_A.c.target_type, _A.c.target_id, _A.c.actor_id, _A.c.role_id)
    return [
        Assignment(
            row.actor_type,
            row.actor_id,
            row.target_type,
            row.target_id,
            row.role_id,
            bool(row.inherited),
        )
        for row in conn.execute(query)
    ]


# -- implications --------------------------------------------------------------------------------


def set_implied(conn: sa.Connection, prior_id: str, implied_id: str, present: bool) -> bool:
    """Make or end an implication; whether anything changed."""
    table = tables.implied_roles
    where = sa.and_(table.c.prior_id == prior_id, table.c.implied_id == implied_id)
    there = conn.execute(sa.select(table).where(where)).first() is not None
    if present == there:
        return False
    if present:
        conn.execute(table.insert().values(prior_id=prior_id, implied_id=implied_id))
    else:
        conn.execute(table.delete().where(where))
    store.touch(conn)
    return True
