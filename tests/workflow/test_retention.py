"""What is over goes when the operator wants: details before outlines, in batches, and nothing that lives."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import ingot.app.build  # noqa: F401  (all tables hang on one metadata)
from ingot.app.retention import BATCH, Keeper
from ingot.kit.audit import recorder as audit_recorder
from ingot.kit.db.database import Database, timestamp
from ingot.kit.tasks import events
from ingot.kit.tasks.clock import SystemClock
from ingot.services.compute.tables import servers
from ingot.settings import Retention
from ingot.workflow.tables import operations, steps

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
#: Many operations ended in the same moment.
NOW = CLOCK.now()


def put(conn: sa.Connection, name: str, days: int, *, ended: bool = True) -> None:
    at = timestamp(NOW - timedelta(days=days))
    values = dict.fromkeys(("kind", "profile", "group_name", "requested_by"), "")
    values |= {"id": name, "subject": f"node:{name}", "input": "{}", "state": "done"}
    more = {"version": 1, "epoch": 1, "created_at": at, "ended_at": at if ended else None}
    conn.execute(sa.insert(operations).values(**values, **more))
    step = {"operation_id": name, "seq": 1, "name": "s", "sort": "step", "state": "done"}
    conn.execute(sa.insert(steps).values(**step, attempt=1, started_at=at))


def fill(conn: sa.Connection) -> None:
    for number in range(BATCH + 7):
        put(conn, f"old-{number}", 40)
    put(conn, "live", 40, ended=False)
    put(conn, "new", 2)
    for days in (40, 2):
        at = CLOCK.now() - timedelta(days=days)
        events.record(conn, "node:x", "note", f"{days}", at=at)
        stored = dict.fromkeys(("host", "service", "action", "target_type"), "")
        row = {**stored, "at": timestamp(at), "status": days, "data": "{}"}
        conn.execute(sa.insert(audit_recorder.audit).values(**row))


async def left(db: Database) -> dict[str, set[str]]:
    def look(conn: sa.Connection) -> dict[str, set[str]]:
        found = {
            "operations": sa.select(operations.c.id),
            "steps": sa.select(steps.c.operation_id),
            "events": sa.select(events.events.c.title),
            "audit": sa.select(sa.cast(audit_recorder.audit.c.status, sa.Text)),
        }
        return {name: set(conn.execute(query).scalars()) for name, query in found.items()}

    return await db.read(look)


async def test_details_go_and_outlines_stay(tmp_path: Path) -> None:
    db = Database.at(tmp_path / "x.db")
    try:
        await db.create_all()
        await db.write(fill)
        before = await left(db)
        await Keeper(db, CLOCK, Retention(details_days=0, audit_days=0)).run()
        assert await left(db) == before, "0 is for ever"
        keeper = Keeper(db, CLOCK, Retention(details_days=30, audit_days=30))
        await keeper.run()
        after = await left(db)
        assert after["operations"] == before["operations"]
        assert after["steps"] == {"live", "new"}
        assert after["events"] == {"2"} and after["audit"] == {"2"}
        await keeper.run()
        assert await left(db) == after
        await Keeper(db, CLOCK, Retention(operations_days=30)).run()
        assert (await left(db))["operations"] == {"live", "new"}
    finally:
        await db.close()


async def test_the_newest_audit_records_stay_however_many_come(tmp_path: Path) -> None:
    db = Database.at(tmp_path / "x.db")
    try:
        await db.create_all()
        stored = dict.fromkeys(("host", "service", "action", "target_type"), "")
        row = {**stored, "at": timestamp(NOW), "data": "{}"}
        rows = [{**row, "status": number} for number in range(2 * BATCH + 7)]
        await db.write(lambda conn: conn.execute(sa.insert(audit_recorder.audit), rows))
        await Keeper(db, CLOCK, Retention(audit_records=0)).run()
        assert len((await left(db))["audit"]) == len(rows), "0 is for ever"
        for _ in range(2):
            await Keeper(db, CLOCK, Retention(audit_records=5)).run()
            assert (await left(db))["audit"] == {str(number) for number in range(1002, 1007)}
    finally:
        await db.close()


async def test_servers_that_were_deleted_long_ago_are_forgotten(tmp_path: Path) -> None:
    db = Database.at(tmp_path / "x.db")

    def put_servers(conn: sa.Connection) -> None:
        usual = {c.name: "" for c in servers.c if not c.nullable and c.name != "number"}
        usual |= dict.fromkeys(("power_state", "launch_index", "locked"), 0)
        for number in range(BATCH + 8):
            days = {0: None, 1: 2}.get(number, 40)
            gone = None if days is None else timestamp(NOW - timedelta(days=days))
            conn.execute(
                sa.insert(servers).values(**{**usual, "uuid": f"{number}"}, deleted_at=gone)
            )

    async def left_servers() -> list[str]:
        return await db.read(lambda conn: list(conn.execute(sa.select(servers.c.uuid)).scalars()))

    try:
        await db.create_all()
        await db.write(put_servers)
        await Keeper(db, CLOCK, Retention(servers_days=0)).run()
        assert len(await left_servers()) == BATCH + 8, "0 is for ever"
        await Keeper(db, CLOCK, Retention(servers_days=30)).run()
        assert await left_servers() == ["0", "1"]
    finally:
        await db.close()
