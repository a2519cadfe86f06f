"""Circles of imports are found wherever the imports stand, and only where a name is really taken."""

from __future__ import annotations

import ast

import pytest

from tools.house import cycles


def _components(packages: set[str] = frozenset(), **files: str) -> list[list[str]]:
    """files: module, with `__` for a dot -> its text."""
    trees = {name.replace("__", "."): ast.parse(text) for name, text in files.items()}
    return cycles.components(cycles.import_graph(trees, frozenset(packages)))


@pytest.mark.parametrize(
    "back",
    [
        "from p.a import x",
        "import p.a",
        "def late():\n    from p.a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import X",
        "from . import a",
        "from .a import x",
    ],
)
def test_a_circle_of_two_is_found_wherever_the_import_stands(back: str) -> None:
    found = _components({"p"}, p="", p__a="from p import b", p__b=back)
    assert found == [["p.a", "p.b"]]


def test_a_submodule_is_not_its_package() -> None:
    """A front door that imports its parts makes no circle with parts that import each other."""
    parts = {"p__a": "", "p__b": "from p.a import x\nfrom p import a"}
    assert _components({"p"}, p="from p.a import x\nfrom p.b import y", **parts) == []


def test_a_name_of_the_package_itself_counts() -> None:
    found = _components({"p"}, p="from p.a import x", p__a="from p import VERSION")
    assert found == [["p", "p.a"]]


def test_a_name_that_the_package_binds_hides_the_submodule() -> None:
    """`from p import a` is the function `a` of p's own, and not the module p.a."""
    found = _components({"p"}, p="from p.b import a", p__a="", p__b="from p import a")
    assert found == [["p", "p.b"]]


def test_the_shortest_circle_is_told() -> None:
    graph = {"a": {"b": 1}, "b": {"c": 2}, "c": {"a": 3, "d": 4}, "d": {"c": 5}}
    assert cycles.components(graph) == [["a", "b", "c", "d"]]
    assert sorted(cycles.shortest_circle(graph, ["a", "b", "c", "d"])) == ["c", "d"]


def test_chains_and_diamonds_are_no_circles() -> None:
    assert _components(a="import b\nimport c", b="import d", c="import d", d="import sys") == []
