"""One numbered line of migrations for both databases (Alembic, `versions/`), in two phases.

A revision that only adds (tables, columns that may be empty, indexes) is of the phase "expand": programs of the
release before run on its schema. One that takes away or narrows says `phase = "contract"`, and is run when no
process of the release before is left. So a cluster is upgraded process by process: the first new one expands at
its start, and `ingot db migrate` contracts at the end. Within a release the contracting revisions are the last: whoever
adds one that expands gives these a new number. A lone process on SQLite does both at its start.

Beside Alembic's note of the revision there is one of the phases (`schema_phases`): by it a program tells whether
a schema that is newer than itself has only been expanded.
"""

from __future__ import annotations

import functools
from pathlib import Path

import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.migrations.types import Phase


async def migrate(db: Database, phase: Phase = "all", more: Path | None = None) -> None:
    """Upgrade to the newest revision, or ("expand") as far as older programs can follow.

    An empty database gets everything. A newer schema is left alone when it was only expanded; Fault otherwise.
    Several processes may start at once. more: a folder with revisions that follow ours (tests).
    """
    if more is None and await db.read(_is_newest):
        return
    # Alembic is a tenth of a program's memory at its start, and mostly there is nothing to do for it.
    from ingot.migrations import line

    await db.write(lambda conn: line.upgrade(conn, phase, more))


async def revisions(db: Database, more: Path | None = None) -> tuple[str | None, str]:
    """The database's revision (None when it has none) and the newest one."""
    from ingot.migrations import line

    script = line.script(more)
    return await db.read(line.current), script.get_current_head() or ""


async def left(db: Database, more: Path | None = None) -> list[tuple[str, str]]:
    """Revisions that are still to be run, each with its phase, in order."""
    if more is None and await db.read(_is_newest):
        return []
    from ingot.migrations import line

    script = line.script(more)
    known = line.known(script)
    before = await db.read(line.current)
    if before is not None and before not in known:
        await db.read(lambda conn: line.bear_newer(conn, before, known))
        return []
    return line.pending(script, before)


def known_revisions() -> frozenset[str]:
    """All revisions of this release."""
    files = (Path(__file__).parent / "versions").glob("[0-9]*.py")
    return frozenset(path.name.partition("_")[0] for path in files)


def _is_newest(conn: sa.Connection) -> bool:
    """Whether the database is at our newest revision."""
    tables = sa.inspect(conn).get_table_names()
    if not {"alembic_version", "schema_phases"} <= set(tables):
        return False
    found = conn.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    return found == [_newest()]


@functools.cache
def _newest() -> str:
    """A revision's file begins with its number."""
    return max(known_revisions())
