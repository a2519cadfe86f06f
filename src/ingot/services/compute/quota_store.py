"""What projects use and may use: the SQL of quotas. Functions of a connection."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.compute.tables import compute_quotas, compute_usage, server_groups

#: What of a server counts.
COUNTED = ("instances", "cores", "ram")


def usage(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """What a project has: instances, cores, ram (MiB), server_groups."""
    query = sa.select(compute_usage).where(compute_usage.c.project_id == project_id)
    row = conn.execute(query).mappings().first()
    groups = conn.execute(
        sa.select(sa.func.count()).where(server_groups.c.project_id == project_id)
    ).scalar_one()
    counted = {name: 0 if row is None else row[name] for name in COUNTED}
    return {**counted, "server_groups": groups}


def use(
    conn: sa.Connection, project_id: str, wanted: Mapping[str, int], limits: Mapping[str, int]
) -> bool:
    """Count more for a project if it stays below its limits (-1: none), by one statement; False if not."""
    most = {f"most_{name}": limits[name] for name in COUNTED}
    values = {"project_id": project_id, **wanted, **most}
    if _USE.change(conn, values):
        return True
    # Nothing was counted for the project before, or somebody has just begun to.
    _START_USAGE.change(conn, {"project_id": project_id})
    return _USE.change(conn, values) == 1


def _using() -> PreparedStatement:
    def number(name: str) -> sa.BindParameter[int]:
        return sa.bindparam(name, type_=sa.BigInteger)

    after = {name: compute_usage.c[name] + number(name) for name in COUNTED}
    fits = [
        sa.or_(number(f"most_{name}") < 0, after[name] <= number(f"most_{name}"))
        for name in COUNTED
    ]
    mine = compute_usage.c.project_id == sa.bindparam("project_id")
    return PreparedStatement(sa.update(compute_usage).where(mine, *fits).values(after))


_USE = _using()


_START_USAGE = PreparedStatement(
    sa.text(
        "INSERT INTO compute_usage (project_id, instances, cores, ram) VALUES (:project_id, 0, 0, 0) "
        "ON CONFLICT (project_id) DO NOTHING"
    )
)


def unuse(conn: sa.Connection, project_id: str, freed: Mapping[str, int]) -> None:
    """Count less for a project."""
    less = {name: compute_usage.c[name] - n for name, n in freed.items()}
    mine = compute_usage.c.project_id == project_id
    conn.execute(sa.update(compute_usage).where(mine).values(**less))


def quotas(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """What was set for this project; nothing where the settings hold."""
    return dict(_QUOTAS.rows(conn, {"project_id": project_id}))


_QUOTAS = PreparedStatement(
    sa.select(compute_quotas.c.resource, compute_quotas.c.value).where(
        compute_quotas.c.project_id == sa.bindparam("project_id")
    )
)


def set_quotas(conn: sa.Connection, project_id: str, values: Mapping[str, int]) -> None:
    for name, value in values.items():
        clear_quotas(conn, project_id, name)
        conn.execute(
            sa.insert(compute_quotas).values(project_id=project_id, resource=name, value=value)
        )


def clear_quotas(conn: sa.Connection, project_id: str, name: str | None = None) -> None:
    query = sa.delete(compute_quotas).where(compute_quotas.c.project_id == project_id)
    if name is not None:
        query = query.where(compute_quotas.c.resource == name)
    conn.execute(query)
