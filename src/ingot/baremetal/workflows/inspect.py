"""Inspect: find out what a machine is made of, and write it into the node."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.inspection import Findings, findings, merge_capabilities
from ingot.baremetal.workflows import proofs, steps
from ingot.baremetal.workflows.orders import InspectOrder
from ingot.baremetal.workflows.room import Case
from ingot.drivers.identity import compare
from ingot.drivers.types import Identity
from ingot.kit.faults import Failed
from ingot.workflow import StepContext


async def inspect(case: Case, _order: InspectOrder) -> None:
    """manageable -> inspecting -> inspect wait -> inspecting -> manageable."""
    node = await case.node()
    way = case.room.registry.inspect(node.driver, node.interfaces.get("inspect"))
    await case.op.commit("note the start", lambda conn: _started(case, conn))
    if not way.uses_agent:

        async def ask(_ctx: StepContext) -> dict[str, Any]:
            fresh, access = await case.reach("management")
            hand = case.room.registry.inspect(fresh.driver, fresh.interfaces.get("inspect"))
            return dict(await hand.inspect(access))

        data = await case.op.step("read the inventory", ask, deadline=300)
        await case.op.commit("write the findings", lambda conn: _write_told(case, conn, data))
        return
    await steps.boot_for_inspection(case)
    await case.op.commit("write the findings", lambda conn: _write(case, conn))
    await steps.stop_agent(case)
    await case.op.commit(
        "detach the provisioning network", lambda conn: steps.unplug_provisioning(case, conn)
    )


def inspected(case: Case, conn: sa.Connection) -> None:
    """In the commit that ends the operation."""
    store.update_node(conn, case.uuid, inspection_finished_at=case.room.now())
    case.note(conn, "Inspected.")
    case.finish(conn, "done")


def _started(case: Case, conn: sa.Connection) -> None:
    store.update_node(
        conn, case.uuid, inspection_started_at=case.room.now(), inspection_finished_at=None
    )


def _write(case: Case, conn: sa.Connection) -> None:
    """The data lies in the inventory's row since the agent posted it (it may be megabytes)."""
    stored = store.get_inventory(conn, case.uuid)
    if stored is None:
        raise Failed("The inspection data is gone.", next_action="Inspect again.")
    controller = proofs.known_identity(store.get_node(conn, case.uuid)) or Identity()
    _apply(case, conn, findings({**stored[1], "inventory": stored[0]}), controller)


def _write_told(case: Case, conn: sa.Connection, data: dict[str, Any]) -> None:
    if data.get("inventory", {}).get("interfaces"):
        _apply(case, conn, findings(data), Identity())
    else:
        store.save_inventory(conn, case.uuid, case.room.now(), data.get("inventory") or {}, data)


def _apply(case: Case, conn: sa.Connection, found: Findings, controller: Identity) -> None:
    judged = compare(controller, found.identity)
    if judged.verdict == "different":
        raise proofs.wrong_machine("; ".join(judged.evidence))
    node = store.get_node(conn, case.uuid)
    store.save_inventory(conn, case.uuid, case.room.now(), found.inventory, found.plugin_data)
    properties = {**node.properties, **found.properties}
    values: dict[str, Any] = {}
    if found.boot_mode:
        properties["capabilities"] = merge_capabilities(
            properties.get("capabilities"), {"boot_mode": found.boot_mode}
        )
        values["boot_mode"] = found.boot_mode
    store.update_node(conn, case.uuid, properties=properties, **values)
    _write_ports(case, conn, found)


def _write_ports(case: Case, conn: sa.Connection, found: Findings) -> None:
    """New cards become ports; the one that booted is marked; nothing is ever removed."""
    for nic in found.nics:
        known = store.port_by_address(conn, nic.mac)
        if known is not None and known.node_uuid != case.uuid:
            raise Failed(
                f"The card {nic.mac} belongs to another node ({known.node_uuid}).",
                next_action="Remove the port from the other node, or check which machine this is.",
            )
        if known is None and nic.booted:
            store.add_port(
                conn,
                node_uuid=case.uuid,
                address=nic.mac,
                now=case.room.now(),
                pxe_enabled=True,
                extra={"interface": nic.name},
            )
