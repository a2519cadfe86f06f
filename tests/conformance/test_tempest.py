"""A quick part of tempest's Ironic plugin; `make conformance` runs the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.conformance import expectations
from tools.conformance.cloud import Cloud
from tools.conformance.environments import Unavailable
from tools.conformance.expectations import Expectation
from tools.conformance.suites import SUITES, Outcome, run

pytestmark = pytest.mark.timeout(300)
QUICK = Path(__file__).with_name("quick.txt").read_text().split()


def test_quick_part(cloud: Cloud) -> None:
    try:
        outcomes = run(SUITES["tempest"], cloud, only=QUICK, processes=2)
    except Unavailable as reason:
        pytest.skip(f"tempest, the judge, cannot be had: {reason}")
    assert {outcome.test for outcome in outcomes} == set(QUICK)
    bad = {outcome.test: outcome.text for outcome in outcomes if outcome.outcome != "pass"}
    assert not bad, "\n".join(f"{test}: {text}" for test, text in bad.items())


def test_anything_unexpected_is_told() -> None:
    expected = {"a": Expectation("fail", "not built"), "b": Expectation("skip", "not built")}

    def wrong(partly: bool = False, **outcomes: str) -> set[str]:
        rows = [Outcome(test, outcome, "text", 0) for test, outcome in outcomes.items()]
        return set(expectations.compare(expected, rows, partly))

    assert wrong(a="fail", b="skip", c="pass") == set()
    assert wrong(a="pass", b="skip") == {"a"}
    assert wrong(a="fail", b="fail") == {"b"}
    assert wrong(a="fail", b="skip", c="fail") == {"c"}
    assert wrong(a="fail", b="skip", c="skip") == {"c"}
    assert wrong(a="fail") == {"b"}
    assert wrong(True, a="fail") == set()


def test_every_expectation_has_a_reason() -> None:
    assert all(row.reason for name in SUITES for row in expectations.of(name).values())
