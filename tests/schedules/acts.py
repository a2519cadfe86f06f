"""What may happen, drawn from the seed: requests, faults of every kind, and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ingot.drivers.machine.types import PowerState
from ingot.kit.db.database import DatabaseUnavailable
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.nodes import states
from ingot.workflow.testing import Killed
from tests.life.walks import LISTS, PATCHES, POWERS, REFUSALS, TROUBLES
from tests.schedules.site import Nobody, Site

_VERBS = sorted(states.VERBS)
#: What a client sees when its request met a dying process or a lost database.
SERVER_ERRORS = (Nobody, Killed, asyncio.CancelledError, DatabaseUnavailable)


@dataclass(frozen=True)
class Act:
    """One thing that happens after `after` seconds. a, b: numbers, taken modulo what there is."""

    after: float
    what: str
    node: int
    a: int
    b: int

    def __str__(self) -> str:
        return f"+{self.after:g} s {self.what}({self.node}, {self.a}, {self.b})"


async def act(site: Site, one: Act, tell: Callable[[str], None]) -> None:
    """Let it happen; whatever follows from it goes on by itself."""
    uuid = site.uuids[one.node % len(site.uuids)]
    said = await _ACTS[one.what][1](site, uuid, one.a, one.b)
    tell(f"{one}: {said or ''} [{site.node(uuid).provision_state}]")


# -- clients ---------------------------------------------------------------------------------------


async def _verb(site: Site, uuid: str, a: int, b: int) -> str:
    """Mostly a verb of the state. What is accepted must be in the table, and shown at once."""
    before = site.node(uuid).provision_state
    possible = states.verbs_of(before)
    verb = possible[a % len(possible)] if possible and a % 8 else _VERBS[a % len(_VERBS)]
    extras: dict[str, Any] = {}
    try:
        if verb in ("clean", "service"):
            extras = {"steps": LISTS[b % len(LISTS)], "disable_ramdisk": b == 7}
        elif verb in ("active", "deploy", "rebuild"):
            await site.prepare(uuid)
            if b % 3 == 1:
                extras = {"steps": [{**LISTS[b % len(LISTS)][0], "priority": 30 * b}]}
        elif verb == "rescue":
            extras = {"rescue_password": "let-me-in"}
        was, now = await site.verb(uuid, verb, **extras)
    except SERVER_ERRORS as error:
        return f"{verb}: no answer ({error!r:.60})"
    except Fault as fault:
        return refused(fault, verb)
    row = states.following(was, states.VERBS[verb][0])
    assert row is not None, f"{verb} was accepted in {was}"
    # An abort of what works ends it in its own time; all else shows at once.
    assert now == row.next or (verb == "abort" and now == was), f"{verb}: {was} became {now}"
    return f"{verb}: {was} -> {now}"


def refused(fault: Fault, what: str) -> str:
    """A refusal that a client may get; anything else is a bug. Unavailable: no conductor is known to be alive."""
    assert fault.kind in REFUSALS or fault.kind is Kind.UNAVAILABLE, repr(fault)
    return f"{what} refused: {fault.text}"


async def _power(site: Site, uuid: str, a: int, b: int) -> str:
    return await _asked(lambda: site.power(uuid, POWERS[a % len(POWERS)]), POWERS[a % len(POWERS)])


async def _patch(site: Site, uuid: str, a: int, b: int) -> str:
    name, value = PATCHES[a % len(PATCHES)]
    return await _asked(lambda: site.patch(uuid, name, value), f"{name} = {value}")


async def _asked(request: Callable[[], Awaitable[None]], what: str) -> str:
    try:
        await request()
    except SERVER_ERRORS:
        return f"{what}: no answer"
    except Fault as fault:
        return refused(fault, what)
    return what


# -- machines --------------------------------------------------------------------------------------


async def _trouble(site: Site, uuid: str, a: int, b: int) -> str:
    """The controller is out of order, for a while or until somebody looks after it."""
    fault = TROUBLES[a % len(TROUBLES)]
    site.rig.trouble[uuid] = fault
    if b % 2:
        _later(site, 5.0 * (1 + a), lambda: site.rig.trouble.pop(uuid, None))
    return fault.__name__


async def _lies(site: Site, uuid: str, a: int, b: int) -> str:
    """The controller says yes and does nothing."""
    site.rig.lying.add(uuid)
    if b % 2:
        _later(site, 5.0 * (1 + a), lambda: site.rig.lying.discard(uuid))
    return ""


async def _cure(site: Site, uuid: str, a: int, b: int) -> str:
    cure(site, uuid)
    return ""


def cure(site: Site, uuid: str) -> None:
    """The machine, its controller and its agent are well again."""
    site.rig.trouble.pop(uuid, None)
    site.rig.lying.discard(uuid)
    site.mute.discard(uuid)
    site.rig.agents.silent.discard(uuid)
    site.rig.agents.failing.discard(uuid)


async def _mute(site: Site, uuid: str, a: int, b: int) -> str:
    site.mute.add(uuid)
    return "its agents never call"


async def _deaf(site: Site, uuid: str, a: int, b: int) -> str:
    site.rig.agents.silent.add(uuid)
    if b % 2:
        _later(site, 5.0 * (1 + a), lambda: site.rig.agents.silent.discard(uuid))
    return "its agent does not answer"


async def _agent_fails(site: Site, uuid: str, a: int, b: int) -> str:
    site.rig.agents.failing.add(uuid)
    return ""


async def _dies(site: Site, uuid: str, a: int, b: int) -> str:
    site.body(uuid).switch(PowerState.OFF)
    return "no power"


async def _slow(site: Site, uuid: str, a: int, b: int) -> str:
    site.rig.seconds = (0.05, 0.5, 2.0)[a % 3]
    return f"calls take {site.rig.seconds} s"


# -- processes -------------------------------------------------------------------------------------


async def _kill(site: Site, uuid: str, a: int, b: int) -> str:
    """A process is killed; one under its name or another joins, at once or after a while."""
    host = site.hosts[a % len(site.hosts)]
    name = host.name if b % 2 else f"{host.name.split('-')[0]}-{a}{b}"
    if any(one.name == name for one in site.hosts if one is not host):
        name = host.name
    await site.kill(host)
    pause = (0.0, 1.0, 30.0, 100.0)[b % 4]
    _later(site, pause, lambda: site.join(name))
    return f"{host}; {name} joins in {pause:g} s"


async def _freeze(site: Site, uuid: str, a: int, b: int) -> str:
    """A process stands still for a while, shorter or longer than its lease."""
    host = site.hosts[a % len(site.hosts)]
    seconds = (3.0, 30.0, 45.0, 70.0, 100.0, 300.0)[b % 6]
    host.freeze()
    _later(site, seconds, host.thaw)
    return f"{host} for {seconds:g} s"


async def _clock(site: Site, uuid: str, a: int, b: int) -> str:
    host = site.hosts[a % len(site.hosts)]
    host.clock.offset = (-3600.0, -60.0, -2.0, 0.0, 0.0, 2.0, 60.0, 3600.0)[b % 8]
    return f"{host} by {host.clock.offset:g} s"


async def _commit(site: Site, uuid: str, a: int, b: int) -> str:
    """Some of a host's next commits fail, before or after they have taken place."""
    host = site.hosts[a % len(site.hosts)]
    host.db.breaks += [("before", "after", "")[(b >> i) % 3] for i in range(1 + a % 4)]
    return f"{host}: {host.db.breaks}"


async def _away(site: Site, uuid: str, a: int, b: int) -> str:
    """The database cannot be reached, from one host or from any."""
    hosts = site.hosts if b % 2 else [site.hosts[a % len(site.hosts)]]
    until = asyncio.get_running_loop().time() + (2.0, 20.0, 50.0, 90.0)[b % 4]
    for host in hosts:
        host.db.away_until = until
    return ", ".join(str(host) for host in hosts)


def _later(site: Site, seconds: float, what: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(seconds, what)


_Deed = Callable[[Site, str, int, int], Awaitable[str]]
#: Weight and deed by name.
_ACTS: dict[str, tuple[int, _Deed]] = {
    "verb": (16, _verb),
    "power": (2, _power),
    "patch": (2, _patch),
    "trouble": (3, _trouble),
    "lies": (1, _lies),
    "cure": (2, _cure),
    "mute": (1, _mute),
    "deaf": (1, _deaf),
    "agent fails": (1, _agent_fails),
    "no power": (1, _dies),
    "slow": (1, _slow),
    "kill": (4, _kill),
    "freeze": (3, _freeze),
    "clock": (2, _clock),
    "commit fails": (3, _commit),
    "database away": (2, _away),
}
WHATS = list(_ACTS)
WEIGHTS = [weight for weight, _ in _ACTS.values()]
#: Seconds between two acts: often none, sometimes long.
PAUSES = (0.0, 0.0, 0.3, 1.0, 3.0, 10.0, 20.0, 40.0, 80.0, 200.0)
