"""Which conductors are alive, and which of them cares for a node."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Unavailable
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes.hash_ring import HashRing


def live_conductors(ctx: Context, conn: sa.Connection) -> list[workflow.ConductorRow]:
    """HashRing whose beat is recent."""
    limit = timestamp(ctx.clock.now() - timedelta(seconds=ctx.settings.conductor_timeout))
    return [row for row in workflow.list_conductors(conn) if not row.gone and row.beat_at >= limit]


def need_conductor(ctx: Context, conn: sa.Connection, group: str) -> None:
    """Somebody must be there to do it: Unavailable when all conductors of the group are gone.

    Where none has ever been, the work waits for the first one.
    """
    if conductor_ring(ctx, conn).has(group):
        return
    rows = workflow.list_conductors(conn)
    if not rows or any(row.group == group and not row.gone for row in rows):
        return
    raise Unavailable(
        f"No conductor of the conductor group '{group}' is alive.",
        next_action="Start one, or move the node to another group; see `baremetal conductor list`.",
        retry_after=5,
    )


def conductor_ring(ctx: Context, conn: sa.Connection) -> HashRing:
    """As of at most a second ago: conductors come and go seldom, nodes are shown often."""
    now = ctx.clock.monotonic()
    known = ctx.memory.get("conductors")
    if known is None or not known[0] <= now < known[0] + 1:
        known = ctx.memory["conductors"] = (now, HashRing(live_conductors(ctx, conn)))
    return known[1]
