"""House checks: rules of this code base that no linter of others knows. `python -m tools.house`.

Each check is a function that gives findings; its docstring is the reason for the rule. What breaks a rule
on purpose is named in `allowed.txt`, which may only shrink: an entry that nothing needs is a finding too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = Path(__file__).with_name("allowed.txt")


@dataclass(frozen=True)
class Finding:
    """A broken rule. key: what an allowance names, stable when lines move."""

    check: str
    path: str
    key: str
    text: str
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.check}: {self.text} [{self.key}]"


Check = Callable[[list[Path]], Iterator[Finding]]


def committed() -> list[Path]:
    """All files that git knows or would take, relative to the root and sorted."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=30)
    names = (Path(name.decode()) for name in done.stdout.split(b"\0") if name)
    return sorted(name for name in names if (ROOT / name).is_file())


def allowances() -> dict[tuple[str, str, str], str]:
    """(check, path, key) -> reason."""
    found: dict[tuple[str, str, str], str] = {}
    for line in ALLOWED.read_text().splitlines():
        words, _, reason = line.partition(" # ")
        if not words.strip() or words.startswith("#"):
            continue
        check, path, key = words.split()
        if not reason.strip():
            raise ValueError(f"{ALLOWED.name}: {line!r} gives no reason")
        found[check, path, key] = reason.strip()
    return found


def run(checks: list[Check]) -> list[Finding]:
    """Findings that no allowance covers, and allowances that cover nothing."""
    files = committed()
    allowed = allowances()
    unused = set(allowed)
    left: list[Finding] = []
    for check in checks:
        for finding in check(files):
            entry = (finding.check, finding.path, finding.key)
            unused.discard(entry)
            if entry not in allowed:
                left.append(finding)
    for check_name, path, key in sorted(unused):
        text = f"the allowance '{check_name} {path} {key}' is not needed any more; remove it"
        left.append(Finding("allowed", "tools/house/allowed.txt", key, text))
    return left
