"""What an inspection found, written into the node: hooks and rules on a draft, and the draft as rows.

Everything is one transaction: inventory, properties, traits, ports, and what the timeline says of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.identity import compare
from ingot.drivers.machine.types import Identity
from ingot.kit.faults import Failed, Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.inspection.draft import (
    PORT_FIELDS,
    Draft,
    PortDraft,
    draft_ports,
)
from ingot.services.baremetal.inspection.facts import Applied, finish, parted
from ingot.services.baremetal.inspection.rules import MAIN
from ingot.services.baremetal.inspection.rules import store as rule_rows
from ingot.services.baremetal.nodes import editing, lock_store
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.workflows import proofs
from ingot.services.baremetal.workflows.node_task import NodeTask


def write_findings(
    task: NodeTask,
    conn: sa.Connection,
    data: dict[str, Any],
    controller: Identity,
    hooks: Iterable[str],
    before: Iterable[str],
) -> list[Applied]:
    """Apply inspection data to the node; the rules that applied.

    controller: who the machine must be. before: serial numbers of the disks that were there.
    """
    facts, inventory, plugin_data = parted(data, task.deps.inspection.bounds)
    judged = compare(controller, facts.identity())
    if judged.verdict == "different":
        raise proofs.wrong_machine("; ".join(judged.evidence))
    draft = _draft(task, conn, inventory, plugin_data, tuple(before))
    known = {port.uuid: dict(port.values) for port in draft.ports}
    rules = rule_rows.rules_of_phase(conn, task.deps.vault, MAIN)
    applied = finish(draft, task.deps.inspection, hooks, rules)
    _write(task, conn, draft)
    _write_ports(task, conn, draft, known)
    _tell(task, conn, applied)
    return applied


def _draft(
    task: NodeTask,
    conn: sa.Connection,
    inventory: dict[str, Any],
    plugin_data: dict[str, Any],
    before: tuple[str, ...],
) -> Draft:
    # Held: what clients change meanwhile waits, and is not written over.
    node = store.hold_node(conn, task.uuid)
    row = node_store.row_of(conn, task.uuid)
    return Draft(
        node=node,
        fields=editing.document(row),
        ports=draft_ports(port_store.rows_of(conn, task.uuid)),
        inventory=inventory,
        plugin_data=plugin_data,
        before=before,
        traits=set(node.traits),
    )


def _write(task: NodeTask, conn: sa.Connection, draft: Draft) -> None:
    now = task.deps.now()
    inventories.save_inventory(conn, task.uuid, now, draft.inventory, draft.plugin_data)
    try:
        editing.rewrite_node(task.deps.ctx, conn, draft.node, draft.fields)
    except Invalid as fault:
        # A rule may have set what does not go together.
        raise Failed(
            f"What the inspection made of the node cannot be: {fault.text}",
            next_action="Look at the inspection rules: openstack baremetal inspection rule list.",
        ) from None
    if draft.traits != set(draft.node.traits):
        stored = lock_store.lock(conn, task.uuid).node.traits
        store.change_traits(conn, task.uuid, stored, draft.traits)
    if draft.boot_mode:
        store.update_node(conn, task.uuid, boot_mode=draft.boot_mode)


def _write_ports(
    task: NodeTask, conn: sa.Connection, draft: Draft, known: dict[str | None, dict[str, Any]]
) -> None:
    kept = {port.uuid for port in draft.ports}
    for uuid in known.keys() - kept:
        port_store.remove(conn, str(uuid))
    for port in draft.ports:
        old = known.get(port.uuid) if port.uuid else None
        if port.values != old:
            _write_port(task, conn, port, old)


def _write_port(
    task: NodeTask, conn: sa.Connection, port: PortDraft, old: dict[str, Any] | None
) -> None:
    other = store.port_by_address(conn, port.address)
    if other is not None and other.node_uuid != task.uuid:
        raise Failed(
            f"The card {port.address} belongs to another node ({other.node_uuid}).",
            next_action="Remove the port from the other node, or check which machine this is.",
        )
    if old is None:
        values = {name: port.values[name] for name in PORT_FIELDS if name != "address"}
        store.add_port(
            conn, node_uuid=task.uuid, address=port.address, now=task.deps.now(), **values
        )
        return
    changed = {name: value for name, value in port.values.items() if value != old[name]}
    port_store.set_columns(conn, str(port.uuid), changed, task.deps.now())


def _tell(task: NodeTask, conn: sa.Connection, applied: list[Applied]) -> None:
    """On the timeline which rule did what; in the history that they were applied."""
    for one in applied:
        did = "; ".join(one.did) or (
            "what it does is hidden" if one.rule.sensitive else "no change"
        )
        events.record(
            conn,
            task.op.subject,
            "note",
            f"Inspection rule {one.rule.label}: {did}"[:2000],
            operation_id=task.op.id,
            data={"rule": one.rule.uuid, "did": list(one.did)},
            project_id=task.op.project_id,
        )
    if applied:
        task.note(conn, "Inspection rules: " + ", ".join(one.rule.label for one in applied))
