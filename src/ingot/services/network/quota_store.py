"""What projects have and may have: the SQL of quotas. Functions of a connection."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.network import tables

#: The kinds that are counted, as bodies name them.
COUNTED: tuple[str, ...] = ("network", "subnet", "port", "security_group", "security_group_rule")


def _counting() -> str:
    names = ", ".join(COUNTED)
    values = ", ".join(f"CAST(:{name} AS BIGINT)" for name in COUNTED)
    more = ", ".join(f"{name} = network_usage.{name} + excluded.{name}" for name in COUNTED)
    return (
        f"INSERT INTO network_usage (project_id, {names}) VALUES (:project_id, {values}) "
        f"ON CONFLICT (project_id) DO UPDATE SET {more}"
    )


#: The text of what counts, and what it is given beside the project and its kinds.
COUNTING = _counting()
NOTHING: dict[str, int] = dict.fromkeys(COUNTED, 0)
_COUNT = PreparedStatement(sa.text(COUNTING))


def count(conn: sa.Connection, project_id: str, **more: int) -> None:
    """Count so many more of these kinds for a project, or (negative) less.

    The project's row is then locked until the transaction ends, so this comes late in it. With nothing to count it
    only locks.
    """
    _COUNT.change(conn, {"project_id": project_id, **NOTHING, **more})


_USED = PreparedStatement(
    sa.select(*(tables.usage.c[name] for name in COUNTED)).where(
        tables.usage.c.project_id == sa.bindparam("project_id")
    )
)


def used(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """How many of each kind a project has."""
    row = _USED.first(conn, {"project_id": project_id})
    return dict(NOTHING) if row is None else dict(zip(COUNTED, row, strict=True))


@functools.cache
def _standing(resource: str) -> PreparedStatement:
    quotas, usage = tables.quotas, tables.usage
    project: sa.BindParameter[str] = sa.bindparam("project_id", type_=sa.String)
    most = sa.select(quotas.c.most).where(
        quotas.c.project_id == project, quotas.c.resource == resource
    )
    has = sa.select(usage.c[resource]).where(usage.c.project_id == project)
    return PreparedStatement(sa.select(most.scalar_subquery(), has.scalar_subquery()))


def standing(conn: sa.Connection, project_id: str, resource: str) -> tuple[int | None, int]:
    """What was set for a project (None where the settings hold), and what it has."""
    ((most, has),) = _standing(resource).rows(conn, {"project_id": project_id})
    return most, has or 0


def quotas(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """The limits that were set for a project; others have the default."""
    table = tables.quotas
    query = sa.select(table.c.resource, table.c.most).where(table.c.project_id == project_id)
    return {str(row[0]): int(row[1]) for row in conn.execute(query)}


def quota_projects(conn: sa.Connection) -> list[str]:
    column = tables.quotas.c.project_id
    return list(conn.execute(sa.select(column).distinct().order_by(column)).scalars())


def set_quotas(conn: sa.Connection, project_id: str, limits: Mapping[str, int]) -> None:
    clear_quotas(conn, project_id, list(limits))
    table = tables.quotas
    for resource, most in limits.items():
        conn.execute(table.insert().values(project_id=project_id, resource=resource, most=most))


def clear_quotas(
    conn: sa.Connection, project_id: str, resources: Sequence[str] | None = None
) -> None:
    table = tables.quotas
    statement = table.delete().where(table.c.project_id == project_id)
    if resources is not None:
        statement = statement.where(table.c.resource.in_(resources))
    conn.execute(statement)
