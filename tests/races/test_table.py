"""The oracle of the table: what it calls lost, doubled, over and stuck, and what it must leave open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.races import table
from tests.races.crowd import Answer, Answers
from tests.races.table import Act, Case, Row, Seen, judged

pytestmark = pytest.mark.anyio
OK, REFUSED, UNKNOWN = 200, 409, 503


async def row(answers: Sequence[tuple[Act, int]], seen: Seen, **more: Any) -> Row:
    async def look() -> Seen:
        return seen

    case = Case([act for act, _ in answers], look, **more)
    told = Answers(Answer(act, status, None) for act, status in answers)
    return await judged("kind", case, told)


def add(key: str, once: str = "") -> Act:
    return Act(key, "POST", "/", once=once)


def end(key: str) -> Act:
    return Act(key, "DELETE", "/", gone=True)


async def test_all_is_well() -> None:
    answers = [(add("a", "one"), OK), (add("b", "one"), REFUSED), (end("c"), OK)]
    found = await row(answers, Seen(["a"], counts={"x": 2}), before=["c"], limits={"x": 2})
    assert not found.wrong, found.why()
    assert str(found) == "| kind | 3 | 2 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"


@pytest.mark.parametrize(
    ("answers", "before", "there"),
    [
        ([(add("a"), OK)], [], []),
        ([(end("a"), OK)], ["a"], ["a"]),
        ([(end("a"), REFUSED)], ["a"], []),
    ],
)
async def test_what_is_lost(
    answers: list[tuple[Act, int]], before: list[str], there: list[str]
) -> None:
    found = await row(answers, Seen(there), before=before)
    assert len(found.lost) == 1 and found.wrong


@pytest.mark.parametrize(
    ("answers", "there"),
    [
        ([(add("a", "x"), OK), (add("b", "x"), OK)], ["a", "b"]),
        ([(add("a"), OK)], ["a", "a"]),
        ([(add("a"), REFUSED)], ["a"]),
    ],
)
async def test_what_is_doubled(answers: list[tuple[Act, int]], there: list[str]) -> None:
    found = await row(answers, Seen(there))
    assert len(found.doubled) == 1 and found.wrong


@pytest.mark.parametrize("there", [[], ["a"]])
async def test_what_nobody_knows_is_left_open(there: list[str]) -> None:
    for answers in ([(add("a"), UNKNOWN)], [(add("a"), OK), (end("a"), UNKNOWN)]):
        assert not (await row(answers, Seen(there))).wrong
    assert not (await row([(end("a"), 0)], Seen(there), before=["a"])).wrong
    assert not (await row([(add("a"), OK), (end("a"), OK)], Seen(there))).wrong
    assert not (await row([(add("a"), OK)], Seen(there, free=["a"]))).wrong


async def test_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "REST", 0)
    seen = Seen([], ["x", "x"], ["half"], {"n": 3}, ["saving"])
    found = await row([(add(""), 500), (add(""), 418)], seen, limits={"n": 2})
    assert str(found) == "| kind | 2 | 0 | 0 | 1 | 1 | 1 | 1 | 1 | 1 |"
    for word in ("half", "x: 2 times", "n: 3 of 2", "saving", "418"):
        assert word in found.why()
