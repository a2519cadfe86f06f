"""A private PostgreSQL server for tests: unprivileged user, temp directory, Unix socket and loopback only.

`server()` is a context manager that gives a `Server`; `Server.create()` makes an empty database and gives
its URL. Tests get it by the session fixture `postgres_server` in conftest files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "log_min_messages=fatal",
)


def binaries() -> Path | None:
    """The newest installed server's folder of programs; None when there is none."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])
    )
    return found[-1].parent if found else None


def missing() -> str | None:
    """Why tests on PostgreSQL are to be skipped; never in CI, where they must run."""
    if binaries() is None and not os.environ.get("CI"):
        return "PostgreSQL is not installed (apt-get install postgresql)"
    return None


@dataclass
class Server:
    port: int
    folder: Path
    programs: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def create(self) -> str:
        """An empty database; gives its URL."""
        name = f"test{next(self._numbers)}"
        command = [self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port)]
        subprocess.run([*command, "-U", "ingot", name], check=True, timeout=30)
        return f"postgresql://ingot:ingot@127.0.0.1:{self.port}/{name}"

    def drop(self, url: str) -> None:
        """Remove a database, with whoever is still connected to it."""
        command = [self.programs / "dropdb", "-f", "-h", "127.0.0.1", "-p", str(self.port)]
        subprocess.run([*command, "-U", "ingot", url.rsplit("/", 1)[1]], check=False, timeout=30)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    programs = binaries()
    assert programs is not None, "PostgreSQL's programs are missing: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="ingot-postgres-"))
    as_user = _unprivileged(folder)
    process: subprocess.Popen[bytes] | None = None
    try:
        init = [programs / "initdb", "-D", folder / "data", "-U", "ingot", "-A", "trust", "-N"]
        quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
        subprocess.run([*as_user, *init, "-E", "UTF8", "--locale=C"], check=True, **quiet)
        port = _free_port()
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        where = ["-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        process = subprocess.Popen([*as_user, programs / "postgres", *where, *settings], cwd=folder)
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            assert process.poll() is None, "PostgreSQL ended at its start"
            assert time.monotonic() < deadline, "PostgreSQL did not start within 60 s"
            time.sleep(0.05)
        yield Server(port, folder, programs)
    finally:
        if process is not None:
            process.send_signal(2)  # fast shutdown
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> list[str]:
    """A prefix that drops root, which PostgreSQL refuses; the folder is given to that user."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            return ["setpriv", *ids]
    raise AssertionError("neither the user postgres nor nobody exists")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
