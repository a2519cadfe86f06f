"""uv is found where `make` names it, though it is not on the path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ingot.kit.installers import find_pip, find_uv


def program(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "uv"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_environment_names_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, other = program(tmp_path / "named"), program(tmp_path / "path")
    monkeypatch.setenv("PATH", str(other.parent))
    monkeypatch.setenv("UV", str(named))
    assert find_uv() == str(named)
    named.unlink()
    assert find_uv() == str(other)
    other.chmod(0o644)
    assert find_uv() is None


def test_some_pip_is_found_and_runs() -> None:
    pip = find_pip()
    if pip is None:
        pytest.skip("no Python here has pip")
    assert subprocess.run([*pip, "--version"], capture_output=True, check=True).stdout
