"""All SQL about which endpoints and endpoint groups projects have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.services.identity import store, tables
from ingot.services.identity.catalogue import meets

_E, _G = tables.project_endpoints, tables.project_endpoint_groups


def endpoints_of(conn: sa.Connection, project_id: str) -> set[str]:
    """Ids of the endpoints that were given to a project one by one."""
    return set(
        conn.execute(sa.select(_E.c.endpoint_id).where(_E.c.project_id == project_id)).scalars()
    )


def groups_of(conn: sa.Connection, project_id: str) -> list[store.Row]:
    """The endpoint groups of a project."""
    ids = sa.select(_G.c.endpoint_group_id).where(_G.c.project_id == project_id)
    return store.find(conn, tables.endpoint_groups, ids=ids)


def allowed(
    conn: sa.Connection, project_id: str, endpoints: Sequence[Mapping[str, Any]]
) -> set[str] | None:
    """Ids of the endpoints in a project's catalogue; None where nothing was said, so that it has all."""
    single, groups = endpoints_of(conn, project_id), groups_of(conn, project_id)
    if not single and not groups:
        return None
    by_group = {
        str(row["id"]) for row in endpoints if any(meets(row, group["filters"]) for group in groups)
    }
    return single | by_group


def projects_with(conn: sa.Connection, endpoint_id: str) -> list[store.Row]:
    """Projects to which an endpoint was given."""
    ids = sa.select(_E.c.project_id).where(_E.c.endpoint_id == endpoint_id)
    return store.find(conn, tables.projects, ids=ids)


def projects_of_group(conn: sa.Connection, group_id: str) -> list[store.Row]:
    """Projects to which an endpoint group was given."""
    ids = sa.select(_G.c.project_id).where(_G.c.endpoint_group_id == group_id)
    return store.find(conn, tables.projects, ids=ids)


def add_endpoint(conn: sa.Connection, project_id: str, endpoint_id: str) -> None:
    """Give an endpoint to a project; twice is no harm."""
    if endpoint_id not in endpoints_of(conn, project_id):
        conn.execute(_E.insert().values(project_id=project_id, endpoint_id=endpoint_id))


def remove_endpoint(conn: sa.Connection, project_id: str, endpoint_id: str) -> bool:
    """Take an endpoint from a project; whether it had it."""
    mine = sa.and_(_E.c.project_id == project_id, _E.c.endpoint_id == endpoint_id)
    return conn.execute(_E.delete().where(mine)).rowcount > 0


def forget_endpoint(conn: sa.Connection, endpoint_id: str) -> None:
    """An endpoint was deleted: no project has it any more."""
    conn.execute(_E.delete().where(_E.c.endpoint_id == endpoint_id))


def add_group(conn: sa.Connection, project_id: str, group_id: str) -> None:
    """Give an endpoint group to a project; twice is no harm."""
    if group_id not in {row["id"] for row in groups_of(conn, project_id)}:
        conn.execute(_G.insert().values(project_id=project_id, endpoint_group_id=group_id))


def remove_group(conn: sa.Connection, project_id: str, group_id: str) -> bool:
    """Take an endpoint group from a project; whether it had it."""
    mine = sa.and_(_G.c.project_id == project_id, _G.c.endpoint_group_id == group_id)
    return conn.execute(_G.delete().where(mine)).rowcount > 0
