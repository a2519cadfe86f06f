"""A transaction as a verb sees it: its connection, its time, and what is to happen once it is committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from ingot.kit.db.database import Database, IntegrityError, after_commit, timestamp
from ingot.kit.faults import Fault, Kind
from ingot.kit.tasks.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction. now: its time as rows hold it (`timestamp`), the same for all that it writes."""

    conn: sa.Connection
    now: str

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` on the event loop once this has been committed; never when it was not."""
        after_commit(self.conn, action)


@dataclass(frozen=True)
class Transactions:
    """Begins transactions of one service."""

    db: Database
    clock: Clock

    async def read(self, query: Callable[[Tx], T]) -> T:
        """Look at one thing."""
        return await self.db.read(lambda conn: query(self.tx(conn)))

    async def scan(self, query: Callable[[Tx], T]) -> T:
        """Look at many things: lists."""
        return await self.db.scan(lambda conn: query(self.tx(conn)))

    async def write(self, change: Callable[[Tx], T], *, serializable: bool = True) -> T:
        """Change something. When another transaction took the same unique value first it is run once more, so that its
        own checks say so; Conflict when that does not help.

        serializable: false for changes that lock their rows first, or that only constraints and counters decide on.
        """

        def work(conn: sa.Connection) -> T:
            return change(self.tx(conn))

        try:
            return await self.db.write(work, serializable=serializable)
        except IntegrityError:
            try:
                return await self.db.write(work, serializable=serializable)
            except IntegrityError as again:
                raise Fault(
                    "The request conflicts with another one that came at the same time.",
                    kind=Kind.CONFLICT,
                    internal=str(again),
                    next_action="Try again.",
                ) from None

    def tx(self, conn: sa.Connection) -> Tx:
        """A transaction that somebody else has begun."""
        return Tx(conn, timestamp(self.clock.now()))
