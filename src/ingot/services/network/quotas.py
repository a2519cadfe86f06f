"""How many of each kind a project may have. What it has is counted in the transactions that change it."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.services.network import quota_store
from ingot.services.network.faults import conflict
from ingot.services.network.types import NetworkSettings


class QuotaCounters:
    """The part of the Network service that keeps the counters of quotas."""

    settings: NetworkSettings

    def check_quota(self, conn: sa.Connection, project_id: str, kind: str, made: int = 1) -> None:
        """After so many of a kind ("port") were made: 409 OverQuota when the project now has too many."""
        limit, used = self._standing(conn, project_id, kind)
        if used > limit >= 0:
            raise conflict(
                "OverQuota",
                f"Quota exceeded for resources: {[kind]} (limit {limit}, used {used - made}).",
                "Delete what is not needed, or ask an administrator for a higher quota.",
            )

    def ports_left(self, conn: sa.Connection, project_id: str) -> int | None:
        """How many more ports a project may have by its quota; None for any number."""
        limit, used = self._standing(conn, project_id, "port")
        return None if limit < 0 else max(0, limit - used)

    def _standing(self, conn: sa.Connection, project_id: str, kind: str) -> tuple[int, int]:
        """The limit (-1: none), and how many there are."""
        own, used = quota_store.standing(conn, project_id, kind)
        return (self.settings.quotas.get(kind, -1) if own is None else own), used
