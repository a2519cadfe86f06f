"""A small hostile run; `python -m tests.hostile.run` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.requests import Generator, rows, seeded
from tests.hostile.run import hostile
from tests.site.server import site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def test_the_same_seed_sends_the_same(tmp_path: Path) -> None:
    table = rows(tmp_path)
    assert {row.listener for row in table} == {"api", "boot"} and len(table) > 400

    def first(number: int) -> list[bytes]:
        made = Generator(seeded(1, number), table, {"admin": "t"}, ["n1"])
        return [made.next().data for _ in range(500)]

    assert first(0) == first(0) != first(1)


async def test_hostile_requests_do_no_harm(tmp_path: Path) -> None:
    async with site(tmp_path, log={"level": "error"}) as here:
        outcome = await hostile(here, 2000, 7)
        assert not outcome.errors, (outcome.errors[:3], here.log()[-3000:])
        assert not outcome.unanswered, outcome.unanswered[:3]
        # Other tests run beside: only a request that blocks the others is meant here.
        assert outcome.silence < 10
        assert outcome.statuses[200] > 50 and outcome.statuses[400] > 50, outcome.statuses
