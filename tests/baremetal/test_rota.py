"""The rota of the power loop: everyone once a period, whatever the others do."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.services.baremetal.monitoring.scheduler import (
    DEAD,
    QUICK,
    SLOW,
    SLOW_SECONDS,
    PollScheduler,
)

PERIOD = 60.0


@given(st.integers(1, 200), st.floats(0, 1e6), st.floats(0.1, 5))
def test_everyone_once_a_period(count: int, start: float, step: float) -> None:
    rota = PollScheduler(PERIOD)
    names = [f"node-{number}" for number in range(count)]
    rota.keep(names, start)
    asked: Counter[str] = Counter()
    looks = int(3 * PERIOD / step)
    for number in range(1, looks + 1):
        now = start + number * step
        for name, since in rota.due(now):
            assert now - since <= step + 1e-6
            asked[name] += 1
            rota.ended(name, took=0.1, good=True)
    assert set(asked) == set(names)
    assert all(2 <= times <= 4 for times in asked.values())


def test_they_are_spread() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep([f"node-{number}" for number in range(6000)], 0.0)
    each = [len(rota.due(float(second))) for second in range(1, 61)]
    assert min(each) > 50 and max(each) < 160


def test_one_that_still_runs_misses_its_turn() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep(["a"], 0.0)
    assert [name for name, _ in rota.due(PERIOD)] == ["a"]
    assert rota.due(2 * PERIOD) == []
    rota.ended("a", took=70, good=True)
    assert rota.kind("a") == SLOW
    assert [name for name, _ in rota.due(3 * PERIOD)] == ["a"]
    rota.ended("a", took=SLOW_SECONDS / 2, good=True)
    assert rota.kind("a") == QUICK
    rota.ended("a", took=0, good=False)
    assert rota.kind("a") == DEAD


def test_after_a_long_pause_nobody_is_asked_twice() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep(["a"], 0.0)
    assert len(rota.due(100 * PERIOD)) == 1
    rota.ended("a", took=0.1, good=True)
    assert len(rota.due(101 * PERIOD)) == 1


def test_who_left_and_came_back_has_one_place() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep(["a", "b"], 0.0)
    rota.keep(["b"], 1.0)
    rota.keep(["a", "b"], 2.0)
    assert len(rota) == 2
    assert sorted(name for name, _ in rota.due(2 + PERIOD)) == ["a", "b"]


def test_one_may_be_asked_at_once_and_once_more() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep(["a"], 0.0)
    ((_, first),) = rota.due(PERIOD)
    rota.ended("a", took=0.1, good=True, now=PERIOD)
    rota.hurry("a", PERIOD + 1)
    assert [name for name, _ in rota.due(PERIOD + 1)] == ["a"]
    rota.hurry("a", PERIOD + 1.5)  # while it runs
    assert rota.due(PERIOD + 2) == []
    rota.ended("a", took=1, good=True, now=PERIOD + 2)
    assert [name for name, _ in rota.due(PERIOD + 2)] == ["a"]
    rota.ended("a", took=0.1, good=True, now=PERIOD + 2)
    assert [since for _, since in rota.due(first + PERIOD)] == [pytest.approx(first + PERIOD)]


def test_paces_differ() -> None:
    rota = PollScheduler(PERIOD)
    rota.keep(["often", "seldom"], 0.0)
    rota.pace("seldom", 5 * PERIOD, 0.0)
    asked: Counter[str] = Counter()
    for second in range(1, 1 + int(20 * PERIOD)):
        for name, _ in rota.due(float(second)):
            asked[name] += 1
            rota.ended(name, took=0.1, good=True, now=float(second))
    assert asked["seldom"] == 4 and asked["often"] == 20
    rota.pace("seldom", PERIOD, 20 * PERIOD)
    assert any(name == "seldom" for name, _ in rota.due(21 * PERIOD))
