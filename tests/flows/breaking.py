"""Breaks long work at one place per machine, many machines at a time, and looks whether all is well after it.

The counterpart of `ingot.workflow.testing` for the wire: there one workflow runs in virtual time against
answers of a test; here whole fleets of simulated machines are worked on at once, each with one thing broken
at one place: the worker dies before a step, between its work and its record, after the record, or in the
middle; the step fails for a while, for good or by a bug; the operation is aborted; nobody calls; the worker
dies while undoing. Every run must end in a state of the table, with nothing left behind and the cause told,
no disk may be touched that was not meant, and a verb must lead on to the goal.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import states as table
from ingot.services.baremetal.orders import BootModeOrder
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.tables import node_history, nodes
from ingot.workflow import Op, cancel, live_operation, operations, start
from ingot.workflow.testing import Killed
from tests.flows.site import Site

Seen = tuple[str, str, str]  # point, label, sort

#: After these the operation must reach its good end by itself.
HEALED = frozenset(
    {"nothing", "killed", "killed in the middle", "transient fault", "transient faults"}
)


@dataclass(frozen=True)
class Story:
    """A kind of operation, how it is ordered, and where it begins and ends.

    writes: how many images a good run writes.
    """

    kind: str
    begin: str
    end: str
    order: Callable[[Site, str], Awaitable[None]]
    writes: int = 0


@dataclass
class Break:
    """What is broken, and where; `fired` once it has been."""

    story: Story
    what: str = "nothing"
    point: str = ""
    label: str = ""
    fired: bool = False
    strikes: int = 0
    operation: str = ""

    def __str__(self) -> str:
        return f"{self.story.kind}: {self.what} at '{self.label}' ({self.point})"


@dataclass
class Report:
    runs: int = 0
    healed: int = 0
    failed: int = 0
    missed: int = 0
    problems: list[str] = field(default_factory=list[str])


def _verb(verb: str, **extras: Any) -> Callable[[Site, str], Awaitable[None]]:
    async def order(site: Site, uuid: str) -> None:
        if verb in ("active", "adopt"):
            await site.prepare(uuid)
        await site.verb(uuid, verb, **extras)

    return order


async def _reboot(site: Site, uuid: str) -> None:
    await site.db.write(lambda conn: site.baremetal.power(conn, uuid, "rebooting"))


async def _boot_mode(site: Site, uuid: str) -> None:
    order = BootModeOrder(target="uefi")
    await site.db.write(lambda conn: start(conn, "boot mode", f"node:{uuid}", order))


#: From outside, by ourselves, by the agent; a restart in between.
_SERVICE = [
    {"interface": "power", "step": "power_on"},
    {"interface": "power", "step": "wait", "args": {"seconds": 5}},
    {"interface": "deploy", "step": "burnin_cpu"},
    {"interface": "power", "step": "reboot"},
    {"interface": "deploy", "step": "burnin_cpu"},
]

STORIES: tuple[Story, ...] = (
    Story("verify", "enroll", "manageable", _verb("manage")),
    Story("inspect", "manageable", "manageable", _verb("inspect")),
    Story("clean", "manageable", "available", _verb("provide")),
    Story("deploy", "available", "active", _verb("active"), writes=1),
    Story("undeploy", "active", "available", _verb("deleted")),
    Story("adopt", "manageable", "active", _verb("adopt")),
    Story("rescue", "active", "rescue", _verb("rescue", rescue_password="let-me-in-7")),
    Story("unrescue", "rescue", "active", _verb("unrescue")),
    Story("service", "active", "active", _verb("service", steps=_SERVICE)),
    Story("power", "active", "active", _reboot),
    Story("boot mode", "active", "active", _boot_mode),
)

#: From a failure state to the goal: verbs in order.
LEADS: dict[str, tuple[tuple[str, ...], str]] = {
    "enroll": (("manage",), "manageable"),
    "inspect failed": (("inspect",), "manageable"),
    "clean failed": (("manage", "provide"), "available"),
    "deploy failed": (("active",), "active"),
    "error": (("deleted",), "available"),
    "adopt failed": (("adopt",), "active"),
    "rescue failed": (("unrescue",), "active"),
    "unrescue failed": (("unrescue",), "active"),
    "service failed": (("abort",), "active"),
    "active": (("deleted",), "available"),
}


class Breaker:
    """Stands at the engine's probe; breaks what `breaks` says, by subject."""

    def __init__(self) -> None:
        self.breaks: dict[str, Break] = {}
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.site: Site | None = None

    async def probe(self, point: str, op: Op, label: str, sort: str) -> None:
        broken = self.breaks.get(op.subject)
        if broken is None or broken.operation not in ("", op.id):
            return
        if op.kind != broken.story.kind:
            return  # the end of the one before, whose last word comes after its state
        broken.operation = op.id  # later ones, which lead on, are left alone
        seen = self.seen[op.subject]
        if (point, label, sort) not in seen:
            seen.append((point, label, sort))
        if broken.what == "killed in undo":
            self._undo(broken, point, label, sort)
            return
        if (point, label) != (broken.point, broken.label):
            return
        if broken.what == "transient faults" and broken.strikes < 2:
            broken.strikes += 1
            raise Fault("it is unreachable", kind=Kind.UNREACHABLE)
        if broken.fired:
            return
        broken.fired = True
        await self._strike(broken, op)

    async def _strike(self, broken: Break, op: Op) -> None:
        assert self.site is not None
        match broken.what:
            case "killed":
                raise Killed
            case "killed in the middle":
                task = next(t for t in self.site.engine.tasks() if op.id in t.get_name())
                asyncio.get_running_loop().call_later(0.03, task.cancel)
            case "transient fault":
                raise Fault("it is unreachable", kind=Kind.UNREACHABLE)
            case "permanent fault":
                raise Fault("it was refused", kind=Kind.REFUSED)
            case "bug":
                raise RuntimeError("a bug")
            case "aborted":
                await self.site.db.write(
                    lambda conn: cancel(conn, op.subject, "Aborted by request.", by="test")
                )
            case _:
                pass

    @staticmethod
    def _undo(broken: Break, point: str, label: str, sort: str) -> None:
        if sort == "step" and point == "before" and label == broken.label:
            raise Fault("it was refused", kind=Kind.REFUSED)
        if sort == "undo" and point == broken.point and not broken.fired:
            broken.fired = True
            raise Killed


#: Steps whose failure is told and passed over.
HARMLESS = frozenset({"read the machine's settings"})


def everything(story: Story, seen: Sequence[Seen]) -> list[Break]:
    """All that can be broken, from the points that a clean run passed."""
    cases: list[tuple[str, str, str]] = []
    labels: set[str] = set()
    for point, label, sort in seen:
        if point == "ended":
            continue  # nothing can be broken any more
        cases.append(("killed", point, label))
        if sort == "step" and point == "before":
            whats = ("transient fault", "transient faults", "permanent fault", "bug", "aborted")
            harmless = label.partition(" [")[0] in HARMLESS
            whats = whats[:1] if harmless else whats
            cases.extend((what, point, label) for what in (*whats, "killed in the middle"))
            if harmless:
                pass  # what fails in it ends nothing, so there is nothing to undo
            elif "power on" in label or labels & {"power on [1]"}:
                cases.extend(("killed in undo", at, label) for at in ("before", "done", "saved"))
        if sort == "wait" and point == "parked":
            cases.append(("aborted", point, label))
        labels.add(label)
    return [Break(story, what, point, label) for what, point, label in dict.fromkeys(cases)]


def some(cases: Sequence[Break]) -> list[Break]:
    """Every step killed once and failed once, the ways dealt out in turn."""
    chosen: list[Break] = []
    ways: dict[tuple[str, str, bool], list[Break]] = defaultdict(list)
    for case in cases:
        ways[case.story.kind, case.label, case.what.startswith("killed")].append(case)
    for number, group in enumerate(ways.values()):
        chosen.append(group[number % len(group)])
    return chosen


async def learn(site: Site, breaker: Breaker, uuids: Sequence[str]) -> dict[str, list[Seen]]:
    """Run every story once without breaking anything; the points it passed, by kind."""
    report = Report()
    cases = [Break(story) for story in STORIES]
    await run(site, breaker, list(zip(uuids, cases, strict=True)), report)
    assert not report.problems, "\n".join(report.problems)
    return {
        case.story.kind: breaker.seen[f"node:{uuid}"]
        for uuid, case in zip(uuids, cases, strict=True)
    }


async def run(
    site: Site,
    breaker: Breaker,
    work: Sequence[tuple[str, Break]],
    report: Report,
    at_once: int = 40,
) -> None:
    """One node per break; problems go into the report, each with its story."""
    slots = asyncio.Semaphore(at_once)

    async def one(uuid: str, broken: Break) -> None:
        async with slots:
            try:
                await _one(site, breaker, uuid, broken, report)
            except (AssertionError, Fault, TimeoutError) as problem:
                report.problems.append(f"{broken}\n    {problem!r}\n    {await site.story(uuid)}")

    breaker.site = site
    await asyncio.gather(*(one(uuid, broken) for uuid, broken in work))


async def _one(site: Site, breaker: Breaker, uuid: str, broken: Break, report: Report) -> None:
    story = broken.story
    await site.db.write(lambda conn: store.update_node(conn, uuid, provision_state=story.begin))
    breaker.breaks[f"node:{uuid}"] = broken
    await story.order(site, uuid)
    state = await site.rest(uuid, deadline=120)
    report.runs += 1
    told = await site.db.read(lambda conn: operations(conn, f"node:{uuid}", limit=9))
    ended = next((one for one in told if one.id == broken.operation), None)
    assert ended is not None, f"its operation was never claimed: {await site.story(uuid)}"
    if broken.what != "nothing" and not (broken.fired or broken.strikes):
        # A quick machine may call before the wait is parked; everything else must be reached.
        assert broken.point == "parked", f"the break was never reached: {await site.story(uuid)}"
        report.missed += 1
        return
    story_told = await site.story(uuid)
    if broken.what in HEALED:
        assert (ended.state, state) == ("done", story.end), f"{ended.state} {state}: {story_told}"
        report.healed += 1
    await _nothing_left(site, uuid, ended.state)
    await _disks(site, uuid, story.writes if ended.state == "done" else None)
    if ended.state != "done":
        report.failed += 1
        await _failed_well(site, uuid, broken, state)
        await _lead_on(site, uuid, state)
        await _disks(site, uuid, None)


async def _row(site: Site, uuid: str) -> Any:
    return await site.db.read(
        lambda conn: conn.execute(nodes.select().where(nodes.c.uuid == uuid)).one()
    )


async def _nothing_left(site: Site, uuid: str, ended: str) -> None:
    row = await _row(site, uuid)
    assert row.reservation is None, "the node is still reserved"
    assert row.target_power_state is None, "a target power state is left"
    assert (row.clean_step, row.deploy_step) == ("{}", "{}"), "a step is still shown"
    assert table.STATES[row.provision_state].kind in ("stable", "failed"), row.provision_state
    if ended == "done":
        assert row.last_error is None, row.last_error
        assert row.target_provision_state is None, row.target_provision_state


async def _failed_well(site: Site, uuid: str, broken: Break, state: str) -> None:
    row = await _row(site, uuid)
    passing = broken.story.kind in ("power", "boot mode")
    operation = table.STATES[state].kind
    assert operation == "failed" or state in ("enroll", "active"), f"failed into {state}"
    assert row.last_error, "no cause is told"
    if broken.what != "bug":
        words = {"aborted": "aborted"}.get(broken.what, "refused")
        assert words in row.last_error.lower(), row.last_error
        assert broken.label in row.last_error or words == "aborted", row.last_error
    history = await site.db.read(
        lambda conn: conn.execute(
            node_history.select().where(node_history.c.node_uuid == uuid)
        ).all()
    )
    assert any(entry.severity == "ERROR" for entry in history), "nothing in the history"
    if passing or (broken.story.kind, state) == ("service", "active"):
        return  # The instance runs, again after a service that was given up.
    assert row.boot_intent is None, f"a boot intent is left: {row.boot_intent}"
    agent = await site.db.read(lambda conn: agent_store.get_agent(conn, site.deps.vault, uuid))
    assert agent is None, "the agent is not forgotten"
    name = (await site.node(uuid)).name or ""
    running = site.fleet.machine(name)
    if running.agent is not None or running.running == "agent":
        await running.wait_for("off", timeout=30)


async def _lead_on(site: Site, uuid: str, state: str) -> None:
    """What the failure state offers brings the node to a good state."""
    assert table.verbs_of(state), f"no verb leads on from {state}"
    (verbs, goal), reached = LEADS[state], ""
    # A step that failed in the middle puts its node into maintenance.
    await site.db.write(lambda conn: site.baremetal.set_maintenance(conn, uuid, False))
    for verb in verbs:
        if verb in ("active", "adopt"):
            await site.prepare(uuid)
        await site.verb(uuid, verb)
        reached = await site.rest(uuid, deadline=120)
    assert reached == goal, f"{verbs} led to {reached}: {await site.story(uuid)}"


async def _disks(site: Site, uuid: str, writes: int | None) -> None:
    """Nothing was erased or written in the name of another node; images as often as meant."""
    name = (await site.node(uuid)).name or ""
    acts = site.fleet.machine(name).destructive_acts
    strangers = [act for act in acts if act.node != uuid]
    assert not strangers, f"{name} was touched in the name of another node: {strangers}"
    written = sum(act.act == "write_image" for act in acts)
    if writes is not None:
        assert written == writes, f"{written} images were written, not {writes}"


async def idle(site: Site, uuid: str) -> bool:
    return await site.db.read(lambda conn: live_operation(conn, f"node:{uuid}")) is None
