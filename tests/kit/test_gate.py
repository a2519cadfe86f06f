"""A crowd of transactions: those that end each other come fewer at a time, and each is still done once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.kit.db.gate import Gate

pytestmark = pytest.mark.anyio
CROWD = 120


async def _most_at_once(gate: Gate, count: int) -> int:
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with gate.entered(9):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(count)))
    return most


async def test_it_narrows_with_clashes_and_widens_again() -> None:
    gate = Gate(8)
    assert await _most_at_once(gate, 20) == 8 and not gate.alone
    gate.clashed()
    gate.clashed()
    assert await _most_at_once(gate, 12) == 2
    for _ in range(5):
        gate.clashed()
    assert gate.alone
    assert await _most_at_once(gate, 9) == 1
    assert await _most_at_once(gate, 200) == 8 and not gate.alone


async def test_turns_come_in_order_and_none_is_lost_with_who_goes_away() -> None:
    gate = Gate(1)
    served: list[int] = []

    async def one(number: int) -> None:
        async with gate.entered(9):
            served.append(number)
            await asyncio.sleep(0)

    tasks = [asyncio.ensure_future(one(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()  # it still waits
    tasks[0].cancel()  # it is inside
    tasks[1].cancel()  # let in by the one before, it never comes to know
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [0, 3, 4, 5]
    assert await _most_at_once(gate, 3) == 1


async def test_a_crowd_at_one_row_is_not_run_again_and_again(postgres_url: str) -> None:
    """Three processes' connections, and one row that all of them change."""
    runs = 0

    def change(conn: sa.Connection) -> None:
        nonlocal runs
        runs += 1
        (seen,) = conn.exec_driver_sql("SELECT n FROM hot").one()
        conn.exec_driver_sql(f"UPDATE hot SET n = {seen + 1}")

    async with AsyncExitStack() as stack:
        dbs = [Database(postgres_url) for _ in range(3)]
        for db in dbs:
            stack.push_async_callback(db.close)
        await dbs[0].write(lambda conn: conn.exec_driver_sql("CREATE TABLE hot (n integer)"))
        await dbs[0].write(lambda conn: conn.exec_driver_sql("INSERT INTO hot VALUES (0)"))
        await asyncio.gather(*(dbs[n % 3].write(change) for n in range(CROWD)))
        assert await dbs[0].read(lambda c: c.exec_driver_sql("SELECT n FROM hot").scalar()) == CROWD
    # Nearly three times as often without a gate; a little more than once with it, where nothing else is at work.
    assert runs < 2.5 * CROWD, runs


async def test_what_is_read_by_an_index_is_no_reason_to_end_others(postgres_url: str) -> None:
    """PostgreSQL reads small and new tables row after row, and then notes that all of them was read."""
    db = Database(postgres_url)
    try:
        await db.write(
            lambda conn: conn.exec_driver_sql("CREATE TABLE few (id integer PRIMARY KEY)")
        )
        await db.write(
            lambda conn: conn.exec_driver_sql(
                "INSERT INTO few SELECT * FROM generate_series(1, 50)"
            )
        )

        await db.write(lambda conn: conn.exec_driver_sql("ANALYZE few"))

        def noted(conn: sa.Connection) -> list[str]:
            conn.exec_driver_sql("SELECT id FROM few WHERE id = 7")
            query = "SELECT relation::regclass::text || ' ' || locktype FROM pg_locks"
            rows = conn.exec_driver_sql(f"{query} WHERE mode = 'SIReadLock'")
            return [str(row[0]) for row in rows]

        assert "few relation" not in await db.write(noted)
    finally:
        await db.close()


async def test_nobody_waits_for_ever() -> None:
    gate = Gate(1)
    async with gate.entered(9):
        with pytest.raises(TimeoutError):
            async with gate.entered(0.01):
                raise AssertionError
    assert await _most_at_once(gate, 3) == 1
