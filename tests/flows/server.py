"""The controller's side as a process of its own, to be killed: `python -m tests.flows.server PLAN`.

PLAN is a JSON file: {"base", "database", "port", "host", "cluster", "provisioning", "log", "at", "middle"}.
When a step reaches one of the points in `at` for the first time in the life of the log file, the process
notes it there and kills itself with signal 9; in the steps in `middle` it does so a moment after their
beginning. What is noted is not done again, so a process that is started anew goes on to the next point.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ingot.services.baremetal.workflows import Timing
from ingot.workflow import Op
from tests.flows.site import cloud

#: Seconds into a step at which it counts as "in the middle".
MIDDLE = 0.1


class Suicide:
    def __init__(self, plan: dict[str, Any]) -> None:
        self._log = Path(plan["log"]) if plan.get("log") else None
        self._points = set(plan.get("at", ()))
        self._middle = set(plan.get("middle", ()))

    async def probe(self, point: str, op: Op, label: str, sort: str) -> None:
        if self._log is None:
            return
        done = self._log.read_text().splitlines() if self._log.exists() else []
        here = f"{op.subject} {point} {label}"
        if point in self._points and here not in done:
            self._die(here)
        middle = f"{op.subject} middle {label}"
        if point == "before" and label in self._middle and middle not in done:
            asyncio.get_running_loop().call_later(MIDDLE, self._die, middle)

    def _die(self, what: str) -> None:
        assert self._log is not None
        with self._log.open("a") as log:
            log.write(what + "\n")
            log.flush()
            os.fsync(log.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


async def main(plan: dict[str, Any]) -> None:
    timing = Timing(agent=120, inspection=120, write=240, power=60, agent_silence=60, poll=0.1)
    async with cloud(
        Path(plan["base"]),
        database=plan.get("database", ""),
        port=plan.get("port", 0),
        host=plan.get("host", "conductor-1"),
        cluster=plan.get("cluster", False),
        provisioning=plan.get("provisioning", ""),
        timing=timing,
        probe=Suicide(plan).probe,
        beat=1,
        dead=3,
    ):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
