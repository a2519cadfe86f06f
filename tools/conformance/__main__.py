"""`python -m tools.conformance`: run the suites, compare with what is expected, tell the counts."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.conformance import expectations
from tools.conformance.cloud import serving
from tools.conformance.environments import Unavailable
from tools.conformance.suites import SUITES, Outcome, run


def main() -> int:
    """Exit codes: 0 as expected, 1 not, 2 could not run."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("-k", metavar="WORD", default="", help="only tests with this in their name")
    parser.add_argument("-j", metavar="N", type=int, default=2, help="processes side by side")
    parser.add_argument(
        "-v", action="store_true", help="tell also expected outcomes, and tracebacks"
    )
    wanted = parser.parse_args()
    unknown = set(wanted.suites) - set(SUITES)
    if unknown:
        parser.error(f"there is no suite {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="ingot-conformance-"))
    well = True
    try:
        for name in wanted.suites or SUITES:
            well &= _judge(name, folder / name, wanted)
    except (Unavailable, RuntimeError) as fault:
        print(f"conformance: {fault}", file=sys.stderr)
        return 2
    if well:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}")
    return 0 if well else 1


def _judge(name: str, folder: Path, wanted: argparse.Namespace) -> bool:
    started = time.monotonic()
    with serving(folder) as cloud:
        outcomes = run(SUITES[name], cloud, word=wanted.k, processes=wanted.j)
    return tell(name, outcomes, time.monotonic() - started, bool(wanted.k), wanted.v)


def tell(name: str, outcomes: list[Outcome], took: float, partly: bool, verbose: bool) -> bool:
    """Print what is not as expected and the counts; whether all is."""
    expected = expectations.of(name)
    wrong = expectations.compare(expected, outcomes, partly)
    for outcome in outcomes:
        if outcome.test in expected and verbose:
            print(f"{outcome.outcome:5}{outcome.test}: {expected[outcome.test].reason}")
    for test, text in wrong.items():
        print(f"WRONG {test}: {text if verbose else text.strip().splitlines()[-1]}")
    counts = Counter(outcome.outcome for outcome in outcomes)
    print(
        f"{name}: {len(outcomes)} tests, {counts['pass']} passed, {counts['fail']} failed, "
        f"{counts['skip']} skipped, {len(wrong)} not as expected, in {took:.0f} s",
        flush=True,
    )
    return not wrong


if __name__ == "__main__":
    raise SystemExit(main())
