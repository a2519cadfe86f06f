"""Saves of many operations, grouped into few commits.

While one commit is under way the saves that come in wait together for the next: a lone operation pays no
delay, three hundred share their commits. One author's exception must not roll back another's step: where a
save's own function raises, or its lease is lost, all of that commit is rolled back and the saves with such
functions are written one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from ingot.kit.db.database import Database, DatabaseUnavailable
from ingot.kit.tasks import events

from . import signal_store, store
from .types import LeaseLost, StepRow

T = TypeVar("T")


@dataclass
class Save:
    """What one operation wants to have written, provided that its epoch still holds.

    pushed: positions in `events` that were pushed live already.
    changes: columns of the operation's row. ends: it is over, so its signals go.
    first: runs before, in the same transaction, and may fill in the rest; it may run again after a rollback.
    """

    op_id: str
    epoch: int
    steps: list[StepRow] = field(default_factory=list[StepRow])
    events: list[events.Event] = field(default_factory=list[events.Event])
    pushed: set[int] = field(default_factory=set[int])
    changes: dict[str, Any] | None = None
    ends: bool = False
    first: Callable[[sa.Connection], None] | None = None


Waiting = tuple[Save, asyncio.Future[str | None]]


@dataclass
class Saver:
    """Writes saves. `busy` counts those under way (virtual time must not move while there are any).

    batch: most saves in a commit; with_author: of them those that carry a function of the author's, so that
    requests need not wait long for the one writer of SQLite.
    """

    db: Database
    batch: int = 100
    with_author: int = 20
    busy: int = 0

    def __post_init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._flushers: set[asyncio.Task[None]] = set()
        self._active = 0
        # One writer on SQLite. On PostgreSQL two commits overlap: more would be smaller, and cost more round trips.
        self._most = 1 if self.db.is_sqlite else 2

    @property
    def backlog(self) -> int:
        """Saves that wait for a commit which has not begun."""
        return len(self._waiting)

    async def save(self, save: Save) -> str | None:
        """Write with others; gives the reason of an abort that was asked for. Raises Lost."""
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((save, answer))
        if self._active < self._most:
            self._active += 1
            task = asyncio.create_task(self._flush())
            self._flushers.add(task)
            task.add_done_callback(self._flushers.discard)
        return await answer

    @contextlib.contextmanager
    def working(self) -> Generator[None]:
        """What happens inside counts as busy."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    async def write(self, run: Callable[[sa.Connection], T]) -> T:
        """A transaction that counts as busy."""
        with self.working():
            return await self.db.write(run, serializable=False)

    async def single(self, run: Callable[[sa.Connection], T]) -> T:
        """A change of one statement that counts as busy."""
        with self.working():
            return await self.db.single(run)

    async def read(self, query: Callable[[sa.Connection], T]) -> T:
        """A query that counts as busy."""
        with self.working():
            return await self.db.read(query)

    async def _flush(self) -> None:
        try:
            while self._waiting:
                await self._flush_batch()
        finally:
            # In the same breath as the look at `_waiting`, so that no save falls between two flushers.
            self._active -= 1

    async def _flush_batch(self) -> None:
        batch = self._next()
        with self.working():
            try:
                await self._settle(batch)
            except BaseException:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(asyncio.CancelledError())
                raise

    def _next(self) -> list[Waiting]:
        """What goes into the next commit, in the order in which it came."""
        authors = count = 0
        for save, _ in self._waiting[: self.batch]:
            authors += save.first is not None
            if authors > self.with_author:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch

    async def _settle(self, batch: list[Waiting]) -> None:
        """Write them together; apart when one of them cannot be written with the others."""
        try:
            held = await self.db.write(
                lambda conn: _write_batch(conn, [save for save, _ in batch]), serializable=False
            )
        except (Exception, LeaseLost) as error:
            apart = [one for one in batch if one[0].first is not None]
            if len(batch) == 1 or not apart or isinstance(error, DatabaseUnavailable):
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                return
            plain = [one for one in batch if one[0].first is None]
            for part in ([plain] if plain else []) + [[one] for one in apart]:
                await self._settle(part)
            return
        for save, answer in batch:
            if answer.done():
                continue
            if save.op_id in held:
                answer.set_result(held[save.op_id])
            else:
                answer.set_exception(LeaseLost())


def _write_batch(conn: sa.Connection, saves: list[Save]) -> dict[str, str | None]:
    """Gives the operations that were ours, with the reasons of aborts that were asked for."""
    for save in saves:
        if save.first is not None:
            save.first(conn)
    held = store.fence(conn, {save.op_id: save.epoch for save in saves})
    if any(save.first is not None and save.op_id not in held for save in saves):
        raise LeaseLost
    write(conn, [save for save in saves if save.op_id in held])
    return held


def write(conn: sa.Connection, saves: list[Save]) -> None:
    """Write the rows of saves whose operations are locked and ours."""
    store.save_steps(conn, [row for save in saves for row in save.steps])
    store.change(conn, [(save.op_id, save.changes) for save in saves if save.changes])
    ended = [save.op_id for save in saves if save.ends]
    signal_store.forget_all_signals(conn, ended)
    told: list[events.Event] = []
    quiet: set[int] = set()
    for save in saves:
        quiet.update(len(told) + position for position in save.pushed)
        told.extend(save.events)
    events.record_all(conn, told, quiet)
