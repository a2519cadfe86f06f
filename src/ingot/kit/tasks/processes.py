"""What Linux tells of processes, and names that tell later, on the same machine, whether one still lives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol


class Processes(Protocol):
    """Who this process is, and what became of others."""

    def name(self) -> str:
        """This process's name; no other process ever has it."""
        ...

    def ended(self, name: str) -> bool:
        """Whether that process has ended for certain; False where nobody here could know."""
        ...


class LocalProcesses:
    """By process id and start time, within one boot and one namespace of process ids.

    alone: what uses the names is used by one process at a time (SQLite, by its lock): others have ended.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._here = f"{boot} {os.readlink('/proc/self/ns/pid')}"

    def name(self) -> str:
        return f"{self._here} {os.getpid()} {start_ticks(os.getpid())}"

    def ended(self, name: str) -> bool:
        here, _, process = name.partition(f"{self._here} ")
        if self._alone:
            return True
        pid, _, started = process.partition(" ")
        return not here and pid.isdigit() and start_ticks(int(pid)) != started


def start_ticks(pid: int) -> str:
    """When the process started, in ticks since the boot; "" when there is none, or only its remains."""
    fields = _fields(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor; 0.0 when it is gone."""
    fields = _fields(pid)
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    """Those of /proc/PID/stat from the state on (field 3 of proc(5)); none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
