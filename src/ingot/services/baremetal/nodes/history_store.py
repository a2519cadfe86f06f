"""Reads a node's history for the API."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Version
from ingot.services.baremetal.nodes.node_fields import HISTORY
from ingot.services.baremetal.paging_store import paged
from ingot.services.baremetal.tables import node_history


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
