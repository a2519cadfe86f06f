"""Reconcilers of the compute room: deletions that waited, machines that went, the power that servers show."""

from __future__ import annotations

from ingot.compute.service import Compute
from ingot.workflow import Loop

DELETIONS_EVERY = 10.0
POWER_EVERY = 15.0
MACHINES_EVERY = 5.0


def loops(compute: Compute) -> list[Loop]:
    """To be started by the app where conductors run."""

    async def begin() -> None:
        if await compute.db.read(compute.deletions_wait):
            await compute.db.write(compute.begin_deletions)

    async def sync() -> None:
        changes = await compute.db.scan(compute.changed_power)
        if changes:
            await compute.db.write(lambda conn: compute.show_power(conn, changes))

    async def lost() -> None:
        if uuids := await compute.db.scan(compute.machineless):
            await compute.db.write(lambda conn: compute.tell_machineless(conn, uuids))

    deletions = Loop("server deletions", DELETIONS_EVERY, begin, clock=compute.clock)
    compute.on_ended(deletions.kick)
    return [
        deletions,
        Loop("server power", POWER_EVERY, sync, clock=compute.clock),
        Loop("server machines", MACHINES_EVERY, lost, clock=compute.clock),
    ]
