"""Modules that import each other in a circle. Unlike import-linter, this sees every import wherever it stands."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.house import ROOT, Finding

#: Module -> the modules that it imports, each with the line of the first such import.
Graph = Mapping[str, Mapping[str, int]]
_SOURCE = ("src", "ingot")


def cycles(files: list[Path]) -> Iterator[Finding]:
    """Modules of a circle can only be understood, tested and moved all at once. An import inside a function or
    under `if TYPE_CHECKING` hides the circle from Python and not from the reader, so it counts too."""
    modules = _modules(files)
    graph = import_graph(
        {name: ast.parse((ROOT / path).read_text()) for name, path in modules.items()},
        _packages(modules),
    )
    for component in components(graph):
        circle = shortest_circle(graph, component)
        steps = [
            f"{a}:{graph[a][b]}" for a, b in zip(circle, [*circle[1:], circle[0]], strict=True)
        ]
        text = f"{len(component)} modules import each other; the shortest circle: {' -> '.join([*steps, circle[0]])}"
        yield Finding(
            "cycle", str(modules[circle[0]]), circle[0], text, graph[circle[0]][circle[1]]
        )


def _modules(files: list[Path]) -> dict[str, Path]:
    """Dotted name -> path, of all modules of the program."""
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix == ".py" and path.parts[: len(_SOURCE)] == _SOURCE:
            found[".".join(_dotted(path))] = path
    return found


def _dotted(path: Path) -> tuple[str, ...]:
    parts = path.with_suffix("").parts[1:]
    return parts[:-1] if parts[-1] == "__init__" else parts


def _packages(modules: Mapping[str, Path]) -> frozenset[str]:
    return frozenset(name for name, path in modules.items() if path.name == "__init__.py")


def import_graph(trees: Mapping[str, ast.Module], packages: frozenset[str]) -> Graph:
    """Who imports whom. A package counts as imported only where a name is taken from its `__init__` itself."""
    bound = {name: _bound_names(trees[name]) for name in packages}
    graph: dict[str, dict[str, int]] = {}
    for name, tree in trees.items():
        seen: dict[str, int] = {}
        for target, line in _imports(name, tree, packages, trees, bound):
            if target != name:
                seen.setdefault(target, line)
        graph[name] = seen
    return graph


def _bound_names(tree: ast.Module) -> frozenset[str]:
    """What a package's `__init__` makes or takes from elsewhere, by name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def _imports(
    name: str,
    tree: ast.Module,
    packages: frozenset[str],
    known: Mapping[str, ast.Module],
    bound: Mapping[str, frozenset[str]],
) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = _source(name, node, name in packages)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                # A package's own `from package import submodule` binds no name of the package's own.
                taken = source != name and alias.name in bound.get(source, frozenset())
                if submodule in known and not taken:
                    yield submodule, node.lineno
                elif source in known:
                    yield source, node.lineno


def _source(name: str, node: ast.ImportFrom, is_package: bool) -> str:
    """The module after `from`, in full."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    base = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def components(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in graph[module]:
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            at = stack.index(module)
            component = sorted(stack[at:])
            del stack[at:]
            if len(component) > 1:
                found.append(component)

    for module in graph:
        if module not in index:
            visit(module)
    return sorted(found)


def shortest_circle(graph: Graph, component: list[str]) -> list[str]:
    """The modules of the shortest circle in a component, in the order of their imports."""
    circles = (_circle_through(graph, start, frozenset(component)) for start in component)
    return min(circles, key=len)


def _circle_through(graph: Graph, start: str, inside: frozenset[str]) -> list[str]:
    """The shortest circle that begins and ends at a module of a component."""
    before: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        module = waiting.popleft()
        for target in graph[module]:
            if target == start:
                path = [module]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path[::-1]
            if target in inside and target not in before:
                before[target] = module
                waiting.append(target)
    raise ValueError(f"{start} is in no circle")
