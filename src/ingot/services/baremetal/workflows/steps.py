"""Steps that several workflows share: power, bringing the agent up and sending it away, the instance.

Each is safe to repeat: it asks the world first, and does only what is still missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.types import PowerState, PowerTarget
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.plan import DISK, Intent
from ingot.services.baremetal.nodes.derived import boot_mode
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import agentlogs, booting, fast_track, proofs
from ingot.services.baremetal.workflows.agent_retry import is_lost
from ingot.services.baremetal.workflows.node_task import NodeTask, unplug
from ingot.workflow import StepContext
from ingot.workflow.timing import Rule

# -- power ---------------------------------------------------------------------------------------


async def set_power(
    task: NodeTask,
    name: str,
    target: PowerTarget,
    *,
    key: str | None = None,
    timeout: float | None = None,
    undo: Callable[[StepContext, Any], Awaitable[None]] | None = None,
    last: bool = False,
) -> str:
    """Reach a power state; nothing is issued when the machine is there already. Gives the state.

    last: the operation ends with this step and shows the state itself, in the transaction that frees the
    node: a client that waits for the state goes on at once.
    """

    async def change(ctx: StepContext) -> str:
        return await switch(task, ctx, target, timeout)

    def keep(conn: sa.Connection, state: str) -> None:
        shown = {} if last else {"power_state": state, "target_power_state": None}
        # Whoever asks what to boot soon after this was started by us.
        started = {"started_at": task.deps.now()} if target.final is PowerState.ON else {}
        if started or shown:
            store.update_node(conn, task.uuid, **started, **shown)

    return await task.controller_step(
        name, change, key=key, more=timeout or 0, commit=keep, undo=undo
    )


async def switch(
    task: NodeTask, ctx: StepContext, target: PowerTarget, timeout: float | None = None
) -> str:
    """Inside a step: the driver's power call, told in the timeline. Gives the state reached."""
    node, access = await task.reach("power")
    if target is PowerTarget.OFF and node.disable_power_off:
        ctx.log("power off is disabled for this node; left on")
        return str(PowerState.ON)
    power = task.deps.registry.power(node.driver, node.interfaces.get("power"))
    # A third of the step's time, so that a refusal of the controller is told as such.
    outcome = await power.set(access, target, timeout or task.deps.timing.power / 3)
    if outcome.issued:
        ctx.log(f"{outcome.before} -> {outcome.after} by {', '.join(outcome.commands)}")
    else:
        ctx.log(f"already {outcome.after}")
    return str(outcome.after)


# -- the agent -----------------------------------------------------------------------------------

Work = Callable[[str | None], Awaitable[None]]


async def with_agent(task: NodeTask, work: Work) -> None:
    """Bring the agent up, prove it, and let it work.

    When it is lost in the middle (power, network, a restart of its own) the machine is power-cycled and
    the work told once more, with the key "again"; the second loss fails the operation.
    """
    await proofs.prove_controller(task)
    running = await attach_provisioning(task)
    for again in (None, "again"):
        try:
            if running and again is None:
                await _take_over(task)
            else:
                await _boot_agent(task, "agent", again)
            await work(again)
            return
        except Fault as fault:
            if again or not is_lost(fault):
                await agentlogs.keep_after(task, fault)
                raise
            task.op.check_aborted()
        await task.op.commit(
            "the agent was lost: power-cycle and retry", lambda conn: _was_lost(conn, task)
        )


async def _take_over(task: NodeTask) -> None:
    """Go on with the agent of the operation before this one; it proves itself as after a boot."""

    async def begin(_ctx: StepContext) -> None:
        pass

    await task.op.step(
        "take over the running agent",
        begin,
        undo=lambda ctx, _result: _give_up_boot(task, ctx),
    )
    await proofs.prove_machine(task, "running")


def _was_lost(conn: sa.Connection, task: NodeTask) -> None:
    forget_agent(conn, task)
    task.resume(conn)


async def boot_agent_again(task: NodeTask, key: str) -> None:
    """Start the agent anew in the middle of its work, since a step has switched or rebooted the machine."""
    await _boot_agent(task, "agent", key)


async def boot_for_inspection(task: NodeTask) -> Any:
    """Bring the agent up to look around; gives the signal's payload."""
    await proofs.prove_controller(task)
    await attach_provisioning(task)
    return await _boot_agent(task, "inspection data", None)


async def _boot_agent(task: NodeTask, signal: str, again: str | None) -> Any:
    """Boot until the call comes. A boot that does not lead to one is tried once more, power-cycled."""
    boots = [again] if again else [str(number + 1) for number in range(task.deps.timing.boots)]
    for key in boots:
        await _order_agent(task, key, inspect=signal == "inspection data")
        await _start_from_network(task, key, signal)
        try:
            payload = await _wait_for_call(task, signal, key, last=key == boots[-1])
        except Fault as fault:
            # Told again after a restart, a recorded fault has its kind, but not its class.
            if fault.kind is not Kind.TIMEOUT:
                raise
            judged = await _silence(task, fault, key, last=key == boots[-1])
            if judged is not None:
                raise judged from None
            continue
        if signal == "agent":
            await proofs.prove_machine(task, key)
        return payload
    raise AssertionError("boots is at least one")


async def _wait_for_call(task: NodeTask, signal: str, key: str, *, last: bool) -> Any:
    """The call's payload. What was learned only says when one more boot is worth it: the last has all its time."""
    inspecting = signal != "agent"
    timing = task.deps.timing
    default = timing.inspection if inspecting else timing.agent
    name = f"wait for {signal}"
    known = await task.op.usual(name)
    rule = Rule(default, least=min(default, 60))
    deadline = rule.limit(known)
    return await task.op.wait(
        signal,
        key=key,
        deadline=max(deadline, default) if last else deadline,
        expected=known.p50 if known else None,
        rule=rule,
        what="the inspection data" if inspecting else "the agent's first call",
        commit_waiting=task.shifting("wait"),
        commit_resumed=task.shifting("resume"),
        latest=True,
    )


async def attach_provisioning(task: NodeTask) -> bool:
    """An address for the machine while the agent runs; whether an agent runs there already, with its own."""

    async def attach(ctx: StepContext) -> bool:
        return await fast_track.still_there(task, ctx)

    def plug(conn: sa.Connection, running: bool) -> None:
        node = store.get_node(conn, task.uuid)
        if running or not _binds(task, node):
            return
        ports = store.ports_of(conn, task.uuid)
        booting = [port for port in ports if port.pxe_enabled]
        if not booting:
            raise Fault(
                f"Node {node.label} has no port with pxe_enabled, so it cannot be given an address.",
                kind=Kind.FAILED,
                next_action="Create a port with the MAC address of the card that boots.",
            )
        for port in booting:
            vif = task.deps.networks.plug_provisioning(conn, node, port, port.vif)
            store.set_port_internal(conn, port.uuid, {"provisioning_vif_port_id": vif})

    # The failing end of every workflow takes it away again, in the transaction that ends the operation.
    return bool(await task.op.step("attach the provisioning network", attach, commit=plug))


def unplug_provisioning(task: NodeTask, conn: sa.Connection) -> None:
    """Inside a transaction: take the machine's provisioning addresses away."""
    node = store.find_node(conn, task.uuid)
    if node is not None:
        unplug(task.deps, conn, node)


def _binds(task: NodeTask, node: Node) -> bool:
    return task.deps.registry.network(node.driver, node.interfaces.get("network")).binds_ports


async def _order_agent(task: NodeTask, key: str, inspect: bool) -> None:
    """From now on the machine gets the agent when it asks what to boot."""

    def order(conn: sa.Connection) -> None:
        node = store.get_node(conn, task.uuid)
        set_intent(conn, task, booting.agent_intent(conn, task, node, inspect))
        forget_agent(conn, task)
        facts: dict[str, Any] = {"agent_ordered_at": task.deps.now(), "boot_seen_at": None}
        if task.op.kind == "service":
            # Whoever gives the service up has to start the instance again.
            facts["instance_stopped"] = True
        store.update_node(conn, task.uuid, **facts)

    await task.op.commit("order the agent", order, key=key)


def forget_agent(conn: sa.Connection, task: NodeTask) -> None:
    """Inside a transaction: whatever agent the machine had is gone."""
    agent_store.forget_agent(conn, task.uuid)


def set_intent(conn: sa.Connection, task: NodeTask, intent: Intent | None) -> None:
    """What the machine gets when it asks what to boot; in force at once."""
    value = None if intent is None else msgspec.to_builtins(intent)
    store.update_node(conn, task.uuid, boot_intent=value)


async def _start_from_network(task: NodeTask, key: str, signal: str) -> None:
    """Off, boot device, on: a clean start whatever the machine was doing."""
    node = await task.node()
    await set_power(task, "power off", PowerTarget.OFF, key=key)
    # The machine is off. An agent of an earlier boot may have called until now: it does not count.
    await task.op.commit("forget earlier agents", lambda conn: _ready(conn, task), key=key)
    await task.op.forget(signal, name="forget earlier calls", key=key)

    async def choose(_ctx: StepContext) -> None:
        fresh, access = await task.reach("management")
        await booting.prepare(task.deps, fresh, access, boot_mode(fresh))

    # A new medium is made in seconds, and a controller may look at all of it.
    more = 120 if booting.boot_of(task.deps, node).needs_iso else 0
    await task.controller_step("boot from the network next", choose, key=key, more=more)
    # Where switching off is not allowed the machine is still on, running whatever it ran.
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.ON
    await set_power(
        task, "power on", target, key=key, undo=lambda ctx, _result: _give_up_boot(task, ctx)
    )


def _ready(conn: sa.Connection, task: NodeTask) -> None:
    forget_agent(conn, task)
    booting.ready_medium(conn, task.deps, store.get_node(conn, task.uuid))


async def _give_up_boot(task: NodeTask, ctx: StepContext) -> None:
    """After a failure the machine is not left running an agent that nobody talks to."""
    await task.deps.db.write(lambda conn: set_intent(conn, task, None))
    node, access = await task.reach("power", "management")
    if await proofs.is_other_controller(task, node, access):
        ctx.log("the controller is not this node's: its machine is left as it is")
        return
    others = proofs.in_use(await proofs.strangers(task))
    if others:
        names = ", ".join(other.label for other in others[:5])
        ctx.log(f"the machine may be that of {names}, which is in use: it is left as it is")
        return
    state = await _switch_off(task, ctx)
    await task.deps.db.write(lambda conn: store.update_node(conn, task.uuid, power_state=state))
    await booting.take_out(task)


async def _silence(task: NodeTask, fault: Fault, key: str, *, last: bool) -> Fault | None:
    """Why no agent called, as far as anybody saw; None when one more boot is worth it."""
    node = await task.node()
    seen = node.boot_seen_at
    others = [] if seen else await proofs.strangers(task)

    def note(conn: sa.Connection) -> list[str]:
        task.shift(conn, "resume")
        return [other.uuid for other in (others if last else proofs.in_use(others))]

    # Judged once and recorded: run again, the workflow must take the same way.
    suspects = await task.op.commit("no call came: look why", note, key=key)
    if suspects:
        nodes = await task.deps.db.read(
            lambda conn: [store.find_node(conn, uuid) for uuid in suspects]
        )
        return proofs.exchanged(node.label, [n for n in nodes if n is not None])
    if not last:
        return None
    by_media = booting.boot_of(task.deps, node).needs_iso
    hint = (
        f"Its boot medium was fetched at {seen}, but the agent never called: look at its console log."
        if seen and by_media
        else f"Nobody fetched its boot medium: check that the controller reaches {task.deps.urls.base}."
        if by_media
        else f"The machine asked for its boot script at {seen} and got the agent, but the agent never "
        "called: look at its console log."
        if seen
        else "The machine never asked for its boot script: it did not start from the network, or DHCP "
        "did not reach it. Check that the port's MAC is that of the card that boots, the cabling, and "
        "that the controller's address belongs to this machine."
    )
    return Fault(fault.text, kind=fault.kind, next_action=hint, details=dict(fault.details))


async def _switch_off(task: NodeTask, ctx: StepContext) -> str:
    """Off; where that is not allowed the machine is restarted, into whatever it boots by itself."""
    node = await task.node()
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.OFF
    return await switch(task, ctx, target)


async def leave_agent(task: NodeTask) -> None:
    """The agent's work is done: it goes, and its network with it, unless it is kept for the next operation."""
    if await stop_agent(task, keep=True) == fast_track.KEPT:
        return
    await task.op.commit(
        "detach the provisioning network", lambda conn: unplug_provisioning(task, conn)
    )


async def stop_agent(task: NodeTask, *, restart: bool = True, keep: bool = False) -> str:
    """Let the agent switch the machine off, or switch it off ourselves.

    restart: where switching off is not allowed, restart instead; False: the caller starts it anew.
    keep: the agent may be left running where the operator wants that (`kept.KEPT` is given then).
    """

    await agentlogs.keep_at_end(task)

    async def stop(ctx: StepContext) -> str:
        if keep and await fast_track.stays(task, ctx):
            return fast_track.KEPT
        if (await task.node()).disable_power_off:
            state = await _leave_on(task, ctx, restart)
        else:
            state = await _stopped(task, ctx)
        await booting.take_out(task)
        return state

    return await task.controller_step(
        "stop the agent",
        stop,
        more=120,
        commit=lambda conn, state: _gone(conn, task, state),
    )


async def _stopped(task: NodeTask, ctx: StepContext) -> str:
    _, access = await task.reach("power", "deploy")
    by_controller = access.flag("deploy_forces_oob_reboot")
    try:
        agent = await task.agent()
        await agent.sync()
        if not by_controller:
            await agent.power_off()
    except Fault as fault:
        ctx.log(f"the agent cannot be asked ({fault.text}); the controller switches off")
        by_controller = True
    return await (switch(task, ctx, PowerTarget.OFF) if by_controller else _until_off(task, ctx))


async def _leave_on(task: NodeTask, ctx: StepContext, restart: bool) -> str:
    """The machine must not be off: the agent ends with the restart that follows."""
    ctx.log("power off is disabled for this node")
    try:
        await (await task.agent()).sync()
    except Fault as fault:
        ctx.log(f"the agent cannot be asked: {fault.text}")
    if not restart:
        return str(PowerState.ON)
    # Before the machine asks again what to boot.
    await task.deps.db.write(lambda conn: set_intent(conn, task, None))
    return await switch(task, ctx, PowerTarget.REBOOT)


def _gone(conn: sa.Connection, task: NodeTask, state: str) -> None:
    if state == fast_track.KEPT:
        store.update_node(conn, task.uuid, power_state=str(PowerState.ON))
        return
    store.update_node(conn, task.uuid, power_state=state)
    agent_store.forget_agent(conn, task.uuid)
    set_intent(conn, task, None)


async def _until_off(task: NodeTask, ctx: StepContext) -> str:
    """Wait a while for the machine to go off by itself; then the controller does it."""
    node, access = await task.reach("power")
    power = task.deps.registry.power(node.driver, node.interfaces.get("power"))
    patience = min(60.0, task.deps.timing.power / 3)
    while patience > 0:
        with contextlib.suppress(Fault):
            if await power.get(access) is PowerState.OFF:
                return str(PowerState.OFF)
        await ctx.clock.sleep(task.deps.timing.poll)
        patience -= task.deps.timing.poll
    ctx.log("the agent did not switch the machine off in time; the controller does")
    return await switch(task, ctx, PowerTarget.OFF)


# -- the instance --------------------------------------------------------------------------------


async def start_instance(task: NodeTask) -> None:
    """Switch on; a machine that must not be off runs something else still, and is restarted."""
    node = await task.node()
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.ON
    await set_power(task, "start the instance", target)


async def prepare_disk_boot(task: NodeTask) -> None:
    """From now on the machine boots its disk, whichever way it starts."""

    async def choose(_ctx: StepContext) -> None:
        node, access = await task.reach("management")
        boot = task.deps.registry.boot(node.driver, node.interfaces.get("boot"))
        await boot.clean_up(access)
        await boot.prepare_disk(access, boot_mode(node))

    await task.controller_step(
        "boot from disk from now on",
        choose,
        commit=lambda conn, _result: set_intent(conn, task, DISK),
    )


async def attach_instance_networks(task: NodeTask) -> None:
    """The provisioning addresses go, the instance's come, in one transaction."""

    def exchange(conn: sa.Connection) -> list[str]:
        node = store.get_node(conn, task.uuid)
        unplug(task.deps, conn, node)
        plugged: list[str] = []
        if _binds(task, node):
            for port in port_store.carriers(conn, task.uuid):
                if port.vif:
                    task.deps.networks.plug_vif(conn, node, port, port.vif)
                    plugged.append(port.vif)
        return plugged

    await task.op.commit("attach the instance's networks", exchange)
