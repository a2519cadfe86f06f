"""Queries of the steps that agents offered when they were asked last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import BulkStatement, PreparedStatement, from_json, to_json
from ingot.services.baremetal.tables import node_steps

_SAVE = BulkStatement.insert(
    node_steps, "node_uuid", "kind", "seen_at", "steps", replacing=("node_uuid", "kind")
)
_OF_NODE = PreparedStatement(
    sa.select(node_steps.c.steps, node_steps.c.seen_at).where(
        node_steps.c.node_uuid == sa.bindparam("ident"), node_steps.c.kind == sa.bindparam("kind")
    )
)


def save(
    conn: sa.Connection, node_uuid: str, kind: str, steps: Sequence[Mapping[str, Any]], now: str
) -> None:
    """Replace what the agent of a node offers for a kind of work."""
    row = {"node_uuid": node_uuid, "kind": kind, "seen_at": now, "steps": to_json(steps)}
    _SAVE.run(conn, [row])


def load(conn: sa.Connection, node_uuid: str, kind: str) -> tuple[list[dict[str, Any]], str] | None:
    """What the agent of a node offers for a kind of work, and when it said so; None when it was never asked."""
    known = _OF_NODE.first(conn, {"ident": node_uuid, "kind": kind})
    return None if known is None else (from_json(known[0]), known[1])
