"""A fleet with misbehaving machines through its whole life: `python -m tests.flows.fleet --count 1000 --seed 7`.

Every machine goes enroll -> available -> active -> available, or stops in a state that names its cause and
accepts a verb that leads on. Prints how many ended how, and what it cost. A seed gives the same ends again.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from ingot.kit import log
from ingot.lab.sim import PERSONALITIES, STOPS, misbehaving
from ingot.services.baremetal.nodes import states as table
from ingot.services.baremetal.tables import nodes
from ingot.services.baremetal.workflows import Timing
from tests.flows.site import Site, site

#: Seconds of the controller's clock.
TIMING = Timing(
    agent=400, inspection=400, write=900, clean_step=600, power=180, agent_silence=60, poll=1
)
#: What must be done before a verb makes sense again, by what was enrolled wrongly: nothing here does it.
WAY = (
    ("manage", "manageable"),
    ("provide", "available"),
    ("active", "active"),
    ("deleted", "available"),
)
PATIENCE = 900.0


@dataclass
class End:
    """Where one machine's way ended. verb: the one at which it stopped, "" for those that got through."""

    name: str
    personality: str
    state: str
    verb: str = ""
    error: str = ""
    leads: tuple[str, ...] = ()

    @property
    def stopped(self) -> bool:
        return bool(self.verb)


@dataclass
class Outcome:
    ends: list[End] = field(default_factory=list[End])
    seconds: float = 0.0
    cpu: float = 0.0
    deploys: int = 0
    memory_mb: float = 0.0

    def table(self) -> dict[str, str]:
        """Name -> personality, end and verb: what a seed must reproduce."""
        return {end.name: f"{end.personality}: {end.state} {end.verb}".strip() for end in self.ends}


async def live(
    count: int,
    seed: int,
    share: float = 0.05,
    *,
    at_once: int = 100,
    hurry: float = 10,
    timing: Timing = TIMING,
) -> Outcome:
    """The whole way of `count` machines, `share` of them misbehaving."""
    outcome = Outcome()
    async with site(
        count,
        timing=timing,
        hurry=hurry,
        speed=1000,
        seed=seed,
        personalities=misbehaving(share),
        protocols=("redfish",),
    ) as here:
        uuids = await here.enrol()
        slots = asyncio.Semaphore(at_once)
        began, cpu = time.monotonic(), time.process_time()

        async def one(uuid: str, name: str) -> None:
            async with slots:
                outcome.ends.append(await _life(here, uuid, name, outcome))

        names = list(here.fleet.machines)
        await asyncio.gather(*(one(*pair) for pair in zip(uuids, names, strict=True)))
        outcome.seconds = time.monotonic() - began
        outcome.cpu = time.process_time() - cpu
    outcome.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return outcome


async def _life(here: Site, uuid: str, name: str, outcome: Outcome) -> End:
    personality = here.fleet.machine(name).personality
    for verb, goal in WAY:
        if verb == "active":
            await here.prepare(uuid)
        await here.verb(uuid, verb)
        state = await here.rest(uuid, deadline=PATIENCE)
        if state != goal:
            error = await here.db.read(
                lambda conn: conn.execute(
                    sa.select(nodes.c.last_error).where(nodes.c.uuid == uuid)
                ).scalar()
            )
            return End(name, personality, state, verb, error or "", table.verbs_of(state))
        outcome.deploys += verb == "active"
    return End(name, personality, "available")


def cause(text: str) -> str:
    """A cause without its numbers and names, to count by."""
    plain = re.sub(r"sim-\d+|[0-9a-f]{8}-[0-9a-f-]{27}|https?://\S+|\b[\d.:T+-]*\d\b", "…", text)
    return plain[:110]


def problems(ends: Sequence[End]) -> list[str]:
    """What is not as it must be."""
    found: list[str] = []
    for end in ends:
        kind = PERSONALITIES[end.personality]
        if end.stopped and not end.error:
            found.append(f"{end.name} ({end.personality}) stopped without a cause in {end.state}")
        if end.stopped and not end.leads:
            found.append(f"{end.name} ({end.personality}): no verb leads on from {end.state}")
        if end.stopped and kind.expect != STOPS:
            found.append(f"{end.name} ({end.personality}) should recover: {end.verb}: {end.error}")
        if end.stopped and kind.cause.lower() not in end.error.lower():
            found.append(f"{end.name} ({end.personality}): no '{kind.cause}' in: {end.error}")
    return found


def show(outcome: Outcome) -> None:
    through = sum(not end.stopped for end in outcome.ends)
    print(f"{len(outcome.ends)} machines: {through} through, {len(outcome.ends) - through} stopped")
    kinds = Counter((end.personality, end.stopped) for end in outcome.ends)
    print(f"\n{'personality':26} {'through':>8} {'stopped':>8}")
    for name in sorted({name for name, _ in kinds}):
        print(f"{name:26} {kinds[name, False]:8} {kinds[name, True]:8}")
    print("\nstopped in, at the verb, why (how many):")
    stops = Counter((end.state, end.verb, cause(end.error)) for end in outcome.ends if end.stopped)
    for (state, verb, why), number in stops.most_common():
        print(f"{number:5}  {state} at {verb}: {why}")
    each = outcome.cpu / max(1, outcome.deploys)
    print(
        f"\n{outcome.seconds:.1f} s, {outcome.deploys} deploys, {each:.2f} CPU-seconds for each whole life "
        f"(machines included), {outcome.memory_mb:.0f} MB at most"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--share", type=float, default=0.05, help="of misbehaving machines")
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--hurry", type=float, default=10, help="factor of the controller's time")
    arguments = parser.parse_args()
    log.configure(level="error")
    outcome = asyncio.run(
        live(
            arguments.count,
            arguments.seed,
            arguments.share,
            at_once=arguments.at_once,
            hurry=arguments.hurry,
        )
    )
    show(outcome)
    wrong = problems(outcome.ends)
    print("\n".join(["", *wrong]) if wrong else "\nall as it must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
