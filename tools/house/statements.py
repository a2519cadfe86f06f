"""Where SQL stands: statements are built in stores only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.house import ROOT, Finding

_BUILD = frozenset({"select", "insert", "update", "delete", "text", "union", "union_all", "exists"})
_PREPARED = frozenset({"PreparedStatement", "BulkStatement"})
#: Ground floor and migrations know statements as such.
_FREE = ("kit", "migrations")


def is_store(path: Path) -> bool:
    """Whether a file of src/ingot may hold SQL."""
    return (
        path.name in ("store.py", "tables.py")
        or path.stem.endswith("_store")
        or "store" in path.parts[:-1]
        or path.parts[2] in _FREE
    )


def statements(files: list[Path]) -> Iterator[Finding]:
    """SQL stands in files named store.py, *_store.py or tables.py: who asks what a table is used for, or whether an
    owner is proved in the same statement, reads these and no others."""
    for path in files:
        if path.suffix != ".py" or path.parts[:2] != ("src", "ingot") or is_store(path):
            continue
        lines = [
            node.lineno
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if _is_statement(node)
        ]
        if lines:
            text = f"{len(lines)} statements outside of a store; move them to one"
            yield Finding("statement", str(path), "file", text, min(lines))


def _is_statement(node: ast.AST) -> bool:
    """Whether a call builds or runs a statement of SQLAlchemy."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    head, _, last = name.rpartition(".")
    if head in ("sa", "sqlalchemy"):
        return last in _BUILD
    if name.partition(".")[0] in _PREPARED:
        return True
    # `table.insert()` takes no arguments where it begins a statement; lists' takes two.
    return (last == "execute" and head in ("conn", "connection")) or (
        last == "insert" and bool(head) and not node.args and not node.keywords
    )
