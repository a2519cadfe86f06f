"""Rows by their keys, asked for one by one and read together.

Hundreds of operations that go on at the same moment each read their own row; on PostgreSQL every query is a round
trip. So what is asked for while a query is under way waits for the next, which is one for all. A lone question
waits for nothing, and no answer is older than its question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

import sqlalchemy as sa

from ingot.kit.db.database import Database

T = TypeVar("T")


class BatchLoader(Generic[T]):
    """query: the values of these keys; those that are absent have none. Not to be changed by who gets them."""

    def __init__(
        self, db: Database, query: Callable[[sa.Connection, Collection[str]], Mapping[str, T]]
    ) -> None:
        self._db = db
        self._query = query
        self._asked: list[tuple[str, asyncio.Future[T | None]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: str) -> T | None:
        """Raises Away."""
        if self._db.is_sqlite:  # where a query takes less than a task
            return (await self._db.read(lambda conn: self._query(conn, [key]))).get(key)
        answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._asked.append((key, answer))
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return await answer

    async def _read(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                await self._answer(asked)
        finally:
            self._reading = None

    async def _answer(self, asked: list[tuple[str, asyncio.Future[T | None]]]) -> None:
        keys = {key for key, _ in asked}
        try:
            found = await self._db.read(lambda conn: self._query(conn, keys))
        except BaseException as error:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for key, answer in asked:
            if not answer.done():
                answer.set_result(found.get(key))
