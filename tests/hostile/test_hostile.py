"""A small hostile run; `python -m tests.hostile.run` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.requests import Generator, Row, rows, seeded
from tests.hostile.run import hostile
from tests.site.server import site

METHODS = {b"GET", b"POST", b"PUT", b"PATCH"}
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def test_the_same_seed_sends_the_same(tmp_path: Path) -> None:
    table = rows(tmp_path)
    assert {row.listener for row in table} == {"api", "boot"} and len(table) > 400

    def first(number: int) -> list[bytes]:
        made = Generator(seeded(1, number), table, {"admin": "t"}, ["n1"], {"node": "n1"})
        return [made.next().data for _ in range(500)]

    assert first(0) == first(0) != first(1)


def test_templates_are_spoilt_in_one_place() -> None:
    """What is spoilt stays a request of its operation: most of them reach a table of ours."""
    table = [Row("api", "GET", "/identity/v3")]
    words = {"node": "n1", "image": "i1"}
    made = Generator(seeded(2, 0), table, {"admin": "t", "system": "s"}, [], words)
    sent = [made.spoilt() for _ in range(3000)]
    assert {one.listener for one in sent} == {"api", "boot"}
    assert sum(b"\\u0000" in one.data for one in sent) > 100
    assert any(b"1" + b"0" * 400 in one.data for one in sent)
    assert all(one.data.split(b" ", 1)[0] in METHODS for one in sent)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_hostile_requests_do_no_harm(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    async with site(tmp_path, **{"": {"database": url}, "log": {"level": "error"}}) as here:
        outcome = await hostile(here, 2000, 7)
        assert not outcome.errors, (outcome.errors[:3], here.log()[-3000:])
        assert not outcome.unanswered, outcome.unanswered[:3]
        # Other tests run beside: only a request that blocks the others is meant here.
        assert outcome.silence < 10
        assert outcome.statuses[200] > 50 and outcome.statuses[400] > 50, outcome.statuses
