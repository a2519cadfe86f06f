"""How many of each kind a project may have. What it has is a counter, kept by the transactions that change it.

Counting rows would cost more with every one of them, and lets two creations at once both see the last free place.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.prepared import PreparedStatement
from ingot.kit.db.tx import Tx
from ingot.kit.faults import Fault, Kind

NO_LIMIT = -1


def quota_tables(service: str, metadata: sa.MetaData) -> tuple[sa.Table, sa.Table]:
    """Limits that were set for projects, and what projects have: `SERVICE_quotas`, `SERVICE_usage`."""
    limits = sa.Table(
        f"{service}_quotas",
        metadata,
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("resource", sa.String(64), primary_key=True),
        sa.Column("hard_limit", sa.BigInteger, nullable=False),
    )
    usage = sa.Table(
        f"{service}_usage",
        metadata,
        sa.Column("project_id", sa.String(64), primary_key=True),
        sa.Column("resource", sa.String(64), primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
    return limits, usage


def over_quota(kind: str, limit: int, used: int) -> Fault:
    """The fault of one too many; its kind is a status of the service's own (403, 409 or 413)."""
    return Fault(
        f"Quota exceeded for resources: {[kind]} (limit {limit}, used {used}).",
        kind=Kind.LIMIT,
        details={"type": "OverQuota"},
        next_action="Delete what is not needed, or ask an administrator for a higher quota.",
    )


@dataclass(frozen=True)
class Quotas:
    """The quotas of one service. defaults: kind -> limit (-1: none) where none was set for a project."""

    limits: sa.Table
    usage: sa.Table
    defaults: Mapping[str, int] = field(default_factory=dict[str, int])

    def take(self, tx: Tx, project_id: str, kind: str, count: int = 1) -> None:
        """Count so many more, if the limit allows it, in one statement; else the fault of `over_quota`."""
        limit = self.limit(tx, project_id, kind)
        most = (1 << 62) if limit < 0 else limit
        values = {"project": project_id, "kind": kind, "count": count, "most": most}
        statements = _statements(self.usage)
        statements.begin.change(tx.conn, {"project": project_id, "kind": kind})
        if not statements.take.change(tx.conn, values):
            raise over_quota(kind, limit, self.used(tx, project_id).get(kind, 0))

    def give_back(self, tx: Tx, project_id: str, kind: str, count: int = 1) -> None:
        """Count so many fewer."""
        values = {"project": project_id, "kind": kind, "count": count}
        _statements(self.usage).give.change(tx.conn, values)

    def limit(self, tx: Tx, project_id: str, kind: str) -> int:
        """The limit of a project; -1 for none."""
        own = self.own(tx, project_id).get(kind)
        return self.defaults.get(kind, NO_LIMIT) if own is None else own

    def own(self, tx: Tx, project_id: str) -> dict[str, int]:
        """Kind -> limit, of those that were set for a project."""
        table = self.limits.c
        query = sa.select(table.resource, table.hard_limit).where(table.project_id == project_id)
        return {str(kind): int(limit) for kind, limit in tx.conn.execute(query)}

    def all(self, tx: Tx, project_id: str) -> dict[str, int]:
        """Kind -> limit, of all kinds."""
        return {**self.defaults, **self.own(tx, project_id)}

    def used(self, tx: Tx, project_id: str) -> dict[str, int]:
        """Kind -> how many a project has; kinds of which it never had any are absent."""
        table = self.usage.c
        query = sa.select(table.resource, table.used).where(table.project_id == project_id)
        return {str(kind): int(used) for kind, used in tx.conn.execute(query)}

    def set(self, tx: Tx, project_id: str, limits: Mapping[str, int]) -> None:
        """Set limits of a project; others stay."""
        self.reset(tx, project_id, *limits)
        for kind, limit in limits.items():
            values = {"project_id": project_id, "resource": kind, "hard_limit": limit}
            tx.conn.execute(self.limits.insert().values(values))

    def reset(self, tx: Tx, project_id: str, *kinds: str) -> None:
        """Forget the limits that were set for a project; without kinds all of them."""
        table = self.limits
        statement = table.delete().where(table.c.project_id == project_id)
        if kinds:
            statement = statement.where(table.c.resource.in_(kinds))
        tx.conn.execute(statement)


@dataclass(frozen=True)
class _Statements:
    begin: PreparedStatement
    take: PreparedStatement
    give: PreparedStatement


@functools.cache
def _statements(usage: sa.Table) -> _Statements:
    number: Any = functools.partial(sa.bindparam, type_=sa.BigInteger)
    mine = sa.and_(
        usage.c.project_id == sa.bindparam("project"), usage.c.resource == sa.bindparam("kind")
    )
    more = usage.c.used + number("count")
    begin = sa.text(
        f"INSERT INTO {usage.name} (project_id, resource, used) VALUES (:project, :kind, 0) "
        "ON CONFLICT (project_id, resource) DO NOTHING"
    )
    return _Statements(
        PreparedStatement(begin),
        PreparedStatement(sa.update(usage).where(mine, more <= number("most")).values(used=more)),
        PreparedStatement(sa.update(usage).where(mine).values(used=usage.c.used - number("count"))),
    )
