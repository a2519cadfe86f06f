"""Ids that clients chose are stored in lower case with dashes, whatever their spelling was"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

#: Ids, and what names them. Not those of nodes: much hangs on these, and they are found as they were spelt.
_COLUMNS = {
    "allocations": ("uuid",),
    "deploy_templates": ("uuid",),
    "runbooks": ("uuid",),
    "inspection_rules": ("uuid",),
    "baremetal_ports": ("uuid", "portgroup_uuid"),
    "portgroups": ("uuid",),
    "chassis": ("uuid",),
    "volume_connectors": ("uuid",),
    "volume_targets": ("uuid",),
    "nodes": ("chassis_uuid", "allocation_uuid", "instance_uuid", "server_uuid"),
}
_UNIQUE = ("uuid", "instance_uuid")


def upgrade() -> None:
    conn = op.get_bind()
    for table, columns in _COLUMNS.items():
        for column in columns:
            odd = f"length({column}) = 32 OR {column} <> lower({column})"
            found = conn.execute(sa.text(f"SELECT DISTINCT {column} FROM {table} WHERE {odd}"))
            for (text,) in found.all():
                _respell(conn, table, column, text)


def _respell(conn: sa.Connection, table: str, column: str, text: str) -> None:
    try:
        values = {"old": text, "new": str(uuid.UUID(text))}
    except ValueError:
        return
    free = ""
    if column in _UNIQUE:  # two that were told apart by their spelling stay two
        free = f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE {column} = :new)"
    change = f"UPDATE {table} SET {column} = :new WHERE {column} = :old{free}"
    conn.execute(sa.text(change), values)
