"""Children of the rack's supervisor: none outlives it, however it ends.

The kernel kills each child when the supervisor's main thread dies (PR_SET_PDEATHSIG), also after
`kill -9`. A record of process ids with start times lets `down` and a later `up` recognise them.
"""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ingot.kit.tasks.processes import start_ticks

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Record(msgspec.Struct, frozen=True):
    """A process named so that a recycled process id is not mistaken for it."""

    role: str
    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.start_time


def start_time(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot; None for none, or a zombie."""
    ticks = start_ticks(pid)
    return int(ticks) if ticks else None


def children(pid: int) -> list[int]:
    """Process ids of a process's children (of its main thread)."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def record(role: str, pid: int) -> Record:
    """The record of a live process."""
    return Record(role, pid, start_time(pid) or 0)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a child runs between fork and exec so that it dies with process `parent`."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


async def spawn(
    argv: Sequence[str], log: Path, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a child that dies with us, its output appended to `log`. Main thread only."""
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )


async def stop(process: asyncio.subprocess.Process, grace: float) -> None:
    """SIGTERM, at most `grace` seconds, then SIGKILL; returns when the child is gone."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        await asyncio.wait_for(process.wait(), grace)
    except ProcessLookupError:
        return
    except TimeoutError:
        process.kill()
        await process.wait()


def log_tail(log: Path, size: int = 600) -> str:
    """The end of a log file in one line, for error messages."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return " | ".join(line.strip() for line in text.splitlines() if line.strip())
