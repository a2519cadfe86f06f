"""Marks of starts and stops: they hinder neither, whatever the database says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingot.app import starts
from ingot.kit.db.database import Contended, Database

pytestmark = pytest.mark.anyio


class Busy(Database):
    """A database where others change the same rows again and again."""

    async def write(self, change: Any, *, serializable: bool = True) -> Any:
        raise Contended(RuntimeError("could not serialize"))


@pytest.mark.parametrize("mark", [starts.tell, starts.tell_end])
async def test_a_full_disk_hinders_no_start(tmp_path: Path, mark: Any) -> None:
    db = Database.at(tmp_path / "ingot.db")
    try:
        await db.create_all()
        # As many pages as there are, for this connection.
        await db.write(lambda conn: conn.exec_driver_sql("PRAGMA max_page_count = 1"))
        for _ in range(2000):  # until the room in these is used up
            await mark(db, "host-1")
            if db.full:
                break
        assert "full" in db.full
    finally:
        await db.close()


@pytest.mark.parametrize("mark", [starts.tell, starts.tell_end])
async def test_a_crowd_at_the_database_hinders_no_start(tmp_path: Path, mark: Any) -> None:
    db = Busy(f"sqlite:///{tmp_path}/ingot.db")
    try:
        await mark(db, "host-1")
    finally:
        await db.close()
