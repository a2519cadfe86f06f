"""The front: choose scenarios, run them one after the other, print the table."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import api, bmc, deploys, fleet, footprint, inventory, lifecycle, page
from bench.ironic import Ironic
from bench.measure import Figure, markdown, rows, side_by_side, table
from bench.processes import Ground
from bench.scale import QUICK, Scale

Scenario = Callable[[Ground, Scale], Awaitable[list[Figure]]]
SCENARIOS: dict[str, Scenario] = {
    "footprint": footprint.run,
    "api": api.run,
    "lifecycle": lifecycle.run,
    "many": lifecycle.run_many,
    "inventory": inventory.run,
    "deploys": deploys.run,
    "fleet": fleet.run,
    "bmc": bmc.run,
}
#: What runs when nothing is named; a fleet takes many minutes.
USUAL = ("footprint", "api", "lifecycle", "deploys")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument(
        "--ironic", action="store_true", help="measure Ironic too, in turn, and print ratios"
    )
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead of SQLite")
    parser.add_argument("--nodes", type=int, metavar="N", help="nodes in the inventory")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each measurement")
    parser.add_argument("--fakes", type=int, metavar="N", help="fake nodes in `lifecycle`")
    parser.add_argument("--machines", type=int, metavar="N", help="simulated machines in `deploys`")
    parser.add_argument("--fleet", type=int, metavar="N", help="simulated machines in `fleet`")
    parser.add_argument("--at-once", type=int, metavar="N", help="deploys at once in `fleet`")
    parser.add_argument("--poll", type=int, metavar="S", help="seconds between looks at power")
    parser.add_argument(
        "--managed", type=int, metavar="N", help="become available; others stay enrolled"
    )
    parser.add_argument("--speed", type=float, metavar="X", help="of simulated machines' time")
    parser.add_argument("--bmcs", type=int, metavar="N", help="simulated controllers in `bmc`")
    parser.add_argument(
        "--period", type=float, metavar="S", help="they are asked once in S seconds"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here too")
    parser.add_argument(
        "--page", action="store_true", help="with --ironic: write table and plot into the reference"
    )
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


#: What can be asked of the peer too.
_SHARED = ("footprint", "api", "lifecycle", "many", "inventory")


@dataclass
class Outcome:
    """What was measured. theirs: the peer's figures. broken: scenarios that stopped, and why."""

    ours: list[Figure] = field(default_factory=list[Figure])
    theirs: list[Figure] = field(default_factory=list[Figure])
    broken: list[str] = field(default_factory=list[str])


async def _run(ground: Ground, names: list[str], scale: Scale, peer: bool) -> Outcome:
    outcome = Outcome()
    for name in names:
        outcome.ours += await _one(name, ground, scale, outcome)
        if peer and name in _SHARED:
            other = dataclasses.replace(ground, kind=Ironic)
            outcome.theirs += await _one(name, other, scale, outcome)
    return outcome


async def _one(name: str, ground: Ground, scale: Scale, outcome: Outcome) -> list[Figure]:
    """A scenario's figures; one that breaks must not cost the others'."""
    began, who = time.perf_counter(), "Ironic" if ground.kind is Ironic else "Ingot"
    figures: list[Figure] = []
    try:
        figures = await SCENARIOS[name](ground, scale)
    except (RuntimeError, OSError, EOFError) as error:
        outcome.broken.append(f"{name} of {who}: {error!r}")
    print(f"{name}, {who}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def main() -> int:
    given = _parser().parse_args()
    names: list[str] = given.names or list(USUAL)
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
        return 2
    scale = QUICK if given.quick else Scale()
    options = (
        "rounds",
        "fakes",
        "machines",
        "nodes",
        "fleet",
        "at_once",
        "poll",
        "managed",
        "speed",
        "bmcs",
        "period",
    )
    for name in options:
        if getattr(given, name):
            scale = dataclasses.replace(scale, **{name: getattr(given, name)})
    import uvloop

    with _ground(given.postgres) as ground:
        about = _machine(ground.database)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_run(ground, names, scale, given.ironic))
        about["load_average_after"] = os.getloadavg()[0]
        # The peer did the whole work: a short run is not to be held against it.
        told = rows(outcome.ours, "" if given.quick else ground.database)
    show = markdown if given.markdown else table
    print(" ".join(f"{name}={value}" for name, value in about.items()))
    print(show(told))
    if outcome.theirs:
        print(show(side_by_side(outcome.ours, outcome.theirs)))
    for who, figures in (("Ingot", outcome.ours), ("Ironic", outcome.theirs)):
        for figure in figures:
            if figure.failed:
                print(f"{who}, {figure.name}: {figure.failed} failed, the first: {figure.note}")
    for line in outcome.broken:
        print(f"broken: {line}")
    if given.page and outcome.theirs:
        page.write(Path(), outcome.ours, outcome.theirs, about)
    if given.json is not None:
        document = {
            "about": about,
            "figures": [figure.document() for figure in outcome.ours],
            "ironic": [figure.document() for figure in outcome.theirs],
            "broken": outcome.broken,
        }
        given.json.write_text(json.dumps(document, indent=1))
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
