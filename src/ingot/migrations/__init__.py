"""One numbered line of migrations for both databases (Alembic, `versions/`), in two phases.

A revision that only adds (tables, columns that may be empty, indexes) is of the phase "expand": programs of the
release before run on its schema. One that takes away or narrows says `phase = "contract"`, and is run when no
process of the release before is left. So a cluster is upgraded process by process: the first new one expands at
its start, and `ingot db migrate` contracts at the end. A lone process on SQLite does both at its start.

Beside Alembic's note of the revision there is one of the phases (`schema_phases`): by it a program tells whether
a schema that is newer than itself has only been expanded.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ingot.kit.db import Database, timestamp
from ingot.kit.faults import Fault

Phase = Literal["all", "expand"]

#: Any number; PostgreSQL's advisory lock so that one process migrates.
_LOCK = 0x1A607
_HERE = Path(__file__).parent
# Of no room, and not in the line itself: programs of older releases read it.
_phases = sa.Table(
    "schema_phases",
    sa.MetaData(),
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)


def configuration(connection: sa.Connection | None = None, more: Path | None = None) -> Config:
    """more: a folder with revisions that follow ours (tests)."""
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    if more is not None:
        folders = os.pathsep.join([str(_HERE / "versions"), str(more)])
        config.set_main_option("path_separator", "os")
        config.set_main_option("version_locations", folders)
    config.attributes["connection"] = connection
    return config


async def migrate(db: Database, phase: Phase = "all", more: Path | None = None) -> None:
    """Upgrade to the newest revision, or ("expand") as far as older programs can follow.

    An empty database gets everything. A newer schema is left alone when it was only expanded; Fault otherwise.
    Several processes may start at once.
    """
    await db.write(lambda conn: _upgrade(conn, phase, more))


def _upgrade(conn: sa.Connection, phase: Phase, more: Path | None) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    _phases.create(conn, checkfirst=True)
    script = ScriptDirectory.from_config(configuration(None, more))
    before = _current(conn)
    if before is not None and before not in _known(script):
        _bear_newer(conn, before, _known(script))
        return
    wanted = pending(script, before)
    if phase == "expand" and before is not None:
        wanted = _until_contract(wanted)
    for revision, sort in wanted:
        command.upgrade(configuration(conn, more), revision)
        moment = timestamp(datetime.now(UTC))
        conn.execute(sa.insert(_phases).values(revision=revision, phase=sort, at=moment))


def _until_contract(wanted: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those before the first one that contracts; Fault when more than one release would be left out."""
    sorts = [sort for _, sort in wanted]
    if "contract" not in sorts:
        return wanted
    first = sorts.index("contract")
    if "expand" in sorts[first:]:
        raise Fault(
            f"The upgrade of an earlier release is not finished: revision {wanted[first][0]} is missing.",
            next_action="Run `ingot db migrate` of that release when all processes are of it.",
        )
    return wanted[:first]


def _bear_newer(conn: sa.Connection, at: str, known: set[str]) -> None:
    """A newer release was here: fine while it has only added things."""
    rows = conn.execute(sa.select(_phases).where(_phases.c.revision.not_in(known))).all()
    if rows and all(row.phase == "expand" for row in rows):
        return
    raise Fault(
        f"The database's schema {at} is of a newer release, which has taken away what this one needs.",
        next_action="Run the newer release; all of its processes can be started at once.",
    )


async def revisions(db: Database, more: Path | None = None) -> tuple[str | None, str]:
    """The database's revision (None when it has none) and the newest one."""
    script = ScriptDirectory.from_config(configuration(None, more))
    return await db.read(_current), script.get_current_head() or ""


async def left(db: Database, more: Path | None = None) -> list[tuple[str, str]]:
    """Revisions that are still to be run, each with its phase, in order."""
    script = ScriptDirectory.from_config(configuration(None, more))
    known = _known(script)
    before = await db.read(_current)
    if before is not None and before not in known:
        await db.read(lambda conn: _bear_newer(conn, before, known))
        return []
    return pending(script, before)


def pending(script: ScriptDirectory, before: str | None) -> list[tuple[str, str]]:
    """(revision, phase) of what follows a revision, in order."""
    found = [
        (revision.revision, str(getattr(revision.module, "phase", "expand")))
        for revision in script.iterate_revisions("head", before or "base")
    ]
    return found[::-1]


def _known(script: ScriptDirectory) -> set[str]:
    return {revision.revision for revision in script.walk_revisions()}


def _current(conn: sa.Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()
