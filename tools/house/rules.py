"""The rules themselves. The docstring of each says why it is a rule."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from ingot.app import services
from tools.house import ROOT, Check, Finding
from tools.house.contracts import contracts
from tools.house.cycles import cycles
from tools.house.statements import statements

LONGEST_FILE = 600
LONGEST_FUNCTION = 100

#: From the lowest; each may use the interfaces of those before it.
SERVICES = tuple(service.name for service in services.SERVICES)
SHAPE = ("__init__", "types", "tables", "store", "service", "policies", "api", "module")

#: Packages that live in virtual time, so that whole fleets can be simulated.
TIMED = ("kit", "workflow", "drivers", "agents", "services")
CLOCKS = {
    "time.sleep",
    "time.time",
    "asyncio.sleep",
    "anyio.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.date.today",
}
PRINTING = ("app", "cli", "lab", "builders")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def _python(files: list[Path], *folder: str) -> Iterator[Path]:
    for path in files:
        if path.suffix == ".py" and path.parts[: len(folder)] == folder:
            yield path


def _is_migration(path: Path) -> bool:
    """A migration is a record of what was, not a text to edit."""
    return path.parts[:3] == ("src", "ingot", "migrations") and "versions" in path.parts


def _part(path: Path) -> str:
    """`services` of src/ingot/services/network/api.py, `app` of src/ingot/app."""
    return path.parts[2]


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def _calls(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield _dotted(node.func), node.lineno


def sizes(files: list[Path]) -> Iterator[Finding]:
    """A file that is read at night fits into a head: 600 lines; a function: 100. Averages tell nothing,
    the extremes are what hurts."""
    for path in files:
        if path.suffix not in (".py", ".sh") or _is_migration(path):
            continue
        count = len((ROOT / path).read_text().splitlines())
        if count > LONGEST_FILE:
            yield Finding("size", str(path), "file", f"{count} lines, at most {LONGEST_FILE}")
        if path.suffix != ".py" or path.parts[0] == "tests":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                long = (node.end_lineno or 0) - node.lineno + 1
                if long > LONGEST_FUNCTION:
                    text = f"{node.name} has {long} lines, at most {LONGEST_FUNCTION}"
                    yield Finding("size", str(path), node.name, text, node.lineno)


def shape(files: list[Path]) -> Iterator[Finding]:
    """Same file names in every service: who has read one service knows where to look in the next."""
    here = {str(path) for path in files}
    for service in SERVICES:
        folder = f"src/ingot/services/{service}"
        if not any(name.startswith(f"{folder}/") for name in here):
            continue
        for name in SHAPE:
            if f"{folder}/{name}.py" not in here and f"{folder}/{name}/__init__.py" not in here:
                yield Finding("shape", folder, name, f"this service has no {name}.py")
    for path in _python(files, "src"):
        if path.stem in ("utils", "util", "helpers", "misc"):
            yield Finding("shape", str(path), path.stem, "name the file by what it is for")


def docstrings(files: list[Path]) -> Iterator[Finding]:
    """Every module says what it is for; the rest can be looked up, this can not."""
    for path in _python(files, "src"):
        if not _is_migration(path) and not ast.get_docstring(tree(path)):
            yield Finding(
                "docstring", str(path), "module", "the module does not say what it is for"
            )


def clocks(files: list[Path]) -> Iterator[Finding]:
    """Time is read and slept only through `kit.tasks.clock`: flows then run in virtual time, and a fleet can be
    replayed from a seed."""
    for path in _python(files, "src", "ingot"):
        if _part(path) not in TIMED or path == Path("src/ingot/kit/tasks/clock.py"):
            continue
        for name, line in _calls(path):
            if name in CLOCKS:
                yield Finding("clock", str(path), name, f"{name}() outside kit.tasks.clock", line)


def prints(files: list[Path]) -> Iterator[Finding]:
    """Only what a person started prints; everything else logs, because a service's stdout has no reader."""
    for path in _python(files, "src", "ingot"):
        if _part(path) in PRINTING:
            continue
        for name, line in _calls(path):
            if name == "print":
                yield Finding("print", str(path), "print", "print() in a package that logs", line)


_SILENCED = re.compile(r"#\s*(type: ignore|pyright: ignore|noqa)(?![\w\[:-]*[\[:])")


def silenced(files: list[Path]) -> Iterator[Finding]:
    """A silenced checker names what it must not see, or it will miss the next fault on that line as well."""
    for path in _python(files):
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            if match := _SILENCED.search(line):
                text = f"'{match[1]}' without a rule's name"
                yield Finding("silenced", str(path), match[1].replace(" ", ""), text, number)


_MACHINE_PATH = re.compile(r"(?<![\w.$}\"/-])/(?:home|root|Users|work|workspace|mnt/data)/[\w.]+")


def paths(files: list[Path]) -> Iterator[Finding]:
    """Nobody else has your home directory."""
    for path in files:
        try:
            lines = (ROOT / path).read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if match := _MACHINE_PATH.search(line):
                yield Finding("path", str(path), match[0], "a path of one machine", number)


def interfaces(files: list[Path]) -> Iterator[Finding]:
    """A service is used by its interface (`__init__.py`); what lies behind it may change any day. Only
    the app, which constructs the services, and the migrations go in."""
    for path in _python(files, "src", "ingot"):
        if _part(path) in ("app", "migrations"):
            continue
        service = path.parts[3] if _part(path) == "services" else ""
        for node in ast.walk(tree(path)):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                parts = name.split(".")
                if parts[:2] != ["ingot", "services"] or len(parts) < 4:
                    continue
                if parts[2] in SERVICES and parts[2] != service:
                    text = f"imports {name}; use the interface ingot.services.{parts[2]}"
                    yield Finding("interface", str(path), name, text, node.lineno)


CHECKS: list[Check] = [
    sizes,
    shape,
    docstrings,
    clocks,
    prints,
    silenced,
    paths,
    interfaces,
    cycles,
    contracts,
    statements,
]
