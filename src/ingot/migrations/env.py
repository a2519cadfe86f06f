"""Alembic's environment: it always runs on a connection that `migrate` gives it."""

from __future__ import annotations

from alembic import context

from ingot.kit.db.database import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=False,
    compare_type=True,
)
context.run_migrations()
