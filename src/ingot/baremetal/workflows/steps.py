"""Steps that several stories share: power, bringing the agent up and sending it away, the instance.

Each is safe to repeat: it asks the world first, and does only what is still missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.baremetal import part_store, store
from ingot.baremetal.bootplan import DISK, Intent
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import agentlogs, booting, kept, proofs
from ingot.baremetal.workflows.patience import is_lost
from ingot.baremetal.workflows.room import Case, unplug
from ingot.drivers.types import BootMode, PowerState, PowerTarget
from ingot.kit.faults import Fault, Kind
from ingot.workflow import StepContext
from ingot.workflow.timing import Rule

# -- power ---------------------------------------------------------------------------------------


async def set_power(
    case: Case,
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
        return await switch(case, ctx, target, timeout)

    def keep(conn: sa.Connection, state: str) -> None:
        shown = {} if last else {"power_state": state, "target_power_state": None}
        # Whoever asks what to boot soon after this was started by us.
        started = {"started_at": case.room.now()} if target.final is PowerState.ON else {}
        if started:
            store.merge_internal_info(conn, case.uuid, started, **shown)
        elif shown:
            store.update_node(conn, case.uuid, **shown)

    return await case.controller_step(
        name, change, key=key, more=timeout or 0, commit=keep, undo=undo
    )


async def switch(
    case: Case, ctx: StepContext, target: PowerTarget, timeout: float | None = None
) -> str:
    """Inside a step: the driver's power call, told in the timeline. Gives the state reached."""
    node, access = await case.reach("power")
    if target is PowerTarget.OFF and node.disable_power_off:
        ctx.log("power off is disabled for this node; left on")
        return str(PowerState.ON)
    power = case.room.registry.power(node.driver, node.interfaces.get("power"))
    # A third of the step's time, so that a refusal of the controller is told as such.
    outcome = await power.set(access, target, timeout or case.room.timing.power / 3)
    if outcome.issued:
        ctx.log(f"{outcome.before} -> {outcome.after} by {', '.join(outcome.commands)}")
    else:
        ctx.log(f"already {outcome.after}")
    return str(outcome.after)


# -- the agent -----------------------------------------------------------------------------------

Work = Callable[[str | None], Awaitable[None]]


async def with_agent(case: Case, work: Work) -> None:
    """Bring the agent up, prove it, and let it work.

    When it is lost in the middle (power, network, a restart of its own) the machine is power-cycled and
    the work told once more, with the key "again"; the second loss fails the operation.
    """
    await proofs.prove_controller(case)
    running = await attach_provisioning(case)
    for again in (None, "again"):
        try:
            if running and again is None:
                await _take_over(case)
            else:
                await _boot_agent(case, "agent", again)
            await work(again)
            return
        except Fault as fault:
            if again or not is_lost(fault):
                await agentlogs.keep_after(case, fault)
                raise
            case.op.check_aborted()
        await case.op.commit(
            "the agent was lost: power-cycle and retry", lambda conn: _was_lost(conn, case)
        )


async def _take_over(case: Case) -> None:
    """Go on with the agent of the operation before this one; it proves itself as after a boot."""

    async def begin(_ctx: StepContext) -> None:
        pass

    await case.op.step(
        "take over the running agent",
        begin,
        undo=lambda ctx, _result: _give_up_boot(case, ctx),
    )
    await proofs.prove_machine(case, "running")


def _was_lost(conn: sa.Connection, case: Case) -> None:
    forget_agent(conn, case)
    case.resume(conn)


async def boot_agent_again(case: Case, key: str) -> None:
    """Start the agent anew in the middle of its work, since a step has switched or rebooted the machine."""
    await _boot_agent(case, "agent", key)


async def boot_for_inspection(case: Case) -> Any:
    """Bring the agent up to look around; gives the signal's payload."""
    await proofs.prove_controller(case)
    await attach_provisioning(case)
    return await _boot_agent(case, "inspection data", None)


async def _boot_agent(case: Case, signal: str, again: str | None) -> Any:
    """Boot until the call comes. A boot that does not lead to one is tried once more, power-cycled."""
    boots = [again] if again else [str(number + 1) for number in range(case.room.timing.boots)]
    for key in boots:
        await _order_agent(case, key, inspect=signal == "inspection data")
        await _start_from_network(case, key, signal)
        try:
            payload = await _wait_for_call(case, signal, key, last=key == boots[-1])
        except Fault as fault:
            # Told again after a restart, a recorded fault has its kind, but not its class.
            if fault.kind is not Kind.TIMEOUT:
                raise
            judged = await _silence(case, fault, key, last=key == boots[-1])
            if judged is not None:
                raise judged from None
            continue
        if signal == "agent":
            await proofs.prove_machine(case, key)
        return payload
    raise AssertionError("boots is at least one")


async def _wait_for_call(case: Case, signal: str, key: str, *, last: bool) -> Any:
    """The call's payload. What was learned only says when one more boot is worth it: the last has all its time."""
    inspecting = signal != "agent"
    timing = case.room.timing
    default = timing.inspection if inspecting else timing.agent
    name = f"wait for {signal}"
    known = await case.op.usual(name)
    rule = Rule(default, least=min(default, 60))
    deadline = rule.limit(known)
    return await case.op.wait(
        signal,
        key=key,
        deadline=max(deadline, default) if last else deadline,
        expected=known.p50 if known else None,
        rule=rule,
        what="the inspection data" if inspecting else "the agent's first call",
        commit_waiting=case.shifting("wait"),
        commit_resumed=case.shifting("resume"),
        latest=True,
    )


async def attach_provisioning(case: Case) -> bool:
    """An address for the machine while the agent runs; whether an agent runs there already, with its own."""

    async def attach(ctx: StepContext) -> bool:
        return await kept.still_there(case, ctx)

    def plug(conn: sa.Connection, running: bool) -> None:
        node = store.get_node(conn, case.uuid)
        if running or not _binds(case, node):
            return
        ports = store.ports_of(conn, case.uuid)
        booting = [port for port in ports if port.pxe_enabled]
        if not booting:
            raise Fault(
                f"Node {node.label} has no port with pxe_enabled, so it cannot be given an address.",
                kind=Kind.FAILED,
                next_action="Create a port with the MAC address of the card that boots.",
            )
        for port in booting:
            vif = case.room.networks.plug_provisioning(conn, node, port, port.vif)
            store.set_port_internal(conn, port.uuid, {"provisioning_vif_port_id": vif})

    # The bad end of every story takes it away again, in the transaction that ends the operation.
    return bool(await case.op.step("attach the provisioning network", attach, commit=plug))


def unplug_provisioning(case: Case, conn: sa.Connection) -> None:
    """Inside a transaction: take the machine's provisioning addresses away."""
    node = store.find_node(conn, case.uuid)
    if node is not None:
        unplug(case.room, conn, node)


def _binds(case: Case, node: Node) -> bool:
    return case.room.registry.network(node.driver, node.interfaces.get("network")).binds_ports


async def _order_agent(case: Case, key: str, inspect: bool) -> None:
    """From now on the machine gets the agent when it asks what to boot."""

    def order(conn: sa.Connection) -> None:
        node = store.get_node(conn, case.uuid)
        set_intent(conn, case, booting.agent_intent(conn, case, node, inspect))
        forget_agent(conn, case)
        facts: dict[str, Any] = {"agent_ordered_at": case.room.now(), "boot_seen": None}
        if case.op.kind == "service":
            # Whoever gives the service up has to start the instance again.
            facts["instance_stopped"] = True
        store.merge_internal_info(conn, case.uuid, facts)

    await case.op.commit("order the agent", order, key=key)


def forget_agent(conn: sa.Connection, case: Case) -> None:
    """Inside a transaction: whatever agent the machine had is gone."""
    store.forget_agent(conn, case.uuid)


def set_intent(conn: sa.Connection, case: Case, intent: Intent | None) -> None:
    """What the machine gets when it asks what to boot; in force at once."""
    value = None if intent is None else msgspec.to_builtins(intent)
    store.update_node(conn, case.uuid, boot_intent=value)


async def _start_from_network(case: Case, key: str, signal: str) -> None:
    """Off, boot device, on: a clean start whatever the machine was doing."""
    node = await case.node()
    await set_power(case, "power off", PowerTarget.OFF, key=key)
    # The machine is off. An agent of an earlier boot may have called until now: it does not count.
    await case.op.commit("forget earlier agents", lambda conn: _ready(conn, case), key=key)
    await case.op.forget(signal, name="forget earlier calls", key=key)

    async def choose(_ctx: StepContext) -> None:
        fresh, access = await case.reach("management")
        await booting.prepare(case.room, fresh, access, boot_mode(fresh))

    # A new medium is made in seconds, and a controller may look at all of it.
    more = 120 if booting.boot_of(case.room, node).needs_iso else 0
    await case.controller_step("boot from the network next", choose, key=key, more=more)
    # Where switching off is not allowed the machine is still on, running whatever it ran.
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.ON
    await set_power(
        case, "power on", target, key=key, undo=lambda ctx, _result: _give_up_boot(case, ctx)
    )


def _ready(conn: sa.Connection, case: Case) -> None:
    forget_agent(conn, case)
    booting.ready_medium(conn, case.room, store.get_node(conn, case.uuid))


async def _give_up_boot(case: Case, ctx: StepContext) -> None:
    """After a failure the machine is not left running an agent that nobody talks to."""
    await case.room.db.write(lambda conn: set_intent(conn, case, None))
    node, access = await case.reach("power", "management")
    if await proofs.is_other_controller(case, node, access):
        ctx.log("the controller is not this node's: its machine is left as it is")
        return
    others = proofs.in_use(await proofs.strangers(case))
    if others:
        names = ", ".join(other.label for other in others[:5])
        ctx.log(f"the machine may be that of {names}, which is in use: it is left as it is")
        return
    state = await _switch_off(case, ctx)
    await case.room.db.write(lambda conn: store.update_node(conn, case.uuid, power_state=state))
    await booting.take_out(case)


async def _silence(case: Case, fault: Fault, key: str, *, last: bool) -> Fault | None:
    """Why no agent called, as far as anybody saw; None when one more boot is worth it."""
    node = await case.node()
    seen = node.driver_internal_info.get("boot_seen")
    others = [] if seen else await proofs.strangers(case)

    def note(conn: sa.Connection) -> list[str]:
        case.shift(conn, "resume")
        return [other.uuid for other in (others if last else proofs.in_use(others))]

    # Judged once and recorded: told again, the story must take the same way.
    suspects = await case.op.commit("no call came: look why", note, key=key)
    if suspects:
        nodes = await case.room.db.read(
            lambda conn: [store.find_node(conn, uuid) for uuid in suspects]
        )
        return proofs.exchanged(node.label, [n for n in nodes if n is not None])
    if not last:
        return None
    by_media = booting.boot_of(case.room, node).needs_iso
    hint = (
        f"Its boot medium was fetched at {seen}, but the agent never called: look at its console log."
        if seen and by_media
        else f"Nobody fetched its boot medium: check that the controller reaches {case.room.urls.base}."
        if by_media
        else f"The machine asked for its boot script at {seen} and got the agent, but the agent never "
        "called: look at its console log."
        if seen
        else "The machine never asked for its boot script: it did not start from the network, or DHCP "
        "did not reach it. Check that the port's MAC is that of the card that boots, the cabling, and "
        "that the controller's address belongs to this machine."
    )
    return Fault(fault.text, kind=fault.kind, next_action=hint, details=dict(fault.details))


def boot_mode(node: Node) -> BootMode | None:
    """The firmware mode that is asked for: instance_info, then properties, then what was found."""
    for source in (node.instance_info, node.properties):
        for part in str(source.get("capabilities") or "").split(","):
            name, _, value = part.partition(":")
            if name.strip() == "boot_mode" and value.strip() in ("bios", "uefi"):
                return BootMode(value.strip())
    return BootMode(node.boot_mode) if node.boot_mode in ("bios", "uefi") else None


async def _switch_off(case: Case, ctx: StepContext) -> str:
    """Off; where that is not allowed the machine is restarted, into whatever it boots by itself."""
    node = await case.node()
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.OFF
    return await switch(case, ctx, target)


async def leave_agent(case: Case) -> None:
    """The agent's work is done: it goes, and its network with it, unless it is kept for the next operation."""
    if await stop_agent(case, keep=True) == kept.KEPT:
        return
    await case.op.commit(
        "detach the provisioning network", lambda conn: unplug_provisioning(case, conn)
    )


async def stop_agent(case: Case, *, restart: bool = True, keep: bool = False) -> str:
    """Let the agent switch the machine off, or switch it off ourselves.

    restart: where switching off is not allowed, restart instead; False: the caller starts it anew.
    keep: the agent may be left running where the operator wants that (`kept.KEPT` is given then).
    """

    await agentlogs.keep_at_end(case)

    async def stop(ctx: StepContext) -> str:
        if keep and await kept.stays(case, ctx):
            return kept.KEPT
        if (await case.node()).disable_power_off:
            state = await _leave_on(case, ctx, restart)
        else:
            state = await _stopped(case, ctx)
        await booting.take_out(case)
        return state

    return await case.controller_step(
        "stop the agent",
        stop,
        more=120,
        commit=lambda conn, state: _gone(conn, case, state),
    )


async def _stopped(case: Case, ctx: StepContext) -> str:
    _, access = await case.reach("power", "deploy")
    by_controller = access.flag("deploy_forces_oob_reboot")
    try:
        agent = await case.agent()
        await agent.sync()
        if not by_controller:
            await agent.power_off()
    except Fault as fault:
        ctx.log(f"the agent cannot be asked ({fault.text}); the controller switches off")
        by_controller = True
    return await (switch(case, ctx, PowerTarget.OFF) if by_controller else _until_off(case, ctx))


async def _leave_on(case: Case, ctx: StepContext, restart: bool) -> str:
    """The machine must not be off: the agent ends with the restart that follows."""
    ctx.log("power off is disabled for this node")
    try:
        await (await case.agent()).sync()
    except Fault as fault:
        ctx.log(f"the agent cannot be asked: {fault.text}")
    if not restart:
        return str(PowerState.ON)
    # Before the machine asks again what to boot.
    await case.room.db.write(lambda conn: set_intent(conn, case, None))
    return await switch(case, ctx, PowerTarget.REBOOT)


def _gone(conn: sa.Connection, case: Case, state: str) -> None:
    if state == kept.KEPT:
        store.update_node(conn, case.uuid, power_state=str(PowerState.ON))
        return
    store.update_node(conn, case.uuid, power_state=state)
    store.forget_agent(conn, case.uuid)
    set_intent(conn, case, None)


async def _until_off(case: Case, ctx: StepContext) -> str:
    """Wait a while for the machine to go off by itself; then the controller does it."""
    node, access = await case.reach("power")
    power = case.room.registry.power(node.driver, node.interfaces.get("power"))
    patience = min(60.0, case.room.timing.power / 3)
    while patience > 0:
        with contextlib.suppress(Fault):
            if await power.get(access) is PowerState.OFF:
                return str(PowerState.OFF)
        await ctx.clock.sleep(case.room.timing.poll)
        patience -= case.room.timing.poll
    ctx.log("the agent did not switch the machine off in time; the controller does")
    return await switch(case, ctx, PowerTarget.OFF)


# -- the instance --------------------------------------------------------------------------------


async def start_instance(case: Case) -> None:
    """Switch on; a machine that must not be off runs something else still, and is restarted."""
    node = await case.node()
    target = PowerTarget.REBOOT if node.disable_power_off else PowerTarget.ON
    await set_power(case, "start the instance", target)


async def prepare_disk_boot(case: Case) -> None:
    """From now on the machine boots its disk, whichever way it starts."""

    async def choose(_ctx: StepContext) -> None:
        node, access = await case.reach("management")
        boot = case.room.registry.boot(node.driver, node.interfaces.get("boot"))
        await boot.clean_up(access)
        await boot.prepare_disk(access, boot_mode(node))

    await case.controller_step(
        "boot from disk from now on",
        choose,
        commit=lambda conn, _result: set_intent(conn, case, DISK),
    )


async def attach_instance_networks(case: Case) -> None:
    """The provisioning addresses go, the instance's come, in one transaction."""

    def exchange(conn: sa.Connection) -> list[str]:
        node = store.get_node(conn, case.uuid)
        unplug(case.room, conn, node)
        plugged: list[str] = []
        if _binds(case, node):
            for port in part_store.carriers(conn, case.uuid):
                if port.vif:
                    case.room.networks.plug_vif(conn, node, port, port.vif)
                    plugged.append(port.vif)
        return plugged

    await case.op.commit("attach the instance's networks", exchange)
