"""The server and its neighbours as real processes: start, wait, CPU seconds, memory, end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
PASSWORD = "bench-password"
START_SECONDS = 300.0
STOP_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (field 3 of proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its ended children included."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / _TICKS


def programs_seconds(pid: int) -> float:
    """Of `cpu_seconds`, what programs took that the process ran and that have ended (ipmitool)."""
    return sum(int(ticks) for ticks in _stat(pid)[13:15]) / _TICKS


def family(pid: int) -> list[int]:
    """A process and all that live below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int(_stat(int(entry.name))[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pid: int) -> dict[str, float]:
    """PSS and RSS of a process in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"^(Pss|Rss):\s+(\d+)", text, flags=re.MULTILINE))
    return {name.lower(): int(value) / 1024 for name, value in kilobytes.items()}


def end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)


@dataclass
class Ground:
    """Where everything happens. postgres: the test server, None for SQLite. kind: whom we measure."""

    folder: Path
    postgres: Any = None
    kind: type[Server] = field(default_factory=lambda: Server)
    _count: int = 0

    @property
    def database(self) -> str:
        return "sqlite" if self.postgres is None else "postgresql"

    def fresh(self) -> Server:
        """A server with a state of its own that is not started yet."""
        self._count += 1
        state = self.folder / f"{self.kind.__name__.lower()}{self._count}"
        state.mkdir(mode=0o700)
        url = self.postgres.create() if self.postgres is not None else ""
        return self.kind(state, url, self._database_pid())

    def _database_pid(self) -> int:
        if self.postgres is None:
            return 0
        text = (self.postgres.folder / "data" / "postmaster.pid").read_text()
        return int(text.splitlines()[0])


@dataclass
class Server:
    """`ingot serve` on a state folder; may be started and stopped many times."""

    state: Path
    database: str = ""
    database_pid: int = 0
    port: int = field(default_factory=free_port)
    boot_port: int = field(default_factory=free_port)
    started_in: float = 0.0
    #: More TOML for its settings.
    settings: str = ""
    #: Where the Bare Metal API lies on the port.
    api: str = "/baremetal"
    tokens: bool = True
    #: Agents are served while an operation works on their node: driver_info of a fake deploy that takes its
    #: time. Empty: the server looks agents up in every state.
    long_deploy: dict[str, Any] = field(
        default_factory=lambda: {"fake_delay": "deploy.deploy=fixed:3000"}
    )
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def boot_url(self) -> str:
        return f"http://127.0.0.1:{self.boot_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def _config(self) -> Path:
        kernel, ramdisk = self.state / "agent.kernel", self.state / "agent.initramfs"
        kernel.write_bytes(b"kernel")
        ramdisk.write_bytes(b"ramdisk")
        text = f"""
state = "{self.state}"
listen = "127.0.0.1:{self.port}"
database = "{self.database}"
{self._provisioning()}[ramdisk]
kernel = "{kernel}"
initramfs = "{ramdisk}"
[identity]
admin_password = "{PASSWORD}"
[log]
level = "warning"
{self.settings}
"""
        path = self.state / "bench.toml"
        path.write_text(text)
        return path

    def _provisioning(self) -> str:
        return f'[provisioning]\nlisten = "127.0.0.1:{self.boot_port}"\ndhcp = false\n'

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "ingot.cli.main", "serve", "--config", str(self._config())]

    def start(self) -> float:
        """Start it; seconds until its first answer."""
        command = self._command()
        log = (self.state / "server.log").open("ab")
        began = time.perf_counter()
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                self.stop()
                raise RuntimeError(f"{command[0]} does not answer: {self.said()}")
            time.sleep(0.005)
        self.started_in = time.perf_counter() - began
        return self.started_in

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.settimeout(START_SECONDS)
                sock.sendall(f"GET {self.api}/v1 HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
                return sock.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def said(self) -> str:
        return (self.state / "server.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None

    def cpu(self) -> float:
        """CPU seconds of the control plane so far; the database's too when it has processes."""
        total = self._own_cpu()
        if self.database_pid:
            with contextlib.suppress(OSError):
                total += sum(cpu_seconds(pid) for pid in family(self.database_pid))
        return total

    def _own_cpu(self) -> float:
        return cpu_seconds(self.pid)

    def programs(self) -> float:
        """Of it, CPU seconds of the programs that the server ran, such as ipmitool."""
        return programs_seconds(self.pid)

    def memory(self) -> dict[str, float]:
        return memory(self.pid)

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        self.start()
        try:
            yield self
        finally:
            self.stop()


class Machines(NamedTuple):
    """nodes: to enrol. control: the URL of their control server."""

    pid: int
    nodes: list[dict[str, Any]]
    control: str


@contextlib.contextmanager
def machines(
    count: int, speed: float, boot_url: str, folder: Path, inside: Sequence[str] = ()
) -> Iterator[Machines]:
    """Simulated machines as a process of their own.

    inside: what the command begins with, to live in a network namespace.
    """
    enrolment = folder / "enrolment.json"
    command = [
        *inside,
        sys.executable,
        "-m",
        "ingot.lab.sim",
        "--count",
        str(count),
        "--speed",
        str(speed),
    ]
    command += ["--boot-url", boot_url, "--enrol-file", str(enrolment), "--seed", "1"]
    command += ["--image-fetch", "probe"]
    with (folder / "machines.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            said = (folder / "machines.log").read_text(errors="replace")
            raise RuntimeError(f"the simulated machines did not start: {said[-2000:]}")
        nodes = json.loads(enrolment.read_text())["nodes"]
        yield Machines(process.pid, nodes, json.loads(ready)["control"])
    finally:
        end(process)
