"""Is it the right machine? The proofs that stand before everything that cannot be taken back.

Addresses are moved, cables are exchanged and controllers are replaced, and nobody tells us. So the
controller is compared with the one that was enrolled, and the agent that calls with both. A controller that
claims to be one machine and commands another shows only by what happens: another machine starts without
anybody having asked. Such starts are written down when machines ask what to boot (`ramdisk_api`), and
looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.identity import compare
from ingot.drivers.machine.types import Identity
from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.inspection.facts import Facts, facts_of
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.derived import controller_host
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows.agent_retry import patiently
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext

#: States in which somebody uses the machine: it is not ours to switch off.
_IN_USE = frozenset({states.ACTIVE, states.RESCUE, states.RESCUEWAIT, states.RESCUING})


# -- the controller ------------------------------------------------------------------------------


async def prove_controller(task: NodeTask, name: str = "prove the controller") -> None:
    """The controller must be the one that was met when the node was taken into care."""

    async def prove(ctx: StepContext) -> dict[str, Any]:
        node, access = await task.reach("management")
        found = await controller_identity(task, node, access)
        known = known_identity(node)
        if known is None or found is None:
            ctx.log("the controller does not say who it is" if found is None else "first meeting")
            return {"identity": msgspec.to_builtins(found) if found else None, "new": True}
        judged = compare(known, found)
        for line in judged.evidence:
            ctx.log(line)
        if judged.verdict == "different":
            owner = await _owner(task, (found.uuid, found.serial), found.macs)
            raise wrong_machine(
                f"the controller of {node.label} is not the one that was enrolled"
                + (f", but that of node {owner.label}: " if owner else ": ")
                + "; ".join(_as_met(judged.evidence))
            )
        return {"identity": msgspec.to_builtins(found), "new": False}

    def remember(conn: sa.Connection, result: dict[str, Any]) -> None:
        if result["new"] and result["identity"]:
            store.remember_controller(conn, task.uuid, result["identity"])

    await task.controller_step(name, prove, commit=remember)


async def is_other_controller(task: NodeTask, node: Node, access: Any) -> bool:
    """Whether the controller says that it is not this node's."""
    found, known = await controller_identity(task, node, access), known_identity(node)
    return bool(known and found and compare(known, found).verdict == "different")


async def controller_identity(task: NodeTask, node: Node, access: Any) -> Identity | None:
    """What the controller says of itself; None when it says nothing."""
    try:
        management = task.deps.registry.management(node.driver, node.interfaces.get("management"))
        return await management.identity(access)
    except Fault as fault:
        if fault.kind is Kind.UNSUPPORTED:
            return None
        raise


def known_identity(node: Node) -> Identity | None:
    return msgspec.convert(node.bmc_identity, Identity) if node.bmc_identity else None


# -- the agent -----------------------------------------------------------------------------------


async def prove_machine(task: NodeTask, key: str | None = None) -> None:
    """The agent that called must run on the machine that the controller controls."""

    async def prove(ctx: StepContext) -> list[str]:
        # The agent answers this in every mode; it is what its inspection would send.
        async def ask() -> dict[str, Any]:
            return dict(await (await task.agent()).run("poll.get_hardware_info"))

        info = await patiently(task, ctx, ask)
        return await judge(task, ctx, facts_of({"inventory": info}))

    await task.agent_step("prove the machine", prove, key=key)


async def judge(task: NodeTask, ctx: StepContext, facts: Facts) -> list[str]:
    """Compare what the agent saw from inside with what is known of the node; gives the evidence."""
    node = await task.node()
    inside = facts.identity()
    judged = compare(known_identity(node) or Identity(), inside)
    evidence = list(judged.evidence)
    owned = {port.address for port in await task.ports()}
    seen = set(inside.macs)
    strange = bool(owned and seen and not owned & seen)
    if strange:
        evidence.append(f"none of the node's ports ({', '.join(sorted(owned))}) is in it")
    elif owned & seen:
        evidence.append("port in it: " + ", ".join(sorted(owned & seen)))
    for line in evidence:
        ctx.log(line)
    if judged.verdict == "different" or strange:
        owner = await _owner(task, (inside.serial,), inside.macs)
        where = f"the machine of node {owner.label}" if owner else "another machine"
        raise wrong_machine(
            f"the agent that called for {node.label} runs on {where}: {'; '.join(evidence)}"
        )
    await _same_controller(task, node, facts)
    return evidence


async def _same_controller(task: NodeTask, node: Node, facts: Facts) -> None:
    """The machine may know its own controller's address. When that is another node's, cables are crossed."""
    inside = facts.bmc_addresses()
    own = controller_host(node)
    if not inside or own is None or own in inside:
        return

    def query(conn: sa.Connection) -> list[Node]:
        found = store.nodes_mentioning(conn, "driver_info", inside, but=node.uuid)
        return [other for other in found if controller_host(other) in inside]

    others = await task.deps.db.read(query)
    if others:
        raise wrong_machine(
            f"the machine of {node.label} hangs on the controller {', '.join(inside)}, which is "
            f"enrolled for node {others[0].label}, while {node.label} has {own}: nodes "
            f"{node.label} and {others[0].label} may be exchanged"
        )


# -- machines that start unasked ---------------------------------------------------------------------


async def strangers(task: NodeTask) -> list[Node]:
    """Nodes that asked what to boot without having been started by us, since this one was started."""

    def query(conn: sa.Connection) -> list[Node]:
        since = store.get_node(conn, task.uuid).agent_ordered_at
        return store.nodes_started_unasked(conn, since, but=task.uuid) if since else []

    return await task.deps.db.read(query)


def in_use(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.provision_state in _IN_USE]


def exchanged(label: str, others: Sequence[Node]) -> Fault:
    """The fault of a node whose controller seems to start another machine."""
    told = ", ".join(f"{node.label} ({node.unasked_boot_mac})" for node in others[:5])
    return wrong_machine(
        f"the machine of {label} never asked what to boot after it was switched on, but "
        f"{told} did, which nobody had started: nodes {label} and {others[0].label} may be exchanged"
    )


def wrong_machine(text: str) -> Fault:
    return Fault(
        f"Wrong machine: {text}. Nothing was written or erased.",
        kind=Kind.WRONG_MACHINE,
        next_action="Compare the controller's address in driver_info with the rack. When hardware was "
        "exchanged on purpose, delete the node and enrol it again.",
    )


def _as_met(evidence: Sequence[str]) -> list[str]:
    """`compare` speaks of controller and host; here both are the controller, then and now."""
    return [
        line.replace("controller says", "enrolled was").replace("host says", "now it says")
        for line in evidence
    ]


async def _owner(task: NodeTask, texts: Sequence[str], macs: Sequence[str]) -> Node | None:
    """The other node whose machine this is, by its ports or by what its controller once said."""

    def query(conn: sa.Connection) -> Node | None:
        by_port = store.nodes_by_addresses(conn, list(macs)) if macs else ()
        for uuid in by_port:
            if uuid != task.uuid:
                return store.find_node(conn, uuid)
        told = [text for text in texts if len(text) > 5]
        if not told:
            return None
        found = store.nodes_mentioning(conn, "bmc_identity", told, but=task.uuid)
        return found[0] if found else None

    return await task.deps.db.read(query)
