"""Reconcilers of the compute service: deletions that waited, and what servers are to be told of their machines."""

from __future__ import annotations

from ingot.services.compute import machine_changes
from ingot.services.compute.service import Compute
from ingot.workflow import Loop

DELETIONS_EVERY = 10.0
MACHINES_EVERY = 5.0
#: So many servers are told in one transaction.
TOGETHER = 100


def loops(compute: Compute) -> list[Loop]:
    """To be started by the app where conductors run."""

    async def begin() -> None:
        if await compute.db.read(compute.deletions_wait):
            await compute.db.write(compute.begin_deletions)

    async def tell() -> None:
        """That a machine went, or was switched on or off without us. Who is worked on is told afterwards."""
        changes = await compute.db.scan(lambda conn: machine_changes.pending(compute, conn))
        for start in range(0, len(changes), TOGETHER):
            some = changes[start : start + TOGETHER]
            await compute.db.write(
                lambda conn, some=some: machine_changes.apply(compute, conn, some)
            )

    deletions = Loop("server deletions", DELETIONS_EVERY, begin, clock=compute.clock)
    compute.on_ended(deletions.kick)
    return [
        deletions,
        Loop("server machines", MACHINES_EVERY, tell, clock=compute.clock),
    ]
