"""The list of store functions: which take the caller's scope, and why the others need none.

`python -m tools.house.store_functions` writes it anew (`store_functions.txt`) and keeps the reasons.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from tools.house import ROOT, committed
from tools.house.statements import is_store

LIST = Path(__file__).with_name("store_functions.txt")
_HEAD = """\
# Every function of a service's store that asks the database. "+": it takes the caller's scope (a project, an owner or
# the predicate of what is visible) into its statement. "-": it does not; the line above says why that is right.
# Written by `python -m tools.house.store_functions`, which keeps the reasons.
"""
#: Parameters that carry the caller's scope.
_SCOPES = frozenset(
    {
        *("project", "project_id", "projects", "own", "owner", "owner_id", "user_id", "user"),
        *("visible", "scope", "where", "caller", "tenant_id", "viewer", "seen_by", "by_project"),
    }
)


@dataclass
class Store:
    """One store of the list. functions: name -> whether it takes a scope."""

    reason: str = ""
    functions: dict[str, bool] = field(default_factory=dict[str, bool])

    @property
    def unscoped(self) -> bool:
        """Whether any function takes no scope."""
        return not all(self.functions.values())


def functions(path: Path) -> dict[str, bool]:
    """Public functions of a file that take a connection -> whether they take a scope."""
    found: dict[str, bool] = {}
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if any(one.annotation and "Connection" in ast.unparse(one.annotation) for one in arguments):
            found[node.name] = any(one.arg in _SCOPES for one in arguments)
    return found


def found(files: list[Path]) -> dict[str, dict[str, bool]]:
    """By store of a service its functions; stores without any are left out."""
    stores = {
        str(path): functions(ROOT / path)
        for path in files
        if path.suffix == ".py"
        and path.parts[:3] == ("src", "ingot", "services")
        and path.name != "tables.py"
        and is_store(path)
    }
    return {path: known for path, known in stores.items() if known}


def parse(text: str) -> dict[str, Store]:
    """The committed list."""
    stores: dict[str, Store] = {}
    here = Store()
    for line in text.splitlines():
        if line.startswith("src/"):
            path, _, reason = line.partition(":")
            here = stores[path] = Store(reason.strip())
        elif line.startswith("  "):
            sign, name = line.split()
            here.functions[name] = sign == "+"
    return stores


def main() -> None:
    before = parse(LIST.read_text()) if LIST.exists() else {}
    lines = [_HEAD]
    for path, known in sorted(found(committed()).items()):
        reason = before[path].reason if path in before else ""
        lines.append(f"{path}: {reason}".rstrip())
        lines += [f"  {'+' if scoped else '-'} {name}" for name, scoped in sorted(known.items())]
        lines.append("")
    LIST.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
