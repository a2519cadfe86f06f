"""Counts and times for Prometheus, in its text format (version 0.0.4), and what the process itself costs.

Our own because it is so little: the library for it loaded an HTTP server and client, 50 modules and 3 MiB, and
kept 3 KiB for each kind of request where this keeps 300 octets.
"""

from __future__ import annotations

import os
import platform
import resource
import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

#: Upper ends of a histogram's classes, seconds.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_ENDS = (*(f"{end:g}" for end in SECONDS), "+Inf")


def labels(values: Mapping[str, object]) -> str:
    """`{name="value",…}`; "" when there are none."""
    if not values:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(str(text))}"' for name, text in values.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def head(name: str, kind: str, told: str) -> str:
    """The two lines before a metric's values. kind: counter, gauge or histogram."""
    return f"# HELP {name} {told}\n# TYPE {name} {kind}\n"


class Counter:
    """Something that is counted, in any thread."""

    def __init__(self, name: str, told: str) -> None:
        self._name, self._told = name, told
        self._value = 0
        self._guard = threading.Lock()

    def add(self) -> None:
        with self._guard:
            self._value += 1

    def text(self) -> str:
        return f"{head(self._name, 'counter', self._told)}{self._name} {self._value}\n"


class Times:
    """How long something took, by labels: a histogram. In one thread."""

    def __init__(self, name: str, told: str, names: Sequence[str]) -> None:
        self._name, self._told, self._names = name, told, tuple(names)
        #: How many fell into each class (the last has no end), and the sum of all, by the labels' values.
        self._counts: dict[tuple[object, ...], list[int]] = {}
        self._sums: dict[tuple[object, ...], float] = {}

    def note(self, values: tuple[object, ...], seconds: float) -> None:
        """One more. values: of the labels, in their order."""
        counts = self._counts.get(values)
        if counts is None:
            counts = self._counts[values] = [0] * len(_ENDS)
            self._sums[values] = 0.0
        counts[bisect_left(SECONDS, seconds)] += 1
        self._sums[values] += seconds

    def text(self) -> str:
        parts = [head(self._name, "histogram", self._told)]
        for values, counts in self._counts.items():
            own = dict(zip(self._names, values, strict=True))
            for end, count in zip(_ENDS, accumulate(counts), strict=True):
                parts.append(f"{self._name}_bucket{labels({**own, 'le': end})} {count}\n")
            parts.append(f"{self._name}_count{labels(own)} {sum(counts)}\n")
            parts.append(f"{self._name}_sum{labels(own)} {self._sums[values]!r}\n")
        return "".join(parts)


def process_text() -> str:
    """This process's processor time, memory and open files under the names that dashboards know; Linux only."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    # Fields 14, 15, 22, 23 and 24 of proc(5); the first here is field 3.
    seconds = (int(fields[11]) + int(fields[12])) / ticks
    booted = Path("/proc/stat").read_text().partition("\nbtime ")[2].split()[0]
    started = int(booted) + int(fields[19]) / ticks
    version = {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
    }
    found = (
        ("process_cpu_seconds_total", "counter", "Processor time, user and system.", seconds),
        ("process_resident_memory_bytes", "gauge", "Memory in use.", int(fields[21]) * page),
        ("process_virtual_memory_bytes", "gauge", "Address space.", int(fields[20])),
        ("process_start_time_seconds", "gauge", "Start, seconds since 1970.", started),
        ("process_open_fds", "gauge", "Open files.", len(os.listdir("/proc/self/fd"))),
        (
            "process_max_fds",
            "gauge",
            "Most of them.",
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        ),
    )
    parts = [f"{head(name, kind, told)}{name} {value}\n" for name, kind, told, value in found]
    parts.append(head("python_info", "gauge", "The interpreter."))
    return "".join(parts) + f"python_info{labels(version)} 1\n"
