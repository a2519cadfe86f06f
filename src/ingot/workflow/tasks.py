"""The asyncio tasks of a dispatcher: loops that run as long as it does, and small things it starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from ingot.kit.tasks.cancellation import cancel_and_wait

log = logging.getLogger(__name__)


class Tasks:
    """Tasks that end with their owner; what breaks one is logged and breaks nothing else."""

    def __init__(self) -> None:
        self._loops: list[asyncio.Task[Any]] = []
        self._small: set[asyncio.Task[Any]] = set()

    def loops(self, loops: Iterable[Coroutine[Any, Any, Any]]) -> None:
        self._loops += [asyncio.create_task(_guard(loop)) for loop in loops]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(_guard(work))
        self._small.add(task)
        task.add_done_callback(self._small.discard)

    async def join(self, *others: asyncio.Task[Any]) -> None:
        """Until the loops have ended."""
        await asyncio.gather(*self._loops, *others)

    async def cancel(self, *others: asyncio.Task[Any]) -> None:
        tasks = [*self._loops, *self._small, *others]
        self._loops = []
        await cancel_and_wait(tasks)


async def _guard(work: Coroutine[Any, Any, Any]) -> None:
    try:
        await work
    except Exception:
        log.exception("dispatcher: a task broke")
