"""Steps of cleaning, deploying and servicing: who does each one, and how it is shown.

Three hands do steps: this service itself (the reserved steps power_on, power_off, reboot, hold and wait), the
driver from outside, and the agent inside the machine. A step is the driver's when its interface offers it
without a ramdisk; whatever else is asked for is the agent's. While the agent works, or a person is waited for,
the node's state is the waiting or held one of its table, so that it can be aborted.

Source of names and order: the Bare Metal API's reserved steps and interface priorities ("Node cleaning",
"Node deployment", "Node servicing").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.base import CAPABILITIES, runs_steps
from ingot.drivers.machine.types import PowerTarget, StepInfo
from ingot.kit.faults import Fault, Invalid, Kind
from ingot.services.baremetal.steps.known import wrong_arguments
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import steps
from ingot.services.baremetal.workflows.agentwork import run_agent_step
from ingot.services.baremetal.workflows.children import on_children
from ingot.services.baremetal.workflows.driverwork import run_driver_step
from ingot.services.baremetal.workflows.node_task import NodeTask

Step = dict[str, Any]
#: A step that a workflow runs itself; gets the key of the present boot.
Own = Callable[[str | None], Awaitable[None]]

#: Done by this service itself, whatever interface they are asked of.
RESERVED = frozenset({"power_on", "power_off", "reboot", "hold", "wait"})
_POWER = {
    "power_on": PowerTarget.ON,
    "power_off": PowerTarget.OFF,
    "reboot": PowerTarget.REBOOT,
}
#: Of two steps with the same priority, that of the higher interface comes first.
_INTERFACES = {
    "network": 8,
    "service": 8,
    "vendor": 7,
    "power": 6,
    "management": 5,
    "firmware": 4,
    "deploy": 3,
    "bios": 2,
    "raid": 1,
}
VERIFY_INTERFACES = {
    "power": 13,
    "management": 12,
    "firmware": 11,
    "inspect": 10,
    "deploy": 9,
    "boot": 8,
    "bios": 7,
    "raid": 6,
    "vendor": 5,
    "network": 4,
    "storage": 3,
    "console": 2,
    "rescue": 1,
}
#: A held node waits for a person, who may be on holiday.
_HOLD_SECONDS = 10 * 365 * 86400.0
#: A step may not park a node for longer.
LONGEST_WAIT = 86400


def ordered(offered: Sequence[Step], ties: Mapping[str, int] = _INTERFACES) -> list[Step]:
    """Highest priority first; ties by interface."""
    return sorted(
        offered,
        key=lambda s: (-int(s.get("priority") or 0), -ties.get(str(s["interface"]), 0)),
    )


def step_id(step: Step) -> tuple[str, str]:
    return str(step["interface"]), str(step["step"])


def offered_by_driver(task: NodeTask, node: Node, kind: str) -> list[Step]:
    """All steps of a kind of work that the node's interfaces do from outside, with what is known of them."""
    return [
        _described(info)
        for name in CAPABILITIES
        for info in _infos(task, node, name)
        if kind in info.kinds and not info.in_band
    ]


def _infos(task: NodeTask, node: Node, interface: str) -> Sequence[StepInfo]:
    if interface == "deploy":
        style = task.deps.registry.deploy(node.driver, node.interfaces.get("deploy"))
        # The steps of a deploy with the agent are run by its workflow.
        return () if style.uses_agent else style.steps()
    hand = task.deps.registry.resolve(node.driver, interface, node.interfaces.get(interface))
    return hand.steps() if runs_steps(hand) else ()


def _described(info: StepInfo) -> Step:
    return {
        "interface": info.interface,
        "step": info.step,
        "priority": info.priority,
        "abortable": info.abortable,
        "argsinfo": info.argsinfo or {},
        "requires_ramdisk": info.requires_ramdisk,
    }


def by_agent(step: Step, from_outside: Sequence[Step]) -> bool:
    """Whether only the agent can do it."""
    known = {step_id(one) for one in from_outside}
    return step["step"] not in RESERVED and step_id(step) not in known


def needs_agent(step: Step, from_outside: Sequence[Step]) -> bool:
    """Whether the agent must be up while it is done, by whomever."""
    up = {step_id(one) for one in from_outside if one["requires_ramdisk"]}
    return by_agent(step, from_outside) or (step["step"] not in RESERVED and step_id(step) in up)


def completed(
    wanted: Sequence[Step], offered: Sequence[Step], from_outside: Sequence[Step], kind: str
) -> list[Step]:
    """A client's steps with what their doers say of them; refused when nobody offers one."""
    known = {step_id(one): one for one in (*offered, *from_outside)}
    found: list[Step] = []
    for step in wanted:
        if step["step"] in RESERVED:
            found.append({"priority": 0, "abortable": True, **step})
            continue
        doer = known.get(step_id(step))
        if doer is None:
            names = ", ".join(sorted({".".join(one) for one in known}))
            raise Invalid(
                f"node does not support this {kind} step: {'.'.join(step_id(step))}.",
                next_action=f"Offered are: {names}.",
            )
        if wrong := wrong_arguments(kind, step, doer.get("argsinfo")):
            raise Invalid(f"{'; '.join(wrong)}.", next_action="Correct the step's arguments.")
        mine = {name: step[name] for name in ("priority", "order") if name in step}
        found.append({**doer, "args": step.get("args") or {}, **mine})
    return found


class Steps:
    """The steps of one operation, run in their order; those that an earlier boot has ended are not repeated.

    kind: "clean", "deploy" or "service". agent: whether the machine runs the agent for these steps. own: steps
    of the interface deploy that the workflow runs itself, by name.
    """

    def __init__(
        self, task: NodeTask, kind: str, *, agent: bool, own: Mapping[str, Own] | None = None
    ) -> None:
        self.task = task
        self.kind = kind
        self.column = f"{kind}_step"
        self.agent = agent
        self.own: Mapping[str, Own] = own or {}
        self._asleep = False  # a step has switched or rebooted the machine since the agent called
        self._done: set[str] = set()

    async def run(
        self,
        chosen: Sequence[Step],
        from_outside: Sequence[Step],
        again: str | None = None,
        part: str = "",
    ) -> None:
        """again: the key of the present boot, where the agent was lost before. part: of a longer list."""
        if again:
            self._asleep = False
        for number, step in enumerate(chosen, 1):
            name = f"{part}{number} {step['interface']}.{step['step']}"
            if name in self._done:
                continue
            key = f"{name} {again}" if again else name
            rest = chosen[number:]
            if self._asleep and needs_agent(step, from_outside):
                await steps.boot_agent_again(self.task, key)
                self._asleep = False
            if step.get("execute_on_child_nodes"):
                await self.show(step, key)
                await on_children(self.task, step, key)
            elif step["step"] in RESERVED:
                await self._reserved(step, key, any(needs_agent(s, from_outside) for s in rest))
            elif step["interface"] == "deploy" and step["step"] in self.own:
                await self._by_story(step, key, again)
            elif by_agent(step, from_outside):
                await self._by_agent(step, key)
            else:
                await self._by_driver(step, key)
            self._done.add(name)

    def without_agent(self) -> None:
        """From now on nothing needs the agent; it may be up or not."""
        self.agent = self._asleep = False

    async def show(self, step: Step, key: str, event: str = "") -> None:
        """Show the step at the node, entering the state that belongs to it."""

        def change(conn: sa.Connection) -> None:
            self.task.show_step(conn, self.column, {k: v for k, v in step.items() if v is not None})
            if event:
                self.task.shift(conn, event)

        await self.task.op.commit(f"show the {self.kind} step", change, key=key)

    async def _by_story(self, step: Step, key: str, again: str | None) -> None:
        await self.show(step, key)
        await self.own[step["step"]](again)

    # -- by the agent ------------------------------------------------------------------------

    async def _by_agent(self, step: Step, key: str) -> None:
        if not self.agent:
            raise Fault(
                f"The {self.kind} step {'.'.join(step_id(step))} needs the agent, which was not booted.",
                kind=Kind.UNSUPPORTED,
                next_action="Leave disable_ramdisk out, or choose an interface that does it from outside.",
            )
        await self.show(step, key, "wait")
        await run_agent_step(self.task, self.kind, step, key)
        self._asleep = bool(step.get("reboot_requested"))

    # -- by the driver -----------------------------------------------------------------------

    async def _by_driver(self, step: Step, key: str) -> None:
        await self.show(step, key)
        if await run_driver_step(self.task, self.kind, step, key) and self.agent:
            await self._gone(key)

    async def _gone(self, key: str) -> None:
        """The machine was switched or restarted: whatever ran in it is gone."""
        task = self.task
        await task.op.commit(
            "the agent went with the power", lambda conn: steps.forget_agent(conn, task), key=key
        )
        self._asleep = True

    # -- by ourselves ------------------------------------------------------------------------

    async def _reserved(self, step: Step, key: str, agent_later: bool) -> None:
        name = str(step["step"])
        if name == "hold":
            await self._hold(step, key)
        elif name == "wait":
            await self._wait(step, key)
        else:
            await self._power(step, key, _POWER[name], agent_later)

    async def _power(self, step: Step, key: str, target: PowerTarget, agent_later: bool) -> None:
        await self.show(step, key)
        task = self.task
        if self.agent and agent_later and target is not PowerTarget.OFF:
            # What comes later needs the agent: let it be what starts now.
            await steps.boot_agent_again(task, key)
            self._asleep = False
            return
        await steps.set_power(task, f"{self.kind} step", target, key=key)
        if self.agent:
            await self._gone(key)

    async def _hold(self, step: Step, key: str) -> None:
        """Until somebody says `unhold`; the agent, where there is one, goes on calling meanwhile."""
        await self.show(step, key)
        await self.task.op.wait(
            "unhold",
            name="hold",
            key=key,
            deadline=_HOLD_SECONDS,
            what="somebody to let it go on (unhold)",
            commit_waiting=self.task.shifting("hold"),
            commit_resumed=lambda conn, _payload: self.task.resume(conn),
            fresh=True,
        )

    async def _wait(self, step: Step, key: str) -> None:
        """Some seconds, or until the agent's next call."""
        seconds = _seconds(step)
        task = self.task
        if seconds is None:
            await self.show(step, key)
            await task.op.wait(
                "agent",
                name="wait for a heartbeat",
                key=key,
                deadline=task.deps.timing.agent,
                what="the agent's next heartbeat",
                commit_waiting=task.shifting("wait"),
                commit_resumed=task.shifting("resume"),
                latest=True,
                fresh=True,
            )
            return
        await self.show(step, key, "wait")
        await task.op.sleep(seconds, name="wait", key=key)
        await task.op.commit("go on", lambda conn: task.shift(conn, "resume"), key=key)


def _seconds(step: Step) -> float | None:
    args: dict[str, Any] = step.get("args") or {}
    given: object = args.get("seconds")
    if given is None:
        return None
    try:
        seconds = int(str(given))
    except ValueError:
        raise Invalid(f"The step wait has seconds={given!r}, which is no whole number.") from None
    return float(min(max(seconds, 0), LONGEST_WAIT))
