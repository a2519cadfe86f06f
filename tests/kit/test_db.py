"""The database on PostgreSQL: connections that the server has dropped are not felt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ingot.kit.db.database import (
    _LANE,
    STILL,
    Database,
    IntegrityError,
    NoRoom,
    after_commit,
)
from ingot.kit.faults import Kind, beyond

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
        as_fault = await ask(lambda conn: conn.execute(wanted).scalar_one())
        assert as_fault == f"{STILL:.0f}s"


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
    assert len(runs) >= 3, "nobody was in the way: the test shows nothing"


async def _counter(db: Database) -> None:
    await db.write(lambda conn: conn.execute(sa.text("CREATE TABLE tally (id int, words text)")))
    await db.write(lambda conn: conn.execute(sa.text("INSERT INTO tally VALUES (1, '')")))


def _add(word: str, conn: sa.Connection) -> None:
    """What an API's PATCH does: read, decide, write."""
    words = conn.execute(sa.text("SELECT words FROM tally WHERE id = 1")).scalar_one()
    conn.execute(sa.text("UPDATE tally SET words = :w WHERE id = 1"), {"w": f"{words} {word}"})


async def test_of_many_who_read_then_write_nobody_is_lost(db: Database) -> None:
    await _counter(db)
    wanted = [f"w{number}" for number in range(60)]
    await asyncio.gather(*(db.write(lambda conn, w=w: _add(w, conn)) for w in wanted))
    words = await db.read(lambda conn: conn.execute(sa.text("SELECT words FROM tally")).scalar())
    assert sorted(str(words).split()) == sorted(wanted)


async def test_of_many_in_three_processes_nobody_is_lost(db: Database) -> None:
    """Three engines with pools of their own, as three processes have them."""
    await _counter(db)
    others = [Database(db.url), Database(db.url)]
    wanted = [f"w{number}" for number in range(60)]
    try:
        await asyncio.gather(
            *(
                one.write(lambda conn, w=w: _add(w, conn))
                for w, one in zip(wanted, [db, *others] * 20, strict=True)
            )
        )
    finally:
        for one in others:
            await one.close()
    words = await db.read(lambda conn: conn.execute(sa.text("SELECT words FROM tally")).scalar())
    assert sorted(str(words).split()) == sorted(wanted)


async def test_count_then_insert_keeps_its_limit(db: Database) -> None:
    """Write skew: each alone is right; together they would be too many."""
    await db.write(lambda conn: conn.execute(sa.text("CREATE TABLE things (id int)")))
    await db.write(lambda conn: conn.execute(sa.text("INSERT INTO things VALUES (0)")))

    def take(number: int, conn: sa.Connection) -> bool:
        if conn.execute(sa.text("SELECT count(*) FROM things")).scalar_one() >= 5:
            return False
        conn.execute(sa.text("INSERT INTO things VALUES (:n)"), {"n": number})
        return True

    taken = await asyncio.gather(*(db.write(lambda conn, n=n: take(n, conn)) for n in range(1, 31)))
    assert sum(taken) == 4


async def test_who_comes_second_meets_his_own_check_and_no_violation(db: Database) -> None:
    table = "CREATE TABLE names (name text PRIMARY KEY)"
    await db.write(lambda conn: conn.execute(sa.text(table)))

    def claim(conn: sa.Connection) -> str:
        there = conn.execute(sa.text("SELECT count(*) FROM names WHERE name = 'x'")).scalar_one()
        if there:
            return "taken"
        conn.execute(sa.text("INSERT INTO names VALUES ('x')"))
        return "made"

    as_fault = await asyncio.gather(*(db.write(claim) for _ in range(20)))
    assert sorted(as_fault) == ["made"] + ["taken"] * 19


async def test_a_violation_that_no_check_foresees_is_told(db: Database) -> None:
    table = "CREATE TABLE names (name text PRIMARY KEY)"
    await db.write(lambda conn: conn.execute(sa.text(table)))
    insert = sa.text("INSERT INTO names VALUES ('x')")
    await db.write(lambda conn: conn.execute(insert))
    with pytest.raises(IntegrityError):
        await db.write(lambda conn: conn.execute(insert))
    assert await db.write(pid), "the connection is whole"


async def test_what_follows_a_commit_follows_once(db: Database) -> None:
    """Also when the transaction was run several times."""
    await _counter(db)
    followed: list[str] = []

    def change(word: str, conn: sa.Connection) -> None:
        after_commit(conn, lambda: followed.append(word))
        _add(word, conn)

    wanted = [f"w{number}" for number in range(20)]
    await asyncio.gather(*(db.write(lambda conn, w=w: change(w, conn)) for w in wanted))
    assert sorted(followed) == sorted(wanted)


async def test_a_disk_that_is_full_is_told_as_such(db: Database) -> None:
    def full(conn: sa.Connection) -> None:
        conn.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$"))

    with pytest.raises(NoRoom) as refused:
        await db.write(full)
    assert refused.value.kind is Kind.DISK_FULL and refused.value.text in db.full
    with pytest.raises(NoRoom):
        await db.single(full)
    assert await db.write(lambda conn: conn.execute(sa.text("SELECT 1")).scalar()) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_errors_tell_no_values(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """They are logged with their traceback, and values may be secrets."""
    made = (
        Database(request.getfixturevalue("postgres_url"))
        if kind == "postgres"
        else Database.at(tmp_path / "x.db")
    )
    try:
        with pytest.raises(DBAPIError) as caught:
            await made.write(
                lambda conn: conn.execute(
                    sa.text("INSERT INTO nowhere VALUES (:v)"), {"v": "s3cret"}
                )
            )
        assert "s3cret" not in str(caught.value)
        assert "INSERT INTO nowhere" in str(caught.value)
    finally:
        await made.close()


async def test_a_text_that_is_too_long_is_the_clients_mistake(db: Database) -> None:
    await db.write(lambda conn: conn.execute(sa.text("CREATE TABLE short (word varchar(3))")))
    with pytest.raises(DBAPIError) as caught:
        insert = sa.text("INSERT INTO short VALUES ('four')")
        await db.write(lambda conn: conn.execute(insert))
    fault = beyond(caught.value)
    assert fault is not None and fault.kind is Kind.INVALID


async def test_nobody_waits_for_ever_for_one_who_was_stopped_in_the_lane(db: Database) -> None:
    """A process that is stopped, or whose host is gone, keeps its advisory lock for as long as TCP lets it."""
    await _counter(db)
    other = Database(db.url)
    tried = 0

    def change(conn: sa.Connection) -> None:
        nonlocal tried
        tried += 1
        if tried < 4:
            conn.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        _add("x", conn)

    try:
        await other.single(lambda conn: conn.exec_driver_sql(f"SELECT pg_advisory_lock({_LANE})"))
        async with asyncio.timeout(40):
            await db.write(change)
        waits = await db.write(lambda conn: conn.execute(sa.text("SHOW lock_timeout")).scalar_one())
        assert waits == "0" and tried == 4
    finally:
        await other.close()
