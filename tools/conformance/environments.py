"""Python environments of the judges: made once by uv from a pinned list, then only used.

An environment is named by the list it was made from, so that a changed list makes a new one. It is complete
when its marker is there; what was begun and not finished is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LISTS = Path(__file__).with_name("requirements")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ingot/conformance"
_MARKER = "complete"


class Unavailable(Exception):
    """The environment cannot be made here; the text says why."""


def find_uv() -> str:
    """The uv that set-up found, or the one on the path."""
    named = os.environ.get("UV", "")
    own = Path(__file__).parents[2] / ".venv-bootstrap/bin/uv"
    for candidate in (named, str(own), shutil.which("uv") or ""):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise Unavailable("uv is not here: run `make setup`.")


def environment(name: str, cache: Path = CACHE) -> Path:
    """The interpreter of the environment `name` (a list in requirements/); made when it is not there.

    Raises Unavailable with uv's own words, such as when the package index cannot be reached.
    """
    wanted = LISTS / f"{name}.txt"
    spelled = wanted.read_bytes() + sys.version.encode()
    folder = cache / f"{name}-{hashlib.sha256(spelled).hexdigest()[:12]}"
    python = folder / "bin/python"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not (folder / _MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv = find_uv()
            _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
            _run(uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(wanted))  # fmt: skip
            (folder / _MARKER).touch()
    return python


def _run(*words: str) -> None:
    settings = {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true", "UV_LINK_MODE": "copy"}
    done = subprocess.run(
        words,
        check=False,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise Unavailable(f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr[-800:]}")
