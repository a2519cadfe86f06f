"""A node whose row is locked first and then read whole: for verbs that decide by the node alone.

Such a verb is right also where it is not serializable: whoever changes the node, or starts work on it, locks the same
row before it looks, and what is read by the next statement is what will be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import PreparedStatement
from ingot.kit.faults import Missing
from ingot.services.baremetal import store
from ingot.services.baremetal.tables import node_followups, nodes
from ingot.services.baremetal.types import Node
from ingot.workflow import live_id


@dataclass(frozen=True, slots=True)
class LockedNode:
    """row: all columns as they are stored. operation, successor: as in `store.Standing`."""

    node: Node
    row: Mapping[str, Any]
    operation: str | None
    successor: str | None


#: A node's uuid or name, or what this transaction has locked and read of it.
Ident = str | LockedNode

_OPERATION, _SUCCESSOR, _TRAITS = "live_operation", "waiting_verb", "all_traits"
_WHOLE = sa.select(
    live_id(sa.literal("node:") + nodes.c.uuid).label(_OPERATION),
    sa.select(node_followups.c.verb)
    .where(node_followups.c.node_uuid == nodes.c.uuid)
    .scalar_subquery()
    .label(_SUCCESSOR),
    store.TRAITS.label(_TRAITS),
    *nodes.c,
)
_BY_UUID, _BY_NAME = (
    PreparedStatement(_WHOLE.where(column == sa.bindparam("ident")))
    for column in (nodes.c.uuid, nodes.c.name)
)


def lock(conn: sa.Connection, ident: Ident) -> LockedNode:
    """The node, locked until the transaction ends; Missing when there is none."""
    if isinstance(ident, LockedNode):
        return ident
    store.hold(conn, ident)
    return read(conn, ident)


def read(conn: sa.Connection, ident: str) -> LockedNode:
    """The node that this transaction has locked; Missing when there is none."""
    query = _BY_UUID if ids.is_uuid(ident) else _BY_NAME
    for text in ids.spellings(ident):
        for row in query.mappings(conn, {"ident": text}):
            operation, successor = row.pop(_OPERATION), row.pop(_SUCCESSOR)
            traits: str | None = row.pop(_TRAITS)
            node = store.node_of(row, tuple(sorted(traits.split(","))) if traits else ())
            return LockedNode(node, row, operation, successor)
    raise Missing(f"Node {ident} could not be found.")
