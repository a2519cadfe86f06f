"""What the last inspection of each node found, as it came."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import from_json, to_json
from ingot.services.baremetal.tables import node_inventories


def save_inventory(
    conn: sa.Connection, node_uuid: str, now: str, inventory: Any, plugin_data: Any
) -> None:
    save_inventory_texts(conn, node_uuid, now, to_json(inventory), to_json(plugin_data))


def save_inventory_texts(
    conn: sa.Connection, node_uuid: str, now: str, inventory: str, plugin_data: str
) -> None:
    """The same with JSON that is written already."""
    conn.execute(sa.delete(node_inventories).where(node_inventories.c.node_uuid == node_uuid))
    conn.execute(
        node_inventories.insert().values(
            node_uuid=node_uuid, created_at=now, inventory=inventory, plugin_data=plugin_data
        )
    )


def inventory_texts(conn: sa.Connection, node_uuid: str) -> tuple[str, str] | None:
    """Inventory and plugin data of the last inspection, as JSON."""
    query = sa.select(node_inventories.c.inventory, node_inventories.c.plugin_data)
    row = conn.execute(query.where(node_inventories.c.node_uuid == node_uuid)).first()
    return None if row is None else (row.inventory, row.plugin_data)


def get_inventory(conn: sa.Connection, node_uuid: str) -> tuple[Any, Any] | None:
    texts = inventory_texts(conn, node_uuid)
    return None if texts is None else (from_json(texts[0]), from_json(texts[1]))
