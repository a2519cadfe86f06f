"""Random walks through a node's life: what may happen, and what must be true after everything.

A walk is a list of `Act`s with small numbers, which are given a meaning by what is possible at the moment:
a verb is mostly one that the state has, sometimes one that it has not. So short lists reach far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ingot.drivers.faults import BadCredentials, Busy, Refused, Unreachable
from ingot.drivers.machine.types import PowerState
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal.nodes import states
from ingot.workflow import live_operation
from tests.life.world import Life

#: Faults that a request may be refused with; anything else is a bug.
REFUSALS = frozenset({Kind.INVALID, Kind.LOCKED, Kind.CONFLICT, Kind.FORBIDDEN})
_ALL_VERBS = sorted(states.VERBS)
POWERS = ("power on", "power off", "rebooting", "soft power off", "soft rebooting")
PATCHES: tuple[tuple[str, Any], ...] = (
    ("maintenance", True),
    ("maintenance", False),
    ("retired", True),
    ("retired", False),
    ("protected", True),
    ("protected", False),
    ("automated_clean", False),
    ("automated_clean", None),
    ("disable_power_off", True),
    ("disable_power_off", False),
    ("instance_uuid", "4dba6db3-96d7-4cf1-bc8b-d77df3461545"),
    ("instance_uuid", None),
    ("extra", {"a": 1}),
)
_POWER_STEP = {"interface": "power", "step": "reboot"}
_HOLD = {"interface": "power", "step": "hold"}
_WAIT = {"interface": "power", "step": "wait", "args": {"seconds": 20}}
_BEAT = {"interface": "power", "step": "wait"}
_AGENT = {"interface": "deploy", "step": "burnin_cpu"}
_BIOS = {
    "interface": "bios",
    "step": "apply_configuration",
    "args": {"settings": [{"name": "virtualization", "value": "off"}]},
}
LISTS: tuple[list[dict[str, Any]], ...] = (
    [_BIOS],
    [_HOLD],
    [_AGENT],
    [_WAIT, _BIOS],
    [_AGENT, _POWER_STEP, _AGENT],
    [_HOLD, _BIOS, _HOLD],
    [_BEAT],
    [{"interface": "raid", "step": "no_such_step"}],
)
TROUBLES = (Unreachable, BadCredentials, Busy, Refused)
_TIMES = (1.0, 30.0, 130.0, 1000.0, 4000.0)


@dataclass(frozen=True)
class Act:
    """One thing that happens to a node. a, b: numbers, which are taken modulo what there is."""

    what: str
    node: int
    a: int = 0
    b: int = 0

    def __str__(self) -> str:
        return f"{self.what}({self.node}, {self.a}, {self.b})"


_WHATS = (
    *("verb",) * 12,
    *("time",) * 6,
    *("crash", "crash soon") * 2,
    *("trouble", "cure", "mute", "deaf") * 2,
    *("patch",) * 3,
    *("power", "agent fails", "machine dies", "wrong token", "unknown card", "orphans"),
)


def walks(longest: int, *, far: bool = False) -> st.SearchStrategy[list[Act]]:
    """Walks of up to so many acts. Most are short, as hypothesis draws lists; far: half of them are long."""
    act = st.builds(
        Act,
        st.sampled_from(_WHATS),
        st.integers(0, 1),
        st.integers(0, 40),
        st.integers(0, 7),
    )
    short = st.lists(act, min_size=1, max_size=longest)
    # The short ones first: a long walk that fails is told as a short one.
    return short | st.lists(act, min_size=longest // 2, max_size=longest) if far else short


async def walk(life: Life, acts: list[Act]) -> None:
    """All acts, each with all that follows from it at once, and the checks after each."""
    for act in acts:
        await _do(life, act)
        await life.quiet()
        await life.check()


async def _do(life: Life, act: Act) -> None:
    uuid = life.uuids[act.node % len(life.uuids)]
    body = life.hardware(uuid)
    match act.what:
        case "verb":
            await _verb(life, uuid, act.a, act.b)
        case "time":
            await life.live(_TIMES[act.a % len(_TIMES)])
        case "crash":
            await life.crash()
        case "crash soon":
            life.crash_in = 1 + act.a
        case "trouble":
            life.world.trouble[uuid] = TROUBLES[act.a % len(TROUBLES)]
        case "cure":
            cure(life, uuid)
        case "mute":
            life.mute.add(uuid)
        case "deaf":
            life.agents.silent.add(uuid)
        case "agent fails":
            life.agents.failing.add(uuid)
        case "machine dies":
            body.switch(PowerState.OFF)
        case "wrong token":
            beat = {"callback_url": "https://evil:1", "agent_token": "no", "agent_version": "1"}
            reply = await life.ask("POST", f"/v1/heartbeat/{uuid}", beat)
            assert reply.status_code == 400, reply.text
        case "unknown card":
            reply = await life.ask("GET", "/v1/lookup", addresses="52:54:00:00:00:99")
            assert reply.status_code == 404, reply.text
        case "orphans":
            await life.quiet()
            assert await life.orphans.run() == 0, "somebody was helped who was at work"
        case _:
            await _request(life, uuid, act)


async def _request(life: Life, uuid: str, act: Act) -> None:
    try:
        if act.what == "power":
            await life.power(uuid, POWERS[act.a % len(POWERS)])
        else:
            await life.patch(uuid, *PATCHES[act.a % len(PATCHES)])
    except Fault as fault:
        assert fault.kind in REFUSALS, repr(fault)


async def _verb(life: Life, uuid: str, a: int, b: int) -> None:
    """Mostly a verb of the state. What is accepted must be in the table, and shown at once."""
    before = (await life.node(uuid)).provision_state
    possible = states.verbs_of(before)
    verb = possible[a % len(possible)] if possible and a % 8 else _ALL_VERBS[a % len(_ALL_VERBS)]
    extras: dict[str, Any] = {}
    if verb in ("clean", "service"):
        extras = {"steps": LISTS[b % len(LISTS)], "disable_ramdisk": b == 7}
    elif verb in ("active", "deploy", "rebuild"):
        await life.prepare(uuid)
        if b % 3 == 1:
            extras = {"steps": [{**LISTS[b % len(LISTS)][0], "priority": 30 * b}]}
    elif verb == "rescue":
        extras = {"rescue_password": "let-me-in"}
    try:
        was, now = await life.verb(uuid, verb, **extras)
    except Fault as fault:
        assert fault.kind in REFUSALS, repr(fault)
        return
    row = states.following(was, states.VERBS[verb][0])
    assert row is not None, f"{verb} was accepted in {was}"
    # An abort of what works ends it in its own time; all else shows at once.
    assert now == row.next or (verb == "abort" and now == was), f"{verb}: {was} became {now}"


def cure(life: Life, uuid: str) -> None:
    """The machine and its controller are well again, and so is its agent."""
    life.world.trouble.pop(uuid, None)
    life.mute.discard(uuid)
    life.agents.silent.discard(uuid)
    life.agents.failing.discard(uuid)


#: From every state, a verb that leads nearer to available.
ONWARD = {
    states.ENROLL: "manage",
    states.MANAGEABLE: "provide",
    states.DEPLOYHOLD: "abort",
    states.DEPLOYFAIL: "deleted",
    states.ACTIVE: "deleted",
    states.ERROR: "deleted",
    states.CLEANHOLD: "unhold",
    states.CLEANFAIL: "manage",
    states.INSPECTFAIL: "manage",
    states.ADOPTFAIL: "manage",
    states.RESCUE: "deleted",
    states.RESCUEFAIL: "unrescue",
    states.UNRESCUEFAIL: "deleted",
    states.SERVICEHOLD: "unhold",
    states.SERVICEFAIL: "abort",
}


async def lead_home(life: Life) -> None:
    """With all trouble gone every node comes to available by its own verbs, whatever was done to it."""
    life.crash_in = 0
    for uuid in life.uuids:
        cure(life, uuid)
    for uuid in life.uuids:
        for _ in range(14):
            await _rest(life, uuid)
            node = await life.node(uuid)
            if node.provision_state == states.AVAILABLE:
                break
            await _clear_flags(life, uuid)
            await life.verb(uuid, ONWARD[node.provision_state])
        else:
            raise AssertionError(f"{uuid} does not come home: {await life.story(uuid)}")
    await life.check()


async def _clear_flags(life: Life, uuid: str) -> None:
    for name in ("maintenance", "retired", "protected"):
        try:
            await life.patch(uuid, name, False)
        except Fault as fault:
            assert fault.kind in REFUSALS, repr(fault)


async def _rest(life: Life, uuid: str) -> None:
    """Until no operation works on the node, or it waits for a person."""
    for _ in range(60):
        await life.live(300)
        node = await life.node(uuid)
        live = await life.db.read(lambda conn: live_operation(conn, f"node:{uuid}"))
        if live is None or states.STATES[node.provision_state].kind == "held":
            return
    raise AssertionError(f"an operation does not end: {await life.story(uuid)}")
