"""The tests that cannot pass yet, from expected.txt: SUITE OUTCOME TEST # REASON, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.conformance.suites import Outcome

LIST = Path(__file__).with_name("expected.txt")


@dataclass(frozen=True)
class Expectation:
    """outcome: "fail" or "skip"."""

    outcome: str
    reason: str


def of(suite: str) -> dict[str, Expectation]:
    """What is expected of a suite, by the test's name. Raises ValueError for a line without a reason."""
    found: dict[str, Expectation] = {}
    for line in LIST.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        words, mark, reason = line.partition(" # ")
        if not mark or not reason.strip() or len(words.split()) != 3:
            raise ValueError(f"{LIST.name}: {line!r} is not SUITE OUTCOME TEST # REASON")
        name, outcome, test = words.split()
        if outcome not in ("fail", "skip"):
            raise ValueError(f"{LIST.name}: {outcome!r} is neither fail nor skip")
        if name == suite:
            found[test] = Expectation(outcome, reason.strip())
    return found


def compare(
    expected: Mapping[str, Expectation], outcomes: Iterable[Outcome], partly: bool
) -> dict[str, str]:
    """What is not as expected: test -> what it did instead. partly: not all tests were run."""
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for outcome in outcomes:
        seen.add(outcome.test)
        listed = expected.get(outcome.test)
        if listed is None and outcome.outcome != "pass":
            wrong[outcome.test] = f"{outcome.outcome}: {outcome.text}"
        elif listed is not None and outcome.outcome == "pass":
            wrong[outcome.test] = f"passes, but {LIST.name} says {listed.outcome}: strike it out"
        elif listed is not None and outcome.outcome != listed.outcome:
            wrong[outcome.test] = f"{outcome.outcome}, not {listed.outcome}: {outcome.text}"
    for test in () if partly else expected.keys() - seen:
        wrong[test] = f"listed in {LIST.name}, but there is no such test"
    return dict(sorted(wrong.items()))
