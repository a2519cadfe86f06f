"""Refused requests are gathered, whoever floods the cloud with them; nothing hides what is done or what others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingot.kit.audit import recorder as audit_recorder
from ingot.kit.audit.recorder import Audit, Entry
from ingot.kit.db.database import Database
from ingot.kit.tasks.clock import VirtualClock

pytestmark = pytest.mark.anyio


def refused(target: str | None, user: str = "u", status: int = 404, **more: Any) -> Entry:
    values: dict[str, Any] = {"service": "compute", "action": "delete", "client": "192.0.2.1"}
    values |= {"target_type": "compute/servers", "data": {"reason": "There is none."}}
    return Entry(**{**values, **more}, user_id=user, target_id=target, status=status)


async def stored(db: Database) -> list[audit_recorder.Stored]:
    return list(reversed(await db.read(audit_recorder.query)))


@pytest.fixture
async def db(tmp_path: Path) -> Any:
    made = Database.at(tmp_path / "x.db")
    await made.create_all()
    yield made
    await made.close()


async def test_those_alike_are_one_record_and_a_count(db: Database) -> None:
    clock = VirtualClock()
    kept = Audit(db, clock, "here")
    for _ in range(50):
        kept.note(refused("same"))
        clock.advance(1)
    await kept.close()
    one, more = await stored(db)
    assert one.target_id == more.target_id == "same" and "count" not in one.data
    assert more.data["count"] == 49 and more.data["reason"] == "There is none."
    assert one.at < more.data["first"] < more.data["last"] < more.at


async def test_a_flood_of_ids_that_are_not_there_is_bounded(db: Database) -> None:
    kept = Audit(db, VirtualClock(), "here")
    for number in range(5000):
        kept.note(refused(f"guess-{number}", status=(403, 404)[number % 2]))
    kept.note(refused("mine", user="another"))
    await kept.close()
    found = await stored(db)
    assert len(found) < 30 and found[-1].data["count"] + len(found) - 2 == 5000
    assert [one.target_id for one in found if one.user_id == "another"] == ["mine"]
    assert found[-1].target_id is None and found[-1].action == "delete"


async def test_a_flood_of_every_sort_by_many_is_bounded(db: Database) -> None:
    kept = Audit(db, VirtualClock(), "here")
    for number in range(20_000):
        kept.note(
            refused(f"{number}", user=f"{number % 900}", target_type=f"compute/{number % 77}")
        )
    await kept.close()
    found = await stored(db)
    assert len(found) <= 2 * 102
    alone = sum("count" not in one.data for one in found)
    assert alone + sum(one.data.get("count", 0) for one in found) == 20_000


async def test_log_ins_by_one_address_do_not_hide_those_of_others(db: Database) -> None:
    kept = Audit(db, VirtualClock(), "here")
    words: dict[str, Any] = {"service": "identity", "action": "authenticate", "status": 401}
    words["target_type"] = "identity/auth/tokens"
    for number in range(1000):
        kept.note(Entry(**words, client="192.0.2.6", user_name=f"guess-{number}"))
    for _ in range(2):
        kept.note(Entry(**words, client="192.0.2.7", user_name="alice"))
    await kept.close()
    found = await stored(db)
    assert len(found) < 30
    alice = [one for one in found if one.user_name == "alice"]
    assert [one.data.get("count") for one in alice] == [None, 1]
    (rest,) = (one for one in found if one.data.get("count", 0) > 900)
    assert rest.client == "192.0.2.6" and rest.user_name is None


async def test_what_is_done_is_never_gathered(db: Database) -> None:
    kept = Audit(db, VirtualClock(), "here")
    for _ in range(300):
        kept.note(refused("same", status=204))
    await kept.close()
    assert len(await stored(db)) == 300
