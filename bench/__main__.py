"""The front: choose scenarios, run them one after the other, print the table."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from bench import api, deploys, footprint, lifecycle
from bench.measure import Figure, markdown, rows, table
from bench.processes import Ground
from bench.scale import QUICK, Scale

Scenario = Callable[[Ground, Scale], Awaitable[list[Figure]]]
SCENARIOS: dict[str, Scenario] = {
    "footprint": footprint.run,
    "api": api.run,
    "lifecycle": lifecycle.run,
    "deploys": deploys.run,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    parser.add_argument("--machines", type=int, metavar="N", help="simulated machines in `deploys`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here too")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser


@contextlib.contextmanager
def _ground(postgres: bool) -> Iterator[Ground]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ingot-bench-"))
        server: Any = None
        if postgres:
            from tests import postgres as database

            server = stack.enter_context(database.server())
        yield Ground(Path(folder), server)


def _machine(database: str) -> dict[str, Any]:
    """Under which conditions the figures were taken."""
    return {
        "database": database,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_before": os.getloadavg()[0],
        "nice": os.nice(0),
        "at": time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime()),
    }


async def _run(ground: Ground, names: list[str], scale: Scale) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    broken: list[str] = []
    for name in names:
        began = time.perf_counter()
        try:
            figures += await SCENARIOS[name](ground, scale)
        except (RuntimeError, OSError, EOFError) as error:
            # One broken scenario must not cost the others' figures.
            broken.append(f"{name}: {error}")
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return figures, broken


def main() -> int:
    given = _parser().parse_args()
    names = given.names or list(SCENARIOS)
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
        return 2
    scale = QUICK if given.quick else Scale()
    if given.machines:
        scale = Scale(**{**vars(scale), "machines": given.machines})
    import uvloop

    with _ground(given.postgres) as ground:
        about = _machine(ground.database)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures, broken = runner.run(_run(ground, names, scale))
        about["load_average_after"] = os.getloadavg()[0]
        # The peer did the whole work: a short run is not to be held against it.
        told = rows(figures, "" if given.quick else ground.database)
    print(" ".join(f"{name}={value}" for name, value in about.items()))
    print(markdown(told) if given.markdown else table(told))
    for figure in figures:
        if figure.failed:
            print(f"{figure.name}: {figure.failed} failed, the first: {figure.note}")
    for line in broken:
        print(f"broken: {line}")
    if given.json is not None:
        document = {"about": about, "figures": [figure.document() for figure in figures]}
        given.json.write_text(json.dumps({**document, "broken": broken}, indent=1))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
