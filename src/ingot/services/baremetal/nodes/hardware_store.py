"""Queries of what machines told of their settings and firmware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import BulkStatement, PreparedStatement
from ingot.services.baremetal.tables import node_bios, node_firmware


class HardwareTable:
    """Rows of a node, told apart by one more column: the second of the primary key."""

    def __init__(self, table: sa.Table) -> None:
        self.table = table
        self.key = table.primary_key.columns.values()[1]
        of_node = table.c.node_uuid == sa.bindparam("ident")
        self._all = PreparedStatement(sa.select(table).where(of_node).order_by(self.key))
        self._new = BulkStatement.insert(
            table, *(c.name for c in table.c if c.name != "updated_at")
        )

    def rows(self, conn: sa.Connection, uuid: str) -> list[dict[str, Any]]:
        return self._all.mappings(conn, {"ident": uuid})

    def replace(
        self,
        conn: sa.Connection,
        uuid: str,
        known: Mapping[str, Mapping[str, Any]],
        told: Mapping[str, Mapping[str, Any]],
        now: str,
    ) -> None:
        """Make a node's rows what was told; rows that are so already are left alone."""
        table, key = self.table, self.key
        head = {"node_uuid": uuid, "created_at": now}
        self._new.run(conn, [{**head, **row} for name, row in told.items() if name not in known])
        for name, row in told.items():
            old = known.get(name)
            if old is not None and any(old[column] != value for column, value in row.items()):
                conn.execute(
                    sa.update(table)
                    .where(table.c.node_uuid == uuid, key == name)
                    .values(**row, updated_at=now)
                )
        if gone := set(known) - set(told):
            conn.execute(sa.delete(table).where(table.c.node_uuid == uuid, key.in_(sorted(gone))))


BIOS, FIRMWARE = HardwareTable(node_bios), HardwareTable(node_firmware)
