"""What DHCP must look at again: the SQL of its generations. Functions of a connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import BulkStatement, PreparedStatement
from ingot.services.network import quota_store, tables

_ONE_MORE = (
    "INSERT INTO network_generations (id, generation) VALUES ('dhcp', 1) ON CONFLICT (id) "
    "DO UPDATE SET generation = network_generations.generation + 1 RETURNING generation"
)
_NEXT_GENERATION = PreparedStatement(sa.text(_ONE_MORE))
#: The same with the note of what changed; SQLite has no changes in WITH.
_NOTE_COUNTED = (
    "INSERT INTO network_dhcp_changes (port_id, generation, changed_at) "
    "SELECT :port_id, generation, :changed_at FROM counted ON CONFLICT (port_id) "
    "DO UPDATE SET generation = excluded.generation, changed_at = excluded.changed_at "
    "RETURNING generation"
)
_COUNT_AND_NOTE = PreparedStatement(sa.text(f"WITH counted AS ({_ONE_MORE}) {_NOTE_COUNTED}"))
_COUNT_FIRST = PreparedStatement(
    sa.text(
        f"WITH used AS ({quota_store.COUNTING} RETURNING 1), "
        "counted AS (INSERT INTO network_generations (id, generation) SELECT 'dhcp', 1 FROM used "
        "ON CONFLICT (id) DO UPDATE SET generation = network_generations.generation + 1 "
        f"RETURNING generation) {_NOTE_COUNTED}"
    )
)
_GENERATION = PreparedStatement(sa.select(tables.generations.c.generation))
_NOTE = BulkStatement.insert(
    tables.dhcp_changes, "port_id", "generation", "changed_at", replacing=("port_id",)
)
_CHANGES = PreparedStatement(
    sa.select(tables.dhcp_changes.c.port_id, tables.dhcp_changes.c.generation)
    .where(tables.dhcp_changes.c.generation > sa.bindparam("since"))
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def generation(conn: sa.Connection) -> int:
    return int(_GENERATION.scalar(conn, {}) or 0)


def count_and_note(
    conn: sa.Connection, port_id: str, now: str, project_id: str, more: Mapping[str, int]
) -> int:
    """As `quota_store.count` and then `note_change`: on PostgreSQL one statement, so that the rows are locked shortly."""
    if conn.dialect.name == "sqlite":
        quota_store.count(conn, project_id, **more)
        return note_change(conn, port_id, now)
    row = {"port_id": port_id, "changed_at": now, "project_id": project_id}
    return int(_COUNT_FIRST.scalar(conn, {**row, **quota_store.NOTHING, **more}))


def note_change(conn: sa.Connection, port_id: str, now: str) -> int:
    """DHCP must look at this port again ("": at everything); the generation of that.

    One row counts all changes and is locked from here until the transaction ends, so this comes last.
    """
    row: dict[str, Any] = {"port_id": port_id, "changed_at": now}
    if conn.dialect.name != "sqlite":
        return int(_COUNT_AND_NOTE.scalar(conn, row))
    row["generation"] = int(_NEXT_GENERATION.scalar(conn, {}))
    _NOTE.run(conn, [row])
    return row["generation"]


def changes(conn: sa.Connection, since: int, limit: int) -> list[tuple[str, int]]:
    """Ports that changed after a generation, with the generation of each one's newest change."""
    return [(row[0], row[1]) for row in _CHANGES.rows(conn, {"since": since, "most": limit})]


def forget_changes(conn: sa.Connection, before: str) -> None:
    """Those before a time: whoever has not seen them reads the whole plan."""
    table = tables.dhcp_changes
    conn.execute(table.delete().where(table.c.changed_at < before))
