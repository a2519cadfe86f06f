"""Audit records come through whatever a request holds, and one that cannot be written stops no other."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import falcon.testing
import pytest
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.audit import recorder as audit_recorder
from ingot.kit.audit.recorder import Audit, Entry
from ingot.kit.auth.policy import Caller, Policy
from ingot.kit.db.database import Database, DatabaseUnavailable, ReadOnly, Transaction
from ingot.kit.http.server import WebApp, plain_envelope
from ingot.kit.tasks.clock import SystemClock

pytestmark = pytest.mark.anyio


T = TypeVar("T")


class Sometimes(Database):
    """A database that goes away after so many more writes."""

    left: int | None = None

    async def write(self, change: Transaction[T], *, serializable: bool = True) -> T:
        if self.left == 0:
            raise DatabaseUnavailable(OSError("gone"))
        if self.left is not None:
            self.left -= 1
        return await super().write(change, serializable=serializable)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sometimes]:
    sqlite = request.param == "sqlite"
    made = Sometimes(
        f"sqlite:///{tmp_path}/x.db" if sqlite else request.getfixturevalue("postgres_url")
    )
    await made.create_all()
    yield made
    await made.close()


def entry(target: str, **more: Any) -> Entry:
    """An object() in its data cannot be stored."""
    values = {"service": "things", "action": "delete", "target_type": "things"}
    return Entry(**{**values, **more}, target_id=target, status=204)


async def targets(db: Database) -> list[str | None]:
    """Of the records that are stored, oldest first."""
    found = await db.read(audit_recorder.query)
    return [one.target_id for one in reversed(found)]


class Notes:
    """What goes beside the database."""

    def __init__(self) -> None:
        self.targets: list[str | None] = []

    async def __call__(self, batch: Sequence[Entry]) -> None:
        self.targets += [one.target_id for one in batch]


async def test_a_request_with_control_characters_is_recorded(db: Sometimes) -> None:
    async def gone(_call: Call) -> Reply:
        return Reply(status=204)

    async def member(header: object) -> Caller:
        assert header
        return Caller(user_id="u", user_name="a  b", roles=frozenset({"member"}))

    service = Service(
        name="things",
        prefix="/things",
        operations=[Operation("DELETE", "/v1/things/{id}", gone, rule="any")],
        envelope=plain_envelope,
        policy=Policy({"any": "role:member"}),
        authenticator=member,
    )
    kept = Audit(db, SystemClock(), "here")
    async with falcon.testing.ASGIConductor(WebApp([service], audit=kept.note).asgi) as conductor:
        for name in ("%00", "one", "%1b%5b31m"):
            await conductor.simulate_delete(f"/things/v1/things/{name}")
    await kept.close()
    assert await targets(db) == ["\\x00", "one", "\\x1b[31m"]
    assert {one.user_name for one in await db.read(audit_recorder.query)} == {"a  b"}


async def test_all_texts_of_a_record_are_plain_and_short(db: Sometimes) -> None:
    kept, odd = Audit(db, SystemClock(), "here"), "\0\ud800" + "x" * 999
    names = ["request_id", "client", "service", "action", "target_type", "user_id", "user_name"]
    data = {"reason": odd, "fields": [odd], "agent": "\x1b", "count": 2, "scope": None}
    kept.note(entry(odd, **dict.fromkeys(names, odd), data=data))
    await kept.close()
    (one,) = await db.read(audit_recorder.query)
    told = [getattr(one, name) for name in (*names, "target_id")]
    told += [one.data["reason"], one.data["fields"][0]]
    for text in told:
        assert text.startswith("\\x00\\ud800x") and len(text) == 255
    assert one.data["agent"] == "\\x1b" and one.data["count"] == 2 and one.data["scope"] is None


async def test_what_cannot_be_written_stops_no_other(db: Sometimes) -> None:
    notes = Notes()
    kept = Audit(db, SystemClock(), "here", [notes])
    for name in ("a", "b", "c"):
        kept.note(entry(name, data={"odd": object()} if name == "b" else {}))
    await kept.close()
    kept.note(entry("d"))
    await kept.close()
    assert await targets(db) == ["a", "c", "d"]
    assert notes.targets == ["a", "b", "c", "d"]


async def test_a_database_that_goes_away_in_the_middle_gets_each_once(db: Sometimes) -> None:
    notes = Notes()
    kept = Audit(db, SystemClock(), "here", [notes])
    for name in ("a", "b", "c", "d"):
        kept.note(entry(name, data={"odd": object()} if name == "b" else {}))
    db.left = 3  # all of them, a, b
    await kept.close()
    assert await targets(db) == ["a"] and notes.targets == ["a", "b", "c", "d"]
    db.left = None
    await kept.close()
    assert await targets(db) == ["a", "c", "d"] and notes.targets == ["a", "b", "c", "d"]


async def test_records_wait_for_a_database_that_another_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = Database.at(tmp_path / "x.db")
    await db.create_all()
    await _say(db, "COMMIT", "PRAGMA busy_timeout=10", "BEGIN IMMEDIATE")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kept = Audit(db, SystemClock(), "here")
    for name in ("a", "b", "c"):
        kept.note(entry(name))
        await kept.close()
    assert b"ingot_audit_records_waiting 3\n" in kept.text()
    assert len([one for one in caplog.messages if one.startswith("audit records wait")]) == 1
    other.execute("ROLLBACK")
    other.close()
    kept.note(entry("d"))
    await kept.close()
    assert await targets(db) == ["a", "b", "c", "d"]
    assert b"ingot_audit_records_waiting 0\n" in kept.text()
    assert b"ingot_audit_records_lost_total 0\n" in kept.text()
    await db.close()


async def test_records_wait_for_a_table_that_is_not_there(db: Sometimes) -> None:
    """As for whatever else an operator does behind our back: only what is wrong in a record drops it."""
    kept = Audit(db, SystemClock(), "here")
    await _say(db, "ALTER TABLE audit RENAME TO aside")
    kept.note(entry("a"))
    await kept.close()
    await _say(db, "ALTER TABLE aside RENAME TO audit")
    await kept.close()
    assert await targets(db) == ["a"]


async def _say(db: Database, *statements: str) -> None:
    def change(conn: sa.Connection) -> None:
        for text in statements:
            conn.exec_driver_sql(text)

    await db.write(change)


@pytest.mark.postgres
async def test_records_wait_for_a_standby(postgres_url: str) -> None:
    db = Database(postgres_url)
    await db.create_all()
    name = postgres_url.rsplit("/", 1)[1].partition("?")[0]

    words = f'ALTER DATABASE "{name}" SET default_transaction_read_only'
    await _say(db, f"{words} = on")
    standby = Database(postgres_url)
    kept = Audit(standby, SystemClock(), "here")
    kept.note(entry("a"))
    await kept.close()
    with pytest.raises(ReadOnly) as refused:
        await standby.write(lambda conn: conn.exec_driver_sql("DELETE FROM audit"))
    assert "read-only" in refused.value.text == str(refused.value)
    await _say(db, "SET TRANSACTION READ WRITE", f"{words} = off")
    await kept.close()
    assert await targets(standby) == ["a"]
    await standby.close()
    await db.close()


async def test_more_than_can_wait_are_counted(db: Sometimes) -> None:
    kept = Audit(db, SystemClock(), "here")
    db.left = 0
    for number in range(audit_recorder.MOST_WAITING + 5):
        kept.note(entry(f"{number}"))
    await kept.close()
    assert b"ingot_audit_records_lost_total 5\n" in kept.text()
    db.left = None
    await kept.close()
    (last, *_) = await db.read(audit_recorder.query)
    assert (await db.read(lambda conn: audit_recorder.query(conn, service="audit")))[0].data[
        "count"
    ] == 5
    assert last.target_id == f"{audit_recorder.MOST_WAITING + 4}"
