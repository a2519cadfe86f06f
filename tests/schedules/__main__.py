"""See the package. Prints every failing seed and the command that repeats it; ends with 1 if there was one."""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import time
import traceback
import warnings

from ingot.kit import log
from tests.schedules.run import plan, run

#: Processes differ in nothing but the seed.
_FIXED = "PYTHONHASHSEED"


def main() -> int:
    # Of tasks that a killed process had not begun yet.
    warnings.simplefilter("ignore", RuntimeWarning)
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument(
        "--seconds", type=float, help="end after so much CPU time, whatever the count"
    )
    parser.add_argument("--acts", type=int, help="only so many of each seed's acts")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    args = parser.parse_args()
    if os.environ.get(_FIXED) != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.schedules", *sys.argv[1:]],
            {**os.environ, _FIXED: "0"},
        )
    log.configure(level="warning" if args.verbose else "critical")
    # Errors are always made, since `site.Errors` looks at them, but only shown to who wants to read.
    logging.getLogger().setLevel(logging.WARNING if args.verbose else logging.ERROR)
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING if args.verbose else logging.CRITICAL)
    seeds = [args.seed] if args.seed is not None else range(args.first, args.first + args.count)
    began, failed, done = time.process_time(), [], 0
    for seed in seeds:
        if args.seconds and time.process_time() - began > args.seconds:
            break
        done += 1
        if not _one(seed, args):
            failed.append(seed)
    spent = time.process_time() - began
    print(
        f"{done} schedules, {len(failed)} failed, {spent:.1f} s of CPU ({spent / max(done, 1):.2f} each)"
    )
    return 1 if failed else 0


def _one(seed: int, args: argparse.Namespace) -> bool:
    # Names that are drawn at random decide nothing but orders; those too are the seed's.
    os.urandom = random.Random(f"{seed} names").randbytes
    try:
        run(seed, most=args.acts, tell=print if args.verbose else lambda _: None)
    except Exception as error:
        if args.verbose:
            traceback.print_exc()
            for one in plan(seed).acts:
                print(f"    {one}")
        print(
            f"seed {seed}: {error}\n    again: python -m tests.schedules --seed {seed} -v",
            flush=True,
        )
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
