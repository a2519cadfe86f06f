"""SQL stands in stores only; and what a store gives without asking whose it is, is listed with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.house import committed, statements, store_functions

_SQL = (
    "sa.select(t)",
    "sa.text('x')",
    "conn.execute(q)",
    "t.insert().values(a=1)",
    "PreparedStatement(q)",
    "BulkStatement.insert(t, 'a')",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(statements, "ROOT", tmp_path)
    return tmp_path


def _found(root: Path, name: str, text: str) -> int:
    path = Path("src/ingot/services/network") / name
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return len(list(statements.statements([path])))


@pytest.mark.parametrize("text", _SQL)
def test_a_statement_outside_of_a_store_is_found(root: Path, text: str) -> None:
    assert _found(root, "service.py", text) == 1
    assert _found(root, "lists.py", f"def f():\n    return {text}\n") == 1


@pytest.mark.parametrize("name", ["store.py", "quota_store.py", "tables.py", "store/nodes.py"])
def test_stores_may_hold_statements(root: Path, name: str) -> None:
    assert _found(root, name, "\n".join(_SQL)) == 0


def test_what_only_looks_like_a_statement_is_none(root: Path) -> None:
    text = "names.insert(0, 'a')\nsa.or_(a, b)\nop.execute(q)\nselect(x)\n"
    assert _found(root, "service.py", text) == 0


def test_the_list_of_store_functions_is_true() -> None:
    listed = store_functions.parse(store_functions.LIST.read_text())
    found = store_functions.found(committed())
    told = "run `python -m tools.house.store_functions`, then give each store with unscoped functions its reason"
    assert {path: one.functions for path, one in listed.items()} == found, told


def test_every_store_with_unscoped_functions_says_why() -> None:
    listed = store_functions.parse(store_functions.LIST.read_text())
    assert [path for path, one in listed.items() if one.unscoped and not one.reason] == []


def test_a_new_function_without_scope_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "store.py"
    path.write_text(
        "def get(conn: sa.Connection, uuid: str): ...\n"
        "def of(conn: sa.Connection, project_id: str): ...\n"
        "def _inside(conn: sa.Connection): ...\n"
        "def pure(text: str): ...\n"
    )
    assert store_functions.functions(path) == {"get": False, "of": True}
