"""One numbered line of migrations for both databases (Alembic, `versions/`).

`migrate` brings a database to the newest schema at start; several processes may start at once.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ingot.kit.db import Database

#: Any number; PostgreSQL's advisory lock so that one process migrates.
_LOCK = 0x1A607


def configuration(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def migrate(db: Database) -> None:
    """Upgrade to the newest revision."""
    await db.write(_upgrade)


def _upgrade(conn: sa.Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    command.upgrade(configuration(conn), "head")


async def revisions(db: Database) -> tuple[str | None, str]:
    """The database's revision (None when it has none) and the newest one."""
    newest = ScriptDirectory.from_config(configuration()).get_current_head() or ""
    return await db.read(_current), newest


def _current(conn: sa.Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()
