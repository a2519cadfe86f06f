"""One seed, from its start to the proof that everything comes home."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.nodes import states
from ingot.workflow.testing import Killed
from tests.life.walks import ONWARD
from tests.schedules import acts, virtual
from tests.schedules.acts import Act
from tests.schedules.site import Site, site

#: Virtual seconds in which an operation must end once all is well.
PATIENCE = 3 * 3600.0


@dataclass(frozen=True)
class Plan:
    """All that a seed decides beforehand."""

    kinds: tuple[str, ...]
    hosts: int
    acts: tuple[Act, ...]


def plan(seed: int) -> Plan:
    dice = random.Random(seed)
    kinds = tuple(
        dice.choice(("direct", "direct", "fake")) for _ in range(dice.choice((1, 2, 2, 3)))
    )
    hosts = dice.choice((2, 2, 3))
    drawn = [
        Act(
            dice.choice(acts.PAUSES),
            dice.choices(acts.WHATS, acts.WEIGHTS)[0],
            dice.randrange(len(kinds)),
            dice.randrange(41),
            dice.randrange(8),
        )
        for _ in range(dice.randint(5, 16))
    ]
    return Plan(kinds, hosts, tuple(drawn))


def run(
    seed: int, *, most: int | None = None, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Raises AssertionError (or whatever broke) when the seed shows something wrong. most: of its acts."""
    virtual.run(_run(seed, plan(seed), most, tell), quiet=Killed)


async def _run(seed: int, drawn: Plan, most: int | None, tell: Callable[[str], None]) -> None:
    def told(text: str) -> None:
        tell(f"{asyncio.get_running_loop().time():8.1f} {text}")

    async with site(random.Random(f"{seed} world")) as here:
        names = [f"c{number}" for number in range(drawn.hosts)]
        for name in names:
            await here.add_host(name)
        for kind in drawn.kinds:
            await here.enrol(here.hosts[0], kind)
        for one in drawn.acts[:most]:
            await asyncio.sleep(one.after)
            if not here.hosts:
                here.join(names[0])
            await acts.act(here, one, told)
            here.check()
        told("the faults stop")
        await _mend(here, names)
        for uuid in here.uuids:
            await _lead_home(here, uuid, told)
        here.check()
        here.ended()


async def _mend(here: Site, names: list[str]) -> None:
    """No faults any more, and processes enough."""
    here.calm = True
    here.rig.seconds = 0.05
    for uuid in here.uuids:
        acts.cure(here, uuid)
    for host in here.hosts:
        host.thaw()
        host.db.breaks.clear()
        host.db.away_until = 0.0
        host.clock.offset = 0.0
    if len(here.hosts) < 2:
        here.join(names[-1] if all(h.name != names[-1] for h in here.hosts) else names[0])
    await asyncio.sleep(1)


async def _lead_home(here: Site, uuid: str, told: Callable[[str], None]) -> None:
    """The node rests, and its own verbs lead to a good state, whatever was done to it."""
    home = here.dice.random() < 0.3
    for _ in range(14):
        await _rest(here, uuid)
        here.check()
        state = here.node(uuid).provision_state
        told(f"{uuid[:8]} rests in {state}")
        if state == states.AVAILABLE or (states.STATES[state].kind == "stable" and not home):
            return
        for name in ("maintenance", "retired", "protected"):
            try:
                await here.patch(uuid, name, False)
            except Fault as fault:
                acts.refused(fault, name)
        try:
            await here.verb(uuid, ONWARD[state])
        except Fault as fault:
            # What was aborted in a held state leaves it when its operation has ended.
            same = here.node(uuid).provision_state == state and fault.kind is not Kind.UNAVAILABLE
            assert not same, f"{ONWARD[state]} was refused in {state}: {fault}"
        await asyncio.sleep(5)
    raise AssertionError(f"{uuid} does not come home: {here.story(uuid)}")


async def _rest(here: Site, uuid: str) -> None:
    """Until no operation works on the node, or it waits for a person."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PATIENCE
    while loop.time() < end:
        state = here.node(uuid).provision_state
        if here.idle(uuid) or states.STATES[state].kind == "held":
            return
        await asyncio.sleep(10)
    raise AssertionError(f"an operation does not end: {here.story(uuid)}")
