"""All SQL of verbs that wait: at most one a node, taken up when the node's present operation has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement, from_json, to_json
from ingot.services.baremetal.tables import node_followups

_OF_NODE = node_followups.c.node_uuid == sa.bindparam("ident")
_VERB = PreparedStatement(sa.select(node_followups.c.verb).where(_OF_NODE))
_FORGET = PreparedStatement(sa.delete(node_followups).where(_OF_NODE))
_TAKE = PreparedStatement(
    sa.delete(node_followups)
    .where(_OF_NODE)
    .returning(node_followups.c.verb, node_followups.c.extras, node_followups.c.requested_by)
)
_ADD = PreparedStatement.insert(
    node_followups, "node_uuid", "verb", "extras", "requested_by", "created_at"
)
_WAITING = PreparedStatement(sa.select(node_followups.c.node_uuid))


def verb_of(conn: sa.Connection, node_uuid: str) -> str | None:
    """The verb that waits for the present operation's end, and in whose state the node is already."""
    return _VERB.scalar(conn, {"ident": node_uuid})


def add(
    conn: sa.Connection,
    node_uuid: str,
    verb: str,
    extras: Mapping[str, Any],
    by: Mapping[str, Any],
    now: str,
) -> None:
    """Let a verb wait for the present operation's end, instead of one that waited before."""
    forget(conn, node_uuid)
    row = {"node_uuid": node_uuid, "verb": verb, "created_at": now}
    row |= {"extras": to_json(dict(extras)), "requested_by": to_json(dict(by))}
    _ADD.change(conn, row)


def take(conn: sa.Connection, node_uuid: str) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
    """The waiting verb with its extras and who asked for it; it waits no more. None when there is none."""
    row = _TAKE.first(conn, {"ident": node_uuid})
    return None if row is None else (row[0], from_json(row[1]), from_json(row[2]))


def forget(conn: sa.Connection, node_uuid: str) -> None:
    _FORGET.change(conn, {"ident": node_uuid})


def nodes_waiting(conn: sa.Connection) -> list[str]:
    """uuids of the nodes with a verb that waits."""
    return [uuid for (uuid,) in _WAITING.rows(conn, {})]
