"""Where Python packages come from on this machine: uv, or a pip of some Python that is here.

An environment that uv made has no pip of its own, and uv itself need not be on the PATH: `make` names it in
the environment variable UV.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SYSTEM_PYTHON = "/usr/bin/python3"


def find_uv() -> str | None:
    """The uv that the environment names, or the one on the path."""
    for candidate in (os.environ.get("UV"), shutil.which("uv")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    return None


def find_pip() -> list[str] | None:
    """The command of a pip: this Python's own, or the system's."""
    for owner in (sys.executable, SYSTEM_PYTHON):
        pip = [owner, "-m", "pip"]
        try:
            found = subprocess.run([*pip, "--version"], capture_output=True, check=False)
        except OSError:
            continue
        if found.returncode == 0:
            return pip
    return None
