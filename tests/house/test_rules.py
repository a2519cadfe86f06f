"""The house checks run as tests too, and can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.house import Check, allowances, committed, rules, run

BAD = """
import asyncio
import time
from ingot.services.identity.store import find


async def wait():  # SILENT
    time.sleep(1)
    print("waited")
""".replace("SILENT", "no" + "qa")


@pytest.mark.parametrize("check", rules.CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_its_rules(check: Check) -> None:
    allowed = allowances()
    found = [f for f in check(committed()) if (f.check, f.path, f.key) not in allowed]
    assert not found, f"{check.__doc__}\n" + "\n".join(map(str, found))


def test_no_allowance_is_left_over() -> None:
    assert [str(f) for f in run(rules.CHECKS) if f.check == "allowed"] == []


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one file that breaks most rules."""
    path = Path("src/ingot/services/network/helpers.py")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(BAD + "#\n" * rules.LONGEST_FILE)
    monkeypatch.setattr(rules, "ROOT", tmp_path)
    rules.tree.cache_clear()
    yield path
    rules.tree.cache_clear()


@pytest.mark.parametrize(
    ("check", "key"),
    [
        (rules.sizes, "file"),
        (rules.shape, "helpers"),
        (rules.docstrings, "module"),
        (rules.clocks, "time.sleep"),
        (rules.prints, "print"),
        (rules.silenced, "noqa"),
        (rules.interfaces, "ingot.services.identity.store"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_rule_is_found(bad: Path, check: Check, key: str) -> None:
    assert key in {finding.key for finding in check([bad])}


def test_a_path_of_one_machine_is_found(bad: Path, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("see /" + "home/me/notes and https://example.org/home/x/y")
    assert [finding.line for finding in rules.paths([Path("note.md")])] == [1]
