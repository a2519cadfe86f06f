"""Patterns end where the text ends: `$` also stands before a newline at the end, which then is part of a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "ingot"
_CALLS = frozenset({"compile", "match", "search", "sub", "findall", "finditer", "split"})


def _patterns(tree: ast.AST) -> Iterator[ast.Constant]:
    """First words of `re.…(…)`, and `pattern=` of anything."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        of_re = (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and (node.func.value.id == "re" and node.func.attr in _CALLS)
        )
        found = [*(node.args[:1] if of_re else ())]
        found += [word.value for word in node.keywords if word.arg == "pattern"]
        yield from (one for one in found if isinstance(one, ast.Constant))


def test_no_pattern_ends_with_a_dollar() -> None:
    ends: list[str] = []
    seen = 0
    for path in SOURCE.rglob("*.py"):
        for one in _patterns(ast.parse(path.read_text())):
            seen += 1
            text = one.value.decode("latin-1") if isinstance(one.value, bytes) else str(one.value)
            multiline = text.startswith("(?m)")
            if "$" in text.replace(r"\$", "").replace("[$", "[") and not multiline:
                ends.append(f"{path.relative_to(SOURCE)}:{one.lineno}: {text}")
    assert seen > 50
    assert not ends, "write \\Z: " + "; ".join(ends)
