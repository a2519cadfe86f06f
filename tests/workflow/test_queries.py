"""Queries of the timeline that no column and no calendar holds are refused; those at the edge are answered."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import pytest

import ingot.app.build  # noqa: F401  (all tables hang on one metadata)
from ingot.kit.auth.policy import Caller
from ingot.kit.db.database import Database
from ingot.kit.http.server import WebApp
from ingot.kit.tasks.clock import SystemClock
from ingot.kit.tasks.events import EventHub
from ingot.workflow.api import Timeline

pytestmark = pytest.mark.anyio


async def admin(header: object) -> Caller:
    assert header
    return Caller(user_id="u", project_id="p", roles=frozenset({"admin"}))


async def test_numbers_and_times_at_the_edge(tmp_path: Path) -> None:
    db = Database.at(tmp_path / "ingot.db")
    await db.create_all()
    app = WebApp([Timeline(db, EventHub(db, SystemClock())).service(admin)]).asgi
    async with falcon.testing.ASGIConductor(app) as conductor:

        async def ask(path: str) -> int:
            return (await conductor.simulate_get(f"/timeline/v1/{path}")).status_code

        for path in ("events", "audit"):
            assert await ask(f"{path}?before={2**63 - 1}") == 200
            assert await ask(f"{path}?before={10**20 - 1}") == 400
            assert await ask(f"{path}?before=-{10**20}") == 400
            for name in ("since", "until"):
                assert await ask(f"{path}?{name}=0001-01-01T00:00:00Z") == 200
                assert await ask(f"{path}?{name}=9999-12-31T23:59:59") == 200
                assert await ask(f"{path}?{name}=0001-01-01T00:00:00%2B14:00") == 400
                assert await ask(f"{path}?{name}=9999-12-31T23:59:59-10:00") == 400
        assert await ask(f"events?after={2**63}") == 400
        assert await ask(f"stream?after={2**63}") == 400
    await db.close()
