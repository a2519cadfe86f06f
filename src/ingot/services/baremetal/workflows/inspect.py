"""Inspect: find out what a machine is made of, and write it into the node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.types import Identity
from ingot.drivers.shape import child, items, strings, text
from ingot.kit.db.database import from_json, to_json
from ingot.kit.faults import Failed, Fault
from ingot.kit.ids import normal_mac
from ingot.services.baremetal import store
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.inspection.hooks import ABOUT_INTERFACES
from ingot.services.baremetal.inspection.hooks.storage import disk_serials
from ingot.services.baremetal.inspection.rules.actions import ApiCall
from ingot.services.baremetal.inspection.rules.api_call import make_api_call
from ingot.services.baremetal.inspection.rules.engine import Applied
from ingot.services.baremetal.orders import InspectOrder
from ingot.services.baremetal.workflows import agentlogs, proofs, steps
from ingot.services.baremetal.workflows.caching import FIRMWARE, read_settings
from ingot.services.baremetal.workflows.inspection_results import write_findings
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext

_Calls = list[tuple[str, ApiCall]]


async def inspect(task: NodeTask, _order: InspectOrder) -> None:
    """manageable -> inspecting -> inspect wait -> inspecting -> manageable."""
    node = await task.node()
    way = task.deps.registry.inspect(node.driver, node.interfaces.get("inspect"))
    before: list[str] = await task.op.commit("note the start", lambda conn: _started(task, conn))
    if way.uses_agent:
        calls = await _by_agent(task, before or [])
    else:
        calls = await _out_of_band(task, before or [])
    await _call(task, calls)


async def _by_agent(task: NodeTask, before: list[str]) -> str | None:
    await _first_ports(task)
    await steps.boot_for_inspection(task)
    try:
        calls = await task.op.commit("write the findings", lambda conn: _write(task, conn, before))
    except Fault as fault:
        await agentlogs.keep_after(task, fault)
        raise
    # Before the machine goes off: some controllers tell of network cards only while it is on.
    await read_settings(task, FIRMWARE)
    await steps.leave_agent(task)
    return calls


async def _out_of_band(task: NodeTask, before: list[str]) -> str | None:
    async def ask(ctx: StepContext) -> dict[str, Any]:
        fresh, access = await task.reach("management")
        hand = task.deps.registry.inspect(fresh.driver, fresh.interfaces.get("inspect"))
        data = dict(await hand.inspect(access))
        for line in strings(data, "untold"):
            ctx.log(f"not told: {line}")
        if not _has_cards(data):
            ctx.log("the controller tells no network cards: no ports are made")
        return data

    data = await task.op.step("read the inventory", ask, deadline=300, min_deadline=300)
    calls = await task.op.commit(
        "write the findings", lambda conn: _write_told(task, conn, data, before)
    )
    await read_settings(task, FIRMWARE)
    return calls


def inspected(task: NodeTask, conn: sa.Connection) -> None:
    """In the commit that ends the operation."""
    task.finish(conn, "done", "Inspected.", inspection_finished_at=task.deps.now())


def _started(task: NodeTask, conn: sa.Connection) -> list[str]:
    """Gives the disks that the inspection before this one found: what the agent posts replaces them."""
    store.update_node(
        conn, task.uuid, inspection_started_at=task.deps.now(), inspection_finished_at=None
    )
    stored = inventories.get_inventory(conn, task.uuid)
    return list(disk_serials(stored[0])) if stored else []


async def _first_ports(task: NodeTask) -> None:
    """A node without ports gets those that its controller tells: without one it cannot boot the agent."""
    if not task.deps.inspection.create_ports or await task.ports():
        return

    async def ask(ctx: StepContext) -> list[str]:
        node, access = await task.reach("management")
        found = await proofs.controller_identity(task, node, access)
        macs = list(found.macs) if found else []
        ctx.log(f"the controller tells {', '.join(macs)}" if macs else "it tells no cards")
        return macs

    def add(conn: sa.Connection, macs: list[str]) -> None:
        for mac in macs:
            if store.port_by_address(conn, mac) is None:
                store.add_port(
                    conn, node_uuid=task.uuid, address=mac, now=task.deps.now(), pxe_enabled=True
                )

    await task.controller_step("ask the controller for network cards", ask, commit=add)


def _write(task: NodeTask, conn: sa.Connection, before: list[str]) -> str | None:
    """The data lies in the inventory's row since the agent posted it (it may be megabytes)."""
    stored = inventories.get_inventory(conn, task.uuid)
    if stored is None:
        raise Failed("The inspection data is gone.", next_action="Inspect again.")
    data = {**stored[1], "inventory": stored[0]}
    controller = proofs.known_identity(store.get_node(conn, task.uuid)) or Identity()
    hooks = task.deps.inspection.hooks
    return _sealed(task, write_findings(task, conn, data, controller, hooks, before))


def _write_told(
    task: NodeTask, conn: sa.Connection, data: dict[str, Any], before: list[str]
) -> str | None:
    hooks: Iterable[str] = task.deps.inspection.out_of_band_hooks
    if not _has_cards(data):
        # Many controllers tell no cards; what else they tell is as true.
        hooks = [name for name in hooks if name not in ABOUT_INTERFACES]
    return _sealed(task, write_findings(task, conn, data, Identity(), hooks, before))


def _has_cards(data: dict[str, Any]) -> bool:
    """Whether there is a card that may become a port."""
    cards = items(child(data, "inventory"), "interfaces")
    return any(
        normal_mac(text(one, "mac_address")) and one.get("enabled") is not False for one in cards
    )


# -- calls that rules want made ---------------------------------------------------------------------


def _sealed(task: NodeTask, applied: list[Applied]) -> str | None:
    """The calls as a record of the step may keep them: headers may be secret."""
    calls = [(one.rule.label, call) for one in applied for call in one.calls]
    return task.deps.vault.seal(to_json(msgspec.to_builtins(calls))) if calls else None


async def _call(task: NodeTask, sealed: str | None) -> None:
    if sealed is None:
        return
    calls = msgspec.convert(from_json(task.deps.vault.open(sealed)), _Calls)
    egress = task.deps.sources.egress
    for number, (rule, call) in enumerate(calls, 1):

        async def ask(ctx: StepContext, rule: str = rule, call: ApiCall = call) -> None:
            try:
                ctx.log(f"rule {rule}: it answered {await make_api_call(call, ctx.clock, egress)}")
            except Failed as fault:
                raise Failed(f"Inspection rule {rule} failed: {fault.text}") from None

        longest = (call.timeout + call.backoff * 2**call.retries) * (call.retries + 1)
        limit = longest + 60
        await task.op.step(
            "call as a rule wants", ask, key=str(number), deadline=limit, min_deadline=limit
        )
