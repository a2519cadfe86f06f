"""Queries of consoles: which are on, who opened them, and who cares for their nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import to_json
from ingot.services.baremetal.tables import node_consoles, nodes
from ingot.services.baremetal.types import Node

#: In the place of a console's port, where there is none to open.
NO_PORT = 0


def is_on(conn: sa.Connection, node_uuid: str) -> bool:
    query = sa.select(node_consoles.c.node_uuid).where(node_consoles.c.node_uuid == node_uuid)
    return conn.execute(query).first() is not None


def add(conn: sa.Connection, node: Node, opened_by: Any, now: str) -> None:
    """The console of a node is wanted. opened_by: who asked for it (`rights.PortOwner`)."""
    conn.execute(
        node_consoles.insert().values(
            node_uuid=node.uuid,
            created_at=now,
            opened_by=to_json(opened_by),
            owner=node.owner,
            lessee=node.lessee,
        )
    )


def remove(conn: sa.Connection, node_uuid: str) -> None:
    conn.execute(sa.delete(node_consoles).where(node_consoles.c.node_uuid == node_uuid))
    _show(conn, node_uuid, False)


def remove_opened_at(conn: sa.Connection, node_uuid: str, since: str) -> bool:
    """Remove the console that was opened at this time, not a later one; whether it was there."""
    mine = (node_consoles.c.node_uuid == node_uuid) & (node_consoles.c.created_at == since)
    if not conn.execute(sa.delete(node_consoles).where(mine)).rowcount:
        return False
    _show(conn, node_uuid, False)
    return True


def set_open(conn: sa.Connection, node_uuid: str, port: int, url: str) -> None:
    """The console can be reached now, unless it was closed meanwhile. port: NO_PORT for a websocket."""
    changed = conn.execute(
        sa.update(node_consoles)
        .where(node_consoles.c.node_uuid == node_uuid)
        .values(port=port, url=url)
    )
    if changed.rowcount:
        _show(conn, node_uuid, True)


def _show(conn: sa.Connection, node_uuid: str, on: bool) -> None:
    conn.execute(sa.update(nodes).where(nodes.c.uuid == node_uuid).values(console_enabled=on))


def find(conn: sa.Connection, node_uuid: str) -> sa.Row[Any] | None:
    """The row of a node's console."""
    query = sa.select(node_consoles).where(node_consoles.c.node_uuid == node_uuid)
    return conn.execute(query).first()


def tcp_ports(conn: sa.Connection) -> dict[str, int | None]:
    """By node the consoles that are reached by TCP, with the port of last time."""
    rows = conn.execute(sa.select(node_consoles.c.node_uuid, node_consoles.c.port))
    return {row.node_uuid: row.port for row in rows if row.port != NO_PORT}


def websocket_since(conn: sa.Connection, node_uuid: str) -> str | None:
    """Since when a node's console is on that is reached by websocket."""
    query = sa.select(node_consoles.c.created_at).where(
        node_consoles.c.node_uuid == node_uuid, node_consoles.c.port == NO_PORT
    )
    return conn.execute(query).scalar()


def owner_and_lessee(conn: sa.Connection, node_uuid: str) -> tuple[str | None, str | None] | None:
    """Whose a node is; None when there is no such node."""
    query = sa.select(nodes.c.owner, nodes.c.lessee).where(nodes.c.uuid == node_uuid)
    row = conn.execute(query).first()
    return None if row is None else (row.owner, row.lessee)


def opened(conn: sa.Connection, node_uuids: Collection[str]) -> Sequence[Any]:
    """Consoles of some nodes: who opened them, whose the node was then (was_owner, was_lessee) and is now."""
    query = (
        sa.select(
            node_consoles.c.node_uuid,
            node_consoles.c.created_at,
            node_consoles.c.opened_by,
            node_consoles.c.owner.label("was_owner"),
            node_consoles.c.lessee.label("was_lessee"),
            nodes.c.owner,
            nodes.c.lessee,
        )
        .join(nodes, nodes.c.uuid == node_consoles.c.node_uuid)
        .where(node_consoles.c.node_uuid.in_(node_uuids))
    )
    return conn.execute(query).all()


def conductor_groups(conn: sa.Connection, node_uuids: Collection[str]) -> Mapping[str, str]:
    """By node its conductor group; those that are gone are missing."""
    query = sa.select(nodes.c.uuid, nodes.c.conductor_group).where(nodes.c.uuid.in_(node_uuids))
    return {row.uuid: row.conductor_group for row in conn.execute(query)}
