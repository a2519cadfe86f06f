"""What a server that nobody asks for anything does not load: each of these was megabytes in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Libraries that are loaded at their first use.
LATER = (
    "aiohttp",
    "alembic",
    "asyncpg",
    "bcrypt",
    "click",
    "multiprocessing",
    "oslo_utils",
    "pycdlib",
    "pygments",
    "pyroute2",
    "rich",
    "sqlalchemy.dialects.postgresql",
    "websockets",
    "yaml",
)
_SERVER = """
import sys
from ingot.app import serving
from ingot.app.build import build
from ingot.settings import load
cloud = build(load(None, state=sys.argv[1], listen="127.0.0.1:0"))
for made in cloud.listeners.api(), cloud.listeners.boot():
    serving._server(made.asgi).config.load()
print([name for name in sys.argv[2:] if name in sys.modules])
"""


def test_an_idle_server_is_lean(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SERVER, str(tmp_path), *LATER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]", "loaded though nobody needs it yet"
