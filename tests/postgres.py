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
import signal
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
    """A server that runs between `start` and `stop`, any number of times."""

    port: int
    folder: Path
    programs: Path
    as_user: list[str] = field(default_factory=list[str])
    durable: bool = False
    process: subprocess.Popen[bytes] | None = None
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

    def start(self) -> None:
        chosen = [*_SETTINGS, "synchronous_commit=on"] if self.durable else _SETTINGS
        settings = [part for setting in chosen for part in ("-c", setting)]
        where = ["-D", self.folder / "data", "-p", str(self.port), "-k", self.folder]
        command = [*self.as_user, self.programs / "postgres", *where, "-h", "127.0.0.1"]
        self.process = subprocess.Popen([*command, *settings], cwd=self.folder)
        ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, "PostgreSQL ended at its start"
            assert time.monotonic() < deadline, "PostgreSQL did not start within 60 s"
            time.sleep(0.05)

    def stop(self, how: str = "fast") -> None:
        """Whoever is connected is thrown out. how: "fast", or "immediate" as if the power had gone."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[how])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()


@contextlib.contextmanager
def server(durable: bool = False) -> Iterator[Server]:
    """durable: what was committed outlives `stop("immediate")`."""
    programs = binaries()
    assert programs is not None, "PostgreSQL's programs are missing: apt-get install postgresql"
    folder = Path(tempfile.mkdtemp(prefix="ingot-postgres-"))
    made = Server(_free_port(), folder, programs, _unprivileged(folder), durable)
    try:
        init = [programs / "initdb", "-D", folder / "data", "-U", "ingot", "-A", "trust", "-N"]
        quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
        subprocess.run([*made.as_user, *init, "-E", "UTF8", "--locale=C"], check=True, **quiet)
        made.start()
        yield made
    finally:
        made.stop()
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
