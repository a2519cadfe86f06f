"""Steps that several stories share: proofs, power, bringing the agent up and sending it away.

Each is safe to repeat: it asks the world first, and does only what is still missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.bootplan import DISK, Intent
from ingot.baremetal.inspection import facts_of
from ingot.baremetal.types import Node
from ingot.baremetal.workflows.room import Case
from ingot.drivers.identity import compare
from ingot.drivers.types import BootMode, Identity, PowerState, PowerTarget
from ingot.kit.db import to_json
from ingot.kit.faults import Fault, Kind, TimedOut
from ingot.workflow import StepContext

# -- proofs --------------------------------------------------------------------------------------


async def prove_controller(case: Case, name: str = "prove the controller") -> None:
    """The controller must be the one that was met when the node was taken into care.

    Addresses are moved and cables are exchanged; switching off or erasing the wrong machine cannot be
    taken back.
    """

    async def prove(ctx: StepContext) -> dict[str, Any]:
        node, access = await case.reach("management")
        found = await _identity(case, node, access)
        known = known_identity(node)
        if known is None or found is None:
            ctx.log("the controller does not say who it is" if found is None else "first meeting")
            return {"identity": msgspec.to_builtins(found) if found else None}
        judged = compare(known, found)
        for line in judged.evidence:
            ctx.log(line)
        if judged.verdict == "different":
            raise wrong_machine(
                f"the controller of {node.label} is not the one that was enrolled: "
                + "; ".join(judged.evidence)
            )
        return {"identity": msgspec.to_builtins(found)}

    def remember(conn: sa.Connection, result: dict[str, Any]) -> None:
        node = store.get_node(conn, case.uuid)
        if result["identity"] and known_identity(node) is None:
            store.merge_internal_info(conn, case.uuid, {"bmc_identity": result["identity"]})

    await case.op.step(name, prove, deadline=case.room.timing.power, commit=remember)


async def prove_machine(case: Case, key: str | None = None) -> None:
    """The agent that called must run on the machine that the controller controls."""

    async def prove(ctx: StepContext) -> list[str]:
        node = await case.node()
        agent = await case.agent()
        # The agent answers this in every mode; it is what its inspection would send.
        info = await agent.run("poll.get_hardware_info")
        inside = facts_of({"inventory": info}).identity()
        known = known_identity(node) or Identity()
        judged = compare(known, inside)
        evidence = list(judged.evidence)
        owned = {port.address for port in await case.ports()}
        seen = set(inside.macs)
        if owned and seen and not owned & seen:
            evidence.append(f"none of the node's ports ({', '.join(sorted(owned))}) is in it")
        elif owned & seen:
            evidence.append("port in it: " + ", ".join(sorted(owned & seen)))
        for line in evidence:
            ctx.log(line)
        if judged.verdict == "different" or (owned and seen and not owned & seen):
            raise wrong_machine(
                f"the agent that called for {node.label} runs on another machine: "
                + "; ".join(evidence)
            )
        return evidence

    await case.op.step("prove the machine", prove, key=key, deadline=120)


def wrong_machine(text: str) -> Fault:
    return Fault(
        f"Wrong machine: {text}. Nothing was written or erased.",
        kind=Kind.WRONG_MACHINE,
        next_action="Compare the controller's address in driver_info with the rack; when the hardware was "
        "exchanged on purpose, remove the old identity by moving the node to manageable again.",
    )


def known_identity(node: Node) -> Identity | None:
    told = node.driver_internal_info.get("bmc_identity")
    return msgspec.convert(told, Identity) if told else None


async def _identity(case: Case, node: Node, access: Any) -> Identity | None:
    try:
        management = case.room.registry.management(node.driver, node.interfaces.get("management"))
        return await management.identity(access)
    except Fault as fault:
        if fault.kind is Kind.UNSUPPORTED:
            return None
        raise


# -- power ---------------------------------------------------------------------------------------


async def set_power(
    case: Case,
    name: str,
    target: PowerTarget,
    *,
    key: str | None = None,
    timeout: float | None = None,
    undo: Callable[[StepContext, Any], Awaitable[None]] | None = None,
) -> None:
    """Reach a power state; nothing is issued when the machine is there already."""

    async def change(ctx: StepContext) -> str:
        return await switch(case, ctx, target, timeout)

    await case.op.step(
        name,
        change,
        key=key,
        deadline=case.room.timing.power + (timeout or 0),
        commit=lambda conn, state: store.update_node(
            conn, case.uuid, power_state=state, target_power_state=None
        ),
        undo=undo,
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
    outcome = await power.set(access, target, timeout)
    if outcome.issued:
        ctx.log(f"{outcome.before} -> {outcome.after} by {', '.join(outcome.commands)}")
    else:
        ctx.log(f"already {outcome.after}")
    return str(outcome.after)


# -- the agent -----------------------------------------------------------------------------------


async def boot_agent(case: Case, *, inspect: bool = False) -> Any:
    """Bring the agent up on the machine and prove that it is the right one.

    Gives the signal's payload (inspection data when `inspect`). A boot that does not lead to a call is
    tried once more with a power cycle before the operation fails.
    """
    op, timing = case.op, case.room.timing
    await prove_controller(case)
    await attach_provisioning(case)
    signal = "inspection data" if inspect else "agent"
    for boot in range(1, timing.boots + 1):
        key = str(boot)
        await _order_agent(case, key, inspect)
        await _start_from_network(case, key)
        try:
            payload = await op.wait(
                signal,
                key=key,
                deadline=timing.inspection if inspect else timing.agent,
                what="the inspection data" if inspect else "the agent's first call",
                commit_waiting=case.shifting("wait"),
                commit_resumed=case.shifting("resume"),
                latest=True,
            )
        except Fault as fault:
            # Told again after a restart, a recorded fault has its kind, but not its class.
            if fault.kind is not Kind.TIMEOUT:
                raise
            if boot == timing.boots:
                raise await _silence(case, fault) from None
            await op.commit("no call came: power-cycle and retry", case.shifting("resume"), key=key)
            continue
        if not inspect:
            await prove_machine(case, key)
        return payload
    raise AssertionError("boots is at least one")


async def attach_provisioning(case: Case) -> None:
    """An address for the machine while the agent runs."""

    async def attach(_ctx: StepContext) -> int:
        return 0

    def plug(conn: sa.Connection, _result: Any) -> None:
        node = store.get_node(conn, case.uuid)
        if not _binds(case, node):
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

    async def undo(_ctx: StepContext, _result: Any) -> None:
        await case.room.db.write(lambda conn: unplug_provisioning(case, conn))

    await case.op.step("attach the provisioning network", attach, commit=plug, undo=undo)


def unplug_provisioning(case: Case, conn: sa.Connection) -> None:
    """Inside a transaction: take the machine's provisioning addresses away."""
    node = store.find_node(conn, case.uuid)
    if node is None or not _binds(case, node):
        return
    case.room.networks.unplug_provisioning(conn, node)
    for port in store.ports_of(conn, case.uuid):
        store.set_port_internal(conn, port.uuid, {"provisioning_vif_port_id": None})


def _binds(case: Case, node: Node) -> bool:
    return case.room.registry.network(node.driver, node.interfaces.get("network")).binds_ports


async def _order_agent(case: Case, key: str, inspect: bool) -> None:
    intent = Intent(boot="agent", inspect=inspect, request_id=case.op.request_id or "")

    def order(conn: sa.Connection) -> None:
        node = store.get_node(conn, case.uuid)
        extra = str(node.driver_info.get("kernel_append_params") or "")
        chosen = Intent(
            boot="agent", inspect=intent.inspect, request_id=intent.request_id, extra=extra
        )
        set_intent(conn, case, chosen)
        store.forget_agent(conn, case.room.vault, case.uuid)

    await case.op.commit("order the agent", order, key=key)


def set_intent(conn: sa.Connection, case: Case, intent: Intent | None) -> None:
    """What the machine gets when it asks what to boot; in force at once."""
    value = None if intent is None else msgspec.to_builtins(intent)
    store.update_node(conn, case.uuid, boot_intent=value)


async def _start_from_network(case: Case, key: str) -> None:
    """Off, boot device, on: a clean start whatever the machine was doing."""

    async def off_again(ctx: StepContext, _result: Any) -> None:
        await _give_up_boot(case, ctx)

    await set_power(case, "power off", PowerTarget.OFF, key=key)

    async def choose(_ctx: StepContext) -> None:
        node, access = await case.reach("management")
        boot = case.room.registry.boot(node.driver, node.interfaces.get("boot"))
        await boot.prepare_ramdisk(access, boot_mode(node))

    await case.op.step(
        "boot from the network next", choose, key=key, deadline=case.room.timing.power
    )
    await set_power(case, "power on", PowerTarget.ON, key=key, undo=off_again)


async def _give_up_boot(case: Case, ctx: StepContext) -> None:
    """After a failure the machine is not left running an agent that nobody talks to."""
    await case.room.db.write(lambda conn: set_intent(conn, case, None))
    node, access = await case.reach("power", "management")
    found = await _identity(case, node, access)
    known = known_identity(node)
    if known and found and compare(known, found).verdict == "different":
        ctx.log("the controller is not this node's: its machine is left as it is")
        return
    state = await switch(case, ctx, PowerTarget.OFF)
    await case.room.db.write(lambda conn: store.update_node(conn, case.uuid, power_state=state))


async def _silence(case: Case, fault: Fault) -> Fault:
    """Why no agent called, as far as anybody saw."""
    seen = await case.room.db.read(
        lambda conn: store.get_node(conn, case.uuid).driver_internal_info.get("boot_seen")
    )
    hint = (
        f"The machine asked for its boot script at {seen} and got the agent, but the agent never "
        "called: look at its console log."
        if seen
        else "The machine never asked for its boot script: it did not start from the network, or DHCP "
        "did not reach it. Check that the port's MAC is that of the card that boots, the cabling, and "
        "that the controller's address belongs to this machine."
    )
    return TimedOut(fault.text, next_action=hint, details=dict(fault.details))


def boot_mode(node: Node) -> BootMode | None:
    """The firmware mode that is asked for: instance_info, then properties, then what was found."""
    for source in (node.instance_info, node.properties):
        for part in str(source.get("capabilities") or "").split(","):
            name, _, value = part.partition(":")
            if name.strip() == "boot_mode" and value.strip() in ("bios", "uefi"):
                return BootMode(value.strip())
    return BootMode(node.boot_mode) if node.boot_mode in ("bios", "uefi") else None


async def stop_agent(case: Case) -> None:
    """Let the agent switch the machine off, or switch it off ourselves."""

    async def stop(ctx: StepContext) -> str:
        try:
            agent = await case.agent()
            await agent.sync()
            await agent.power_off()
        except Fault as fault:
            ctx.log(f"the agent cannot be asked ({fault.text}); the controller switches off")
            return await switch(case, ctx, PowerTarget.OFF)
        return await _until_off(case, ctx)

    await case.op.step(
        "stop the agent",
        stop,
        deadline=case.room.timing.power + 120,
        commit=lambda conn, state: _gone(conn, case, state),
    )


def _gone(conn: sa.Connection, case: Case, state: str) -> None:
    store.update_node(conn, case.uuid, power_state=state)
    store.forget_agent(conn, case.room.vault, case.uuid)
    set_intent(conn, case, None)


async def _until_off(case: Case, ctx: StepContext) -> str:
    """Wait a while for the machine to go off by itself; then the controller does it."""
    node, access = await case.reach("power")
    power = case.room.registry.power(node.driver, node.interfaces.get("power"))
    patience = 60.0
    while patience > 0:
        with contextlib.suppress(Fault):
            if await power.get(access) is PowerState.OFF:
                return str(PowerState.OFF)
        await ctx.clock.sleep(case.room.timing.poll)
        patience -= case.room.timing.poll
    ctx.log("the agent did not switch the machine off in time; the controller does")
    return await switch(case, ctx, PowerTarget.OFF)


# -- the instance --------------------------------------------------------------------------------


async def prepare_disk_boot(case: Case) -> None:
    """From now on the machine boots its disk, whichever way it starts."""

    async def choose(_ctx: StepContext) -> None:
        node, access = await case.reach("management")
        boot = case.room.registry.boot(node.driver, node.interfaces.get("boot"))
        await boot.clean_up(access)
        await boot.prepare_disk(access, boot_mode(node))

    await case.op.step(
        "boot from disk from now on",
        choose,
        deadline=case.room.timing.power,
        commit=lambda conn, _result: set_intent(conn, case, DISK),
    )


async def attach_instance_networks(case: Case) -> None:
    """The provisioning addresses go, the instance's come, in one transaction."""

    def exchange(conn: sa.Connection) -> list[str]:
        unplug_provisioning(case, conn)
        node = store.get_node(conn, case.uuid)
        plugged: list[str] = []
        if _binds(case, node):
            for port in store.ports_of(conn, case.uuid):
                if port.vif:
                    case.room.networks.plug_vif(conn, node, port, port.vif)
                    plugged.append(port.vif)
        return plugged

    await case.op.commit("attach the instance's networks", exchange)


def step_column(conn: sa.Connection, case: Case, column: str, step: dict[str, Any] | None) -> None:
    """Show the step in the node's clean_step or deploy_step, as the API does."""
    conn.execute(
        sa.text(f"UPDATE nodes SET {column} = :step WHERE uuid = :uuid"),
        {"step": to_json(step or {}), "uuid": case.uuid},
    )
