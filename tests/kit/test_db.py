"""The database on PostgreSQL: connections that the server has dropped are not felt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from ingot.kit.db import STILL, Database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WHO = sa.text("SELECT pg_backend_pid()")


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Database]:
    made = Database(postgres_url)
    yield made
    await made.close()


def pid(conn: sa.Connection) -> int:
    return conn.execute(WHO).scalar_one()


def end_others(conn: sa.Connection) -> None:
    others = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    )
    conn.execute(sa.text(others + " AND backend_type = 'client backend'"))


async def drop_connections(db: Database) -> None:
    """As a restart of the database does, seen from the connections."""
    other = Database(db.url)
    await other.read(end_others)
    await other.close()


async def test_a_read_after_dropped_connections_succeeds(db: Database) -> None:
    first = await db.read(pid)
    await drop_connections(db)
    assert await db.read(pid) != first


async def test_a_write_after_a_pause_finds_a_new_connection(db: Database) -> None:
    first = await db.write(pid)
    await drop_connections(db)
    await asyncio.sleep(1.1)  # connections are asked only after a second of idleness
    assert await db.write(pid) != first


async def test_a_read_sees_what_was_committed_meanwhile(db: Database) -> None:
    await db.write(lambda conn: conn.execute(sa.text("CREATE TABLE kept (word text)")))

    async def put() -> None:
        await db.write(lambda conn: conn.execute(sa.text("INSERT INTO kept VALUES ('x')")))

    await asyncio.gather(*(put() for _ in range(30)))
    count = await db.read(lambda conn: conn.execute(sa.text("SELECT count(*) FROM kept")).scalar())
    assert count == 30


async def test_a_process_that_stands_still_keeps_no_locks(db: Database) -> None:
    """What a controller holds when it is stopped in the middle of a transaction is free again soon."""
    wanted = sa.text("SHOW idle_in_transaction_session_timeout")
    for ask in (db.read, db.write):
        told = await ask(lambda conn: conn.execute(wanted).scalar_one())
        assert told == f"{STILL:.0f}s"


async def test_the_victim_of_a_deadlock_is_run_again(db: Database) -> None:
    await db.write(lambda conn: conn.execute(sa.text("CREATE TABLE pair (id int, count int)")))
    await db.write(lambda conn: conn.execute(sa.text("INSERT INTO pair VALUES (1, 0), (2, 0)")))
    runs: list[tuple[int, int]] = []

    def change(first: int, second: int, conn: sa.Connection) -> None:
        runs.append((first, second))
        one = "UPDATE pair SET count = count + 1 WHERE id = :id"
        conn.execute(sa.text(one), {"id": first})
        if len(runs) < 3:  # by then both hold what the other wants
            conn.execute(sa.text("SELECT pg_sleep(0.5)"))
        conn.execute(sa.text(one), {"id": second})

    await asyncio.gather(
        db.write(lambda conn: change(1, 2, conn)), db.write(lambda conn: change(2, 1, conn))
    )
    rows = await db.read(lambda conn: list(conn.execute(sa.text("SELECT count FROM pair"))))
    assert [count for (count,) in rows] == [2, 2]
    assert len(runs) == 3, "nobody was in the way: the test shows nothing"
