"""What the identity service does by itself: forget revocations of tokens that have ended anyway."""

from __future__ import annotations

from ingot.services.identity import store
from ingot.services.identity.service import Identity

#: Seconds between two runs; a late one only leaves a few small rows.
FORGET_EVERY = 3600.0


async def forget_revocations(identity: Identity) -> int:
    """Run once; how many rows went."""
    return await identity.db.write(lambda conn: store.forget_revocations(conn, identity.clock))
