"""Full collections stay short: the collector does not go through what has settled."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc
from ingot.app import memory

memory.settle()
counts, kept = [gc.get_freeze_count()], []
for _ in range(memory.SETTLED_TIMES + 2):
    kept.append([[n] for n in range(memory.SETTLED_OBJECTS + 1000)])
    gc.collect()
    counts.append(gc.get_freeze_count())
    gc.collect()
    assert gc.get_freeze_count() == counts[-1]  # few are left, so there is nothing to do
    if len(counts) <= memory.SETTLED_TIMES:
        assert len(gc.get_objects()) < memory.SETTLED_OBJECTS
print(*(after - before for before, after in zip(counts, counts[1:])))
"""


def test_what_survives_is_taken_from_the_collector_a_few_times() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *taken, left, none = (int(word) for word in ended.stdout.split())
    assert len(taken) == 4 and all(count > 20_000 for count in taken), ended.stdout
    # Not for ever: what is taken and has circles is never freed.
    assert (left, none) == (0, 0)
