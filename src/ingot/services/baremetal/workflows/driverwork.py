"""Steps that a driver carries out from outside the machine, told so that they may be repeated.

A driver says after every look whether its step is done, wants the machine restarted, or needs more time; what
it must remember is recorded in between. So a firmware update or a BIOS change survives our own restarts.
"""

from __future__ import annotations

from typing import Any

from ingot.drivers.machine.base import StepRunner, runs_steps
from ingot.drivers.machine.types import Access, PowerTarget, StepOutcome
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import hardware
from ingot.services.baremetal.workflows.caching import BIOS, FIRMWARE, read_settings
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.services.baremetal.workflows.requested_steps import whole as whole_step
from ingot.services.baremetal.workflows.steps import set_power
from ingot.workflow import StepContext


async def run_driver_step(task: NodeTask, kind: str, step: dict[str, Any], key: str) -> bool:
    """One out-of-band step ({"interface", "step", "args"}), followed to its end.

    kind: "clean", "deploy", "service" or "verify". key: unique in the operation. Gives whether the
    machine was restarted on the way (an agent that ran in it is then gone).
    """
    name, args = str(step["step"]), dict(step.get("args") or {})

    async def begin(ctx: StepContext) -> StepOutcome:
        hand, access = await _hand(task, str(step["interface"]))
        outcome = await hand.run(access, name, await _whole(task, step, args))
        _tell(ctx, outcome)
        return outcome

    limit = task.deps.timing.clean_step
    outcome: StepOutcome = await task.op.step(
        f"{kind} step",
        begin,
        key=key,
        deadline=limit,
        min_deadline=limit,
        result_type=StepOutcome,
        abortable=False,
    )
    turn, restarted = 0, False
    while not outcome.done:
        turn += 1
        turn_key = f"{key}, {turn}"
        if outcome.restart:
            restarted = True
            await set_power(
                task, "restart the machine for the step", PowerTarget.REBOOT, key=turn_key
            )
        last = outcome

        async def go_on(ctx: StepContext, last: StepOutcome = last) -> StepOutcome:
            return await _follow(task, ctx, step, args, last)

        outcome = await task.op.step(
            f"{kind} step goes on", go_on, key=turn_key, deadline=limit, min_deadline=limit,
            result_type=StepOutcome,
            abortable=bool(step.get("abortable")),
        )  # fmt: skip
    await _save_outcome(task, str(step["interface"]), outcome, key)
    return restarted


async def _save_outcome(task: NodeTask, interface: str, outcome: StepOutcome, key: str) -> None:
    """What the step changed is shown by the API from now on."""
    made = outcome.raid_config
    if made is not None:
        await task.op.commit(
            "write the logical disks",
            lambda conn: hardware.save_raid(conn, task.uuid, made, task.deps.now()),
            key=key,
        )
    if interface in (BIOS, FIRMWARE):
        await read_settings(task, interface, key=key)


async def _follow(
    task: NodeTask, ctx: StepContext, step: dict[str, Any], args: dict[str, Any], last: StepOutcome
) -> StepOutcome:
    """Look until something is new that must be recorded: the end, a restart, another memo."""
    hand, access = await _hand(task, str(step["interface"]))
    whole = await _whole(task, step, args)
    while True:
        if last.wait:
            await ctx.clock.sleep(last.wait)
        try:
            now = await hand.resume(access, str(step["step"]), whole, last.memo)
        except Fault as fault:
            # A controller that restarts itself, or is busy with our own work, does not answer.
            if not fault.transient:
                raise
            ctx.log(f"no answer yet: {fault.text}")
            await ctx.clock.sleep(fault.retry_after or 10)
            continue
        if now.note != last.note:
            _tell(ctx, now)
        if now.done or now.restart or now.memo != last.memo:
            return now
        last = now


def _tell(ctx: StepContext, outcome: StepOutcome) -> None:
    if outcome.note:
        ctx.log(outcome.note)


async def _hand(task: NodeTask, interface: str) -> tuple[StepRunner, Access]:
    node, access = await task.reach("power", "management", interface)
    hand = task.deps.registry.resolve(node.driver, interface, node.interfaces.get(interface))
    if not runs_steps(hand):
        raise Fault(f"{interface} offers no steps.", kind=Kind.UNSUPPORTED)
    return hand, access


async def _whole(task: NodeTask, step: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """The client's arguments with their secrets, and what the step takes from the node."""
    args = (await whole_step(task, step)).get("args") or args
    if (step["interface"], step["step"]) != ("raid", "create_configuration"):
        return args
    target = await task.deps.db.read(lambda conn: store.target_raid_config(conn, task.uuid))
    return {**args, "raid_config": target}
