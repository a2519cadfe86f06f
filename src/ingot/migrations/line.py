"""The line of migrations, by Alembic: what is pending, and running it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ingot.kit.db.database import timestamp
from ingot.kit.faults import Fault
from ingot.migrations.types import Phase

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


def script(more: Path | None = None) -> ScriptDirectory:
    return ScriptDirectory.from_config(configuration(None, more))


def upgrade(conn: sa.Connection, phase: Phase, more: Path | None) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    _phases.create(conn, checkfirst=True)
    line = script(more)
    before = current(conn)
    ours = known(line)
    if before is not None and before not in ours:
        bear_newer(conn, before, ours)
        return
    wanted = pending(line, before)
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


def bear_newer(conn: sa.Connection, at: str, known: set[str]) -> None:
    """A newer release was here: fine while it has only added things."""
    rows = conn.execute(sa.select(_phases).where(_phases.c.revision.not_in(known))).all()
    if rows and all(row.phase == "expand" for row in rows):
        return
    raise Fault(
        f"The database's schema {at} is of a newer release, which has taken away what this one needs.",
        next_action="Run the newer release; all of its processes can be started at once.",
    )


def pending(line: ScriptDirectory, before: str | None) -> list[tuple[str, str]]:
    """(revision, phase) of what follows a revision, in order."""
    found = [
        (revision.revision, str(getattr(revision.module, "phase", "expand")))
        for revision in line.iterate_revisions("head", before or "base")
    ]
    return found[::-1]


def known(line: ScriptDirectory) -> set[str]:
    return {revision.revision for revision in line.walk_revisions()}


def current(conn: sa.Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()
