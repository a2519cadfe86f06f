"""Changes of a row of the projects table, which holds projects and domains alike."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.faults import Conflict
from ingot.services.identity import store, tables
from ingot.services.identity.api.common import (
    Row,
)


def update_project_row(conn: sa.Connection, row: Row, values: Row, extra: Row, what: str) -> Row:
    """Write changed fields of a project or domain; the row as it is now. Disabling revokes its tokens for good.

    Conflict where the name or enabled would become null.
    """
    key = row["id"]
    for name in ("name", "enabled"):
        if name in values and values[name] is None:
            raise Conflict(f"The {name} of a {what} cannot be null.")
    if values.get("description", "") is None:
        values = {**values, "description": ""}
    merged = {k: v for k, v in {**row["extra"], **extra}.items() if v is not None}
    store.update(conn, tables.projects, key, {**values, "extra": merged}, what)
    if values.get("enabled") is False and row["enabled"]:
        store.end_tokens_of(conn, tables.projects, key)
        if row["is_domain"]:
            store.end_tokens_of_domain(conn, key)
    else:
        store.touch(conn)
    return store.need(conn, tables.projects, key, what)
