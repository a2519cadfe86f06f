"""Where a node stands, and the history of how it came there."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Version
from ingot.kit.db.database import BulkStatement, PreparedStatement, when
from ingot.services.baremetal.nodes.node_fields import HISTORY
from ingot.services.baremetal.paging_store import paged
from ingot.services.baremetal.tables import node_followups, node_history, node_secrets, nodes

#: How many entries of history are kept for each node, and some more: they are looked at with every so many-th
#: entry of all nodes.
HISTORY_LIMIT = 300
_FORGET_EACH = 10


@dataclasses.dataclass(frozen=True, slots=True)
class NodeState:
    """Where a node stands now, for who leads it on or writes its history.

    successor: the verb that waits for the present operation's end, and in whose state the node is already.
    secret_steps: whether arguments of the operation's steps are sealed.
    """

    state: str
    target: str | None
    since: str | None
    retired: bool
    successor: str | None
    secret_steps: bool


#: The secret that holds the arguments of an operation's steps.
SECRET_STEPS = "steps"
_PRESENT = PreparedStatement(
    sa.select(
        nodes.c.provision_state,
        nodes.c.target_provision_state,
        nodes.c.provision_updated_at,
        nodes.c.retired,
        sa.select(node_followups.c.verb)
        .where(node_followups.c.node_uuid == nodes.c.uuid)
        .scalar_subquery(),
        sa.select(node_secrets.c.name)
        .where(node_secrets.c.node_uuid == nodes.c.uuid, node_secrets.c.name == SECRET_STEPS)
        .scalar_subquery(),
    ).where(nodes.c.uuid == sa.bindparam("ident"))
)


def node_state(conn: sa.Connection, node_uuid: str) -> NodeState:
    ((state, target, since, retired, follows, steps),) = _PRESENT.rows(conn, {"ident": node_uuid})
    return NodeState(state, target, since, bool(retired), follows, steps is not None)


_ADD_ENTRY = BulkStatement.insert(
    node_history, *(c.name for c in node_history.c if c.name != "id"), returning="id"
)
_OLDEST_KEPT = (
    sa.select(node_history.c.id)
    .where(node_history.c.node_uuid == sa.bindparam("ident"))
    .order_by(node_history.c.id.desc())
    .offset(HISTORY_LIMIT - 1)
    .limit(1)
    .scalar_subquery()
)
_FORGET_ENTRIES = PreparedStatement(
    sa.delete(node_history).where(
        node_history.c.node_uuid == sa.bindparam("ident"), node_history.c.id < _OLDEST_KEPT
    )
)


def add(
    conn: sa.Connection,
    node_uuid: str,
    now: str,
    event: str,
    *,
    severity: str = "INFO",
    event_type: str = "provisioning",
    conductor: str | None = None,
    user: str | None = None,
    project: str | None = None,
    place: NodeState | None = None,
) -> None:
    """One entry of a node's history, with the state it is in; now and then the oldest beyond the limit go.

    place: where the node stands, if this transaction has read it.
    """
    here = place or node_state(conn, node_uuid)
    began, moment = when(here.since), when(now)
    entry = {
        "uuid": ids.new_uuid(),
        "node_uuid": node_uuid,
        "created_at": now,
        "conductor": conductor,
        "event_type": event_type,
        "severity": severity,
        "event": event,
        "user": user,
        "project": project,
        "state": here.state,
        "target_provision_state": here.target,
        "duration_seconds": int((moment - began).total_seconds()) if began and moment else None,
    }
    (number,) = _ADD_ENTRY.numbers(conn, [entry])
    if number % _FORGET_EACH == 0:
        _FORGET_ENTRIES.change(conn, {"ident": node_uuid})


def read_history(
    conn: sa.Connection,
    node_uuid: str,
    page: Page,
    base: str,
    names: Collection[str] | None,
    version: Version,
    only: str | None = None,
) -> list[dict[str, Any]]:
    """Entries of a node's history. names: None for all. Short entries cut long events."""
    own = node_history.c.node_uuid == node_uuid
    query = sa.select(node_history).where(own)
    if only is not None:
        query = query.where(node_history.c.uuid == only)
    else:
        thing = "Node history record"
        query = paged(conn, query, node_history, page, thing, node_history.c.uuid, [own])
    shown = [n for n in HISTORY.names(version) if names is None or n in names]
    made: list[dict[str, Any]] = []
    for row in conn.execute(query).mappings():
        one = {name: row.get(name) for name in shown}
        if names is not None and len(row["event"]) > 255:
            one["event"] = row["event"][:251] + "..."
        path = f"nodes/{node_uuid}/history/{row['uuid']}"
        one["links"] = [{"href": f"{base}/v1/{path}", "rel": "self"}]
        made.append(one)
    return made
