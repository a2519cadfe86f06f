"""A few thousand inputs for each parser; `python -m tests.hostile.parsers` gives a million."""

from __future__ import annotations

import pytest

from tests.hostile.parsers import TARGETS, run


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_unexpected(name: str) -> None:
    count = 2000
    refused, found = run(name, count, 11)
    assert not found, found[0]
    assert refused < count, "nothing is ever taken: the inputs prove nothing"
