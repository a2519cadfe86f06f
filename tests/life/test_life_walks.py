"""No sequence of requests, agent calls, faults and crashes leaves the state table, loses an operation, locks a
node for ever, or leaves it without a verb that leads on.

Short random walks in virtual time. `NIGHTLY=1` walks further and thousands of times; `LIFE_SEED` chooses the
walks. A failure prints the shortest walk that shows it and the command that repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings

from tests.life.walks import Act, lead_home, walk, walks
from tests.life.world import life

NIGHTLY = bool(os.environ.get("NIGHTLY"))
EXAMPLES = int(os.environ.get("LIFE_WALKS") or (5000 if NIGHTLY else 50))
#: The same walks every time in CI, other ones every night.
SEED = int(os.environ.get("LIFE_SEED") or (random.randrange(2**32) if NIGHTLY else 11))
AGAIN = (
    f"LIFE_SEED={SEED} LIFE_WALKS={EXAMPLES} {'NIGHTLY=1 ' if NIGHTLY else ''}"
    "python -m pytest tests/life/test_life_walks.py"
)


@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    print_blob=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(acts=walks(25, far=True) if NIGHTLY else walks(14))
def walked(acts: list[Act], tally: Counter[str]) -> None:
    note(f"again: {AGAIN}")
    note("the walk: " + ", ".join(str(act) for act in acts))

    async def run() -> None:
        async with life() as here:
            await walk(here, acts)
            await lead_home(here)
            tally.update(
                walks=1, acts=len(acts), crashes=here.crashes, changes=await here.changes()
            )

    asyncio.run(run())


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_no_walk_leads_astray() -> None:
    tally = Counter[str]()
    began = time.process_time()
    try:
        walked(tally=tally)
    finally:
        told = ", ".join(f"{count} {name}" for name, count in tally.items())
        print(f"seed {SEED}: {told}, {time.process_time() - began:.0f} s of CPU")
