"""Whether there is room for what the cloud writes: told at /healthz before and while requests are refused for it."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.faults import Unavailable

#: With less than this in the state folder changes may be refused at any moment.
LEAST_BYTES = 8 << 20


async def require(db: Database, state: Path) -> None:
    """Unavailable, with the cause, when the database does not answer or changes cannot be written."""
    await db.read(lambda conn: conn.execute(sa.text("SELECT 1")).scalar())
    why = db.full or _scarce(state)
    if why:
        raise Unavailable(why, next_action="Make room on the disk.", retry_after=30)


def _scarce(state: Path) -> str:
    facts = os.statvfs(state)
    free = facts.f_bavail * facts.f_frsize
    if free >= LEAST_BYTES:
        return ""
    return f"The state folder {state} has only {free >> 10} KiB left."
