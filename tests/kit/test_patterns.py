"""Patterns that others write: what is understood, what is refused, and that none of them takes long."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest

from ingot.kit.patterns import LONGEST, BadPattern, compiled, like

HOSTILE = [
    "(a+)+$",
    "(a|a)*$",
    "(a*)*b",
    "(.*)*(.*)*(.*)*!",
    "(a|b|ab)*(a|b|ab)*c",
    "a?" * 60 + "a" * 60,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_pattern_takes_long(text: str) -> None:
    """By backtracking each of these takes minutes to years."""
    begun = time.process_time()
    pattern = compiled(text, ignore_case=True)
    for _ in range(20):
        pattern.search("a" * 59 + "!")
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "text", ["(", "a{2,1}", "[z-a]", "(?=a)", r"(a)\1", "((a{100}){100}){100}", "a" * (LONGEST + 1)]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(BadPattern):
        compiled(text)


WORDS = ["web", "WEB-1", "web.1", "a%b", "a_b", "axb", "", "é-web", "web\\x"]


@pytest.mark.parametrize(
    "text",
    [
        "web",
        "^web",
        "1$",
        "^web$",
        ".*1",
        "w.b",
        "a%b",
        "a_b",
        "^.*$",
        "WeB",
        "^",
        "$",
        "^$",
        "x.*$",
    ],
)
def test_plain_patterns_find_the_same_in_sql(text: str) -> None:
    found = like(text)
    assert found is not None
    db = sqlite3.connect(":memory:")
    for word in WORDS:
        query = r"SELECT lower(?) LIKE ? ESCAPE '\'"
        ((hit,),) = db.execute(query, (word, found)).fetchall()
        assert bool(hit) == bool(re.search(text, word, re.IGNORECASE)), (text, word, found)
        assert bool(hit) == compiled(text, ignore_case=True).search(word)


@pytest.mark.parametrize("text", ["a+", "(a)", "a|b", r"\.", "[ab]", "é", "a.*b", "a{2}"])
def test_what_takes_an_engine(text: str) -> None:
    assert like(text) is None
    compiled(text)
