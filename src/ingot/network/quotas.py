"""How many of each kind a project may have. What it has is counted in the transactions that change it."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.network import quota_store
from ingot.network.faults import conflict
from ingot.network.types import Settings


class Counting:
    """The part of the front door that counts."""

    settings: Settings

    def check_quota(self, conn: sa.Connection, project_id: str, kind: str, made: int = 1) -> None:
        """After so many of a kind ("port") were made: 409 OverQuota when the project now has too many."""
        limit = self._limit(conn, project_id, kind)
        used = quota_store.used(conn, project_id)[kind] if limit >= 0 else 0
        if used > limit >= 0:
            raise conflict(
                "OverQuota",
                f"Quota exceeded for resources: {[kind]} (limit {limit}, used {used - made}).",
                "Delete what is not needed, or ask an administrator for a higher quota.",
            )

    def ports_left(self, conn: sa.Connection, project_id: str) -> int | None:
        """How many more ports a project may have by its quota; None for any number."""
        limit = self._limit(conn, project_id, "port")
        if limit < 0:
            return None
        return max(0, limit - quota_store.used(conn, project_id)["port"])

    def _limit(self, conn: sa.Connection, project_id: str, kind: str) -> int:
        """-1: none."""
        own = quota_store.limit(conn, project_id, kind)
        return self.settings.quotas.get(kind, -1) if own is None else own
