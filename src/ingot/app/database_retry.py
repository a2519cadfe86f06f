"""Answers to booting machines wait for a database that is away.

Firmware that is told 503 boots something else, and is not seen again before the patience of its operation ends;
while it waits for an answer it waits long. Clients of the APIs are told 503 at once: they know to ask again.
"""

from __future__ import annotations

import dataclasses
import functools

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.db.database import DatabaseUnavailable
from ingot.kit.tasks.clock import Clock

#: Seconds for which an answer is held back, and the pause between two looks.
HOLD_SECONDS = 120.0
PAUSE_SECONDS = 0.5


def retry_while_unavailable(operation: Operation, clock: Clock) -> Operation:
    """The same operation, done again while the database is away. It must bear that, as any request."""
    handler = operation.handler

    @functools.wraps(handler)
    async def held(call: Call) -> Reply | None:
        ends = clock.monotonic() + HOLD_SECONDS
        while True:
            try:
                return await handler(call)
            except DatabaseUnavailable:
                if operation.stream or clock.monotonic() > ends:
                    raise
            await clock.sleep(PAUSE_SECONDS)

    return dataclasses.replace(operation, handler=held)
