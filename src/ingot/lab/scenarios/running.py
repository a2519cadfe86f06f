"""Carrying a scenario out: enrol, act, wait, judge, and say meanwhile how it stands."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ingot.lab.scenarios.api import Api
from ingot.lab.scenarios.processes import Machines, OwnCloud
from ingot.lab.scenarios.script import Act, Scenario, ScenarioError

#: States in which nobody works on a node.
RESTING = frozenset(
    {
        *("enroll", "manageable", "available", "active", "error", "deploy failed", "clean failed"),
        *("inspect failed", "rescue", "rescue failed", "unrescue failed", "adopt failed"),
        *("service failed", "clean hold", "deploy hold", "service hold"),
    }
)
#: The verb that leads on from a state in which a machine may have stopped.
LEADS_ON = {
    "enroll": "manage",
    "clean failed": "manage",
    "inspect failed": "manage",
    "deploy failed": "deleted",
    "error": "deleted",
    "rescue failed": "rescue",
    "unrescue failed": "unrescue",
    "service failed": "service",
    "adopt failed": "adopt",
    "available": "active",
    "manageable": "provide",
}
_WAY = {"enroll": (), "manageable": ("manage",), "available": ("manage", "provide")}
_GOAL = {"manage": "manageable", "provide": "available"}
_IMAGE = b"\0" * 65536 + b"ingot" * 1000
LOOK_SECONDS = 1.0
#: Machines must have rested for two looks: a verb that waited may begin between two states.
LOOKS = 2

Say = Callable[[str], None]


@dataclass
class Outcome:
    """ended: state -> machines. wrong: what is not as expected, one sentence each."""

    seconds: float = 0.0
    ended: Counter[str] = field(default_factory=Counter[str])
    stopped: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    wrong: list[str] = field(default_factory=list[str])


class Runner:
    """own: the cloud that belongs to the scenario; None for somebody else's."""

    def __init__(
        self, scenario: Scenario, api: Api, machines: Machines, own: OwnCloud | None, say: Say
    ) -> None:
        self._scenario = scenario
        self._api = api
        self._machines = machines
        self._own = own
        self._say = say
        self._names = [str(node["name"]) for node in machines.nodes]
        self._uuids: dict[str, str] = {}
        self._image = ""
        self._began = time.monotonic()

    async def run(self) -> Outcome:
        """Raises ScenarioError when it can't be carried out; what came of it is in the outcome."""
        shown = asyncio.create_task(self._show())
        try:
            async with asyncio.timeout(self._scenario.seconds):
                await self._enrol()
                for act in self._scenario.act:
                    await asyncio.sleep(act.after)
                    await self._do(act)
                await self._rested(self._names)
        except TimeoutError:
            pass  # what is stuck is told by the judgement
        finally:
            shown.cancel()
        return await self._judge()

    async def remove(self) -> None:
        """What was brought into a cloud that is not the scenario's own: nodes, and the image."""
        count = await self._api.remove(set(self._names))
        if self._image:
            await self._api.call("DELETE", f"/image/v2/images/{self._image}")
            self._image = ""
        if count:
            self._tell(f"{count} nodes are removed")

    # -- before ----------------------------------------------------------------------------------

    async def _enrol(self) -> None:
        self._tell(f"enrolling {len(self._names)} machines")
        known = {node["name"] for node in await self._api.nodes(set(self._names))}
        if known:
            raise ScenarioError(
                f"the cloud has {len(known)} nodes of these names already, such as {min(known)}: "
                "remove them, or run with --remove"
            )
        meta = {"name": "scenario", "disk_format": "raw", "container_format": "bare"}
        self._image = (await self._api.call("POST", "/image/v2/images", meta))["id"]
        await self._api.upload(f"/image/v2/images/{self._image}/file", _IMAGE)
        ports: dict[str, list[dict[str, Any]]] = {}
        calls: list[tuple[str, str, object]] = []
        for node in self._machines.nodes:
            ports[node["name"]] = node.pop("ports")
            body = {**node, "network_interface": "noop", "automated_clean": False}
            calls.append(("POST", "/baremetal/v1/nodes", body))
        await self._api.each(calls)
        for node in await self._api.nodes(set(self._names)):
            self._uuids[node["name"]] = node["uuid"]
        bodies = [
            {**port, "node_uuid": self._uuids[name]} for name in self._names for port in ports[name]
        ]
        await self._api.each([("POST", "/baremetal/v1/ports", body) for body in bodies])
        for verb in _WAY[self._scenario.start.state]:
            await self._verb(verb, self._names)
            await self._rested(self._names)

    # -- acts ------------------------------------------------------------------------------------

    async def _do(self, act: Act) -> None:
        names = [self._names[place] for place in self._scenario.chosen(act.machines)]
        self._tell(_words(act, len(names)))
        match act.do:
            case "verb":
                await self._verb(act.verb, names)
            case "power":
                await self._power(act.power, names)
            case "mains":
                await self._machines.mains(names, act.on)
            case "partition":
                await self._machines.inject(names, {"bmc_silent": -1 if act.on else 0})
            case "disks":
                await self._machines.inject(names, {"write_mb_per_s": act.mb_per_s})
            case "wait":
                await self._rested(names)
            case _:
                await self._to_the_cloud(act)
        if act.do in ("verb", "power") and act.wait:
            await self._rested(names)

    async def _to_the_cloud(self, act: Act) -> None:
        own = self._own
        if own is None:
            raise ScenarioError(
                f"{act.do!r} needs a cloud of the scenario's own: leave --cloud out"
            )
        if act.do == "clock":
            own.jump(act.seconds)
        elif act.do == "controller":
            await own.kill()
            await asyncio.sleep(act.seconds)
            await own.serve()
        else:
            assert own.database is not None
            await own.database.stop()
            await asyncio.sleep(act.seconds)
            await own.database.start()

    async def _verb(self, verb: str, names: list[str]) -> None:
        """To those whose state allows it: a machine that has stopped before stays where it is."""
        if verb in _GOAL or verb == "active":
            fit = {"manage": "enroll", "provide": "manageable", "active": "available"}[verb]
            nodes = await self._api.nodes(set(names))
            names = [node["name"] for node in nodes if node["provision_state"] == fit]
        if verb == "active":
            change = [
                {"op": "add", "path": "/instance_info", "value": {"image_source": self._image}}
            ]
            await self._api.each([("PATCH", self._path(name), change) for name in names])
        body = {"target": verb}
        await self._api.each(
            [("PUT", f"{self._path(name)}/states/provision", body) for name in names]
        )

    async def _power(self, target: str, names: list[str]) -> None:
        await self._api.each(
            [("PUT", f"{self._path(name)}/states/power", {"target": target}) for name in names]
        )

    def _path(self, name: str) -> str:
        return f"/baremetal/v1/nodes/{self._uuids[name]}"

    # -- waiting and telling -----------------------------------------------------------------------

    async def _rested(self, names: list[str]) -> None:
        """Until nobody works on any of them."""
        quiet = 0
        while quiet < LOOKS:
            await asyncio.sleep(LOOK_SECONDS)
            nodes = await self._api.nodes(set(names))
            busy = any(node["provision_state"] not in RESTING for node in nodes)
            quiet = 0 if busy else quiet + 1

    async def _show(self) -> None:
        """A line now and then, when something has changed."""
        before = ""
        while True:
            await asyncio.sleep(5)
            try:
                nodes = await self._api.nodes(set(self._names))
            except ScenarioError:
                continue  # the cloud cannot be asked now; the acts' own requests tell why
            states = Counter(str(node["provision_state"]) for node in nodes)
            line = ", ".join(f"{count} {state}" for state, count in states.most_common())
            if line and line != before:
                self._tell(line)
                before = line

    def _tell(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f} s  {text}")

    # -- judging -----------------------------------------------------------------------------------

    async def _judge(self) -> Outcome:
        expect = self._scenario.expect
        outcome = Outcome(time.monotonic() - self._began)
        nodes = await self._api.nodes(set(self._names))
        outcome.ended.update(str(node["provision_state"]) for node in nodes)
        if lost := len(self._names) - len(nodes):
            outcome.wrong.append(f"{lost} machines are no nodes any more")
        if broken := self._api.broken:
            outcome.wrong.append(
                f"{len(broken)} requests were answered 500, the first: {broken[0]}"
            )
        for node in nodes:
            self._judge_one(node, outcome)
        well = outcome.ended[expect.state]
        if well < expect.share * len(self._names):
            outcome.wrong.append(
                f"{well} of {len(self._names)} became {expect.state}, fewer than {expect.share:.0%}"
            )
        return outcome

    def _judge_one(self, node: dict[str, Any], outcome: Outcome) -> None:
        name, state, expect = node["name"], str(node["provision_state"]), self._scenario.expect
        if state == expect.state:
            if expect.powered and node["power_state"] != expect.powered:
                outcome.wrong.append(f"{name} is {state}, but {node['power_state']}")
            return
        cause = str(node["last_error"] or node["maintenance_reason"] or "")
        if state not in RESTING:
            outcome.wrong.append(f"{name} is stuck in {state!r}: {cause or 'no cause is told'}")
        elif not cause:
            outcome.wrong.append(f"{name} stopped in {state!r} without a cause")
        elif "Internal error" in cause:
            outcome.wrong.append(
                f"{name} stopped in {state!r} for a fault of the cloud's own: {cause}"
            )
        elif state not in LEADS_ON:
            outcome.wrong.append(f"{name} stopped in {state!r}, from which no verb leads on")
        outcome.stopped[state, cause[:100]] += 1


def _words(act: Act, count: int) -> str:
    """What happens now, for a person."""
    match act.do:
        case "verb":
            return f"{act.verb} for {count} machines"
        case "power":
            return f"{act.power} for {count} machines"
        case "mains":
            return f"mains {'back at' if act.on else 'off for'} {count} machines"
        case "partition":
            return f"{count} controllers {'cut off' if act.on else 'reachable again'}"
        case "disks":
            speed = f"{act.mb_per_s:g} MB/s" if act.mb_per_s else "their own speed"
            return f"disks of {count} machines write at {speed}"
        case "database" | "controller":
            return f"the {act.do} is gone for {act.seconds:g} s"
        case "clock":
            return f"the controller's clock jumps by {act.seconds:+g} s"
        case _:
            return f"waiting for {count} machines"


def show(outcome: Outcome, say: Say) -> None:
    """The end in words."""
    states = ", ".join(f"{count} {state}" for state, count in outcome.ended.most_common())
    say(f"after {outcome.seconds:.0f} s: {states}")
    for (state, cause), count in outcome.stopped.most_common(10):
        say(f"{count:6}  {state} (`{LEADS_ON.get(state, '?')}` leads on): {cause}")
    for line in outcome.wrong[:20]:
        say(f"WRONG   {line}")
    if len(outcome.wrong) > 20:
        say(f"WRONG   and {len(outcome.wrong) - 20} more")
    say("as expected" if not outcome.wrong else f"not as expected: {len(outcome.wrong)} findings")
