"""A small fleet of every kind of machine through its whole life; `fleet.py` is the long version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingot.lab.sim import PERSONALITIES
from tests.flows.fleet import TIMING, live, problems, show

pytestmark = pytest.mark.anyio

#: Seconds of a clock that runs ten times as fast; the machines' own runs a thousand times.
QUICK = replace(TIMING, agent=150, inspection=150)


@pytest.mark.timeout(600)
async def test_all_get_through_or_stop_with_a_cause_and_a_way_on() -> None:
    outcome = await live(60, seed=7, share=0.6, timing=QUICK)
    show(outcome)
    assert {end.personality for end in outcome.ends} == set(PERSONALITIES)
    assert problems(outcome.ends) == []


@pytest.mark.timeout(600)
async def test_a_seed_gives_the_same_ends_again() -> None:
    first = await live(16, seed=11, share=0.5, timing=QUICK)
    again = await live(16, seed=11, share=0.5, timing=QUICK)
    assert first.table() == again.table()


@pytest.mark.nightly
@pytest.mark.timeout(7200)
async def test_a_thousand() -> None:
    outcome = await live(1000, seed=7, hurry=5)
    show(outcome)
    assert problems(outcome.ends) == []
