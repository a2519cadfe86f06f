"""Generated pages are current, links lead somewhere, and every dependency is explained."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.docs import ROOT, pages

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_generated_pages_are_current() -> None:
    old = [name for name, text in pages().items() if (ROOT / name).read_text() != text]
    assert not old, f"run `make docs` and look at what changed: {old}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_every_dependency_is_taken_on_purpose() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    for group in project["dependency-groups"].values():
        wanted += group
    names = {re.split(r"[\[><=]", line)[0].lower() for line in wanted}
    page = (ROOT / "docs" / "reference" / "dependencies.md").read_text()
    rows = dict(re.findall(r"^\| ([\w.-]+) \|(.*)$", page, flags=re.MULTILINE))
    assert names - set(rows) == set(), "say why, how large, and under which licence"
    assert set(rows) - names - {"package", "---"} == set(), "gone from pyproject.toml"
    assert all(row.count("|") == 3 for row in rows.values())
