"""Ending tasks of our own.

`with suppress(CancelledError): await task` after `task.cancel()` looks right and is not: whoever is cancelled himself
while he waits there swallows it and goes on for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

log = logging.getLogger(__name__)

#: Seconds that cancelled tasks get to end.
_SECONDS = 15.0


async def cancel_and_wait(tasks: Collection[asyncio.Task[Any]], seconds: float = _SECONDS) -> None:
    """Cancel the tasks and see them end; what one of them broke with is logged. Raises when we are cancelled."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    ended, left = await asyncio.wait(tasks, timeout=seconds)
    for task in left:
        log.error("task %s did not end within %g s", task.get_name(), seconds)
    for task in ended:
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.warning("task %s ended with %r", task.get_name(), problem)
