"""`ingot db`: what operators do with the database."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.db.database import Database
from ingot.kit.faults import Fault, Missing
from ingot.migrations import left, migrate, revisions
from ingot.settings import load
from ingot.workflow import forget_conductor

_log = log.get("database")


async def database_command(args: argparse.Namespace) -> tuple[str, bool]:
    """`ingot db`: what to say, and whether all is well (the schema is current)."""
    settings = load(args.config, state=args.state, database=args.database)
    url = settings.database or f"sqlite:///{settings.state_dir / 'ingot.db'}"
    file = url.removeprefix("sqlite:///").partition("?")[0]
    if args.action != "migrate" and url.startswith("sqlite") and not _is_there(file):
        raise Missing(
            f"There is no database {file}.", next_action="Name the state folder with --state."
        )
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = Database(url)
    try:
        if args.action == "forget":
            gone = await db.write(lambda conn: forget_conductor(conn, args.name))
            wrong = f"{args.name} is alive, or unknown: nothing is forgotten"
            return (f"{args.name} is forgotten" if gone else wrong), gone
        if args.action == "migrate":
            await migrate(db, args.phase)
        at, newest = await revisions(db)
        missing = await left(db)
        if args.phase == "expand":
            missing = [one for one in missing if one[1] == "expand"]
        rest = ", ".join(f"{revision} ({phase})" for revision, phase in missing)
        return f"schema {at or 'none'}, newest {newest}" + (rest and f"; left: {rest}"), not missing
    finally:
        await db.close()


async def reach(db: Database) -> None:
    """A first query; what can go wrong with a database is told in one line."""
    try:
        await db.read(lambda conn: conn.execute(sa.text("SELECT 1")).scalar())
    except Exception as error:
        url = re.sub(r"://([^:/@]*):[^@]*@", r"://\1:******@", db.url)
        words = getattr(error, "internal", "") or str(getattr(error, "orig", None) or error)
        raise Fault(
            f"The database {url} cannot be used: {words}",
            next_action="Check that it runs and that this user may use it; see `ingot db check`.",
        ) from None


async def tell_new(db: Database, state: Path) -> None:
    """A database with nothing in it, where a cloud has been before, may be one that was lost."""
    if (state / "clouds.yaml").exists() and not await db.read(_has_tables):
        _log.warning(
            "the database is empty, and a new cloud is made in it; but there was one: clouds.yaml is there",
            state=str(state),
            then="if it had to be kept, stop this one and restore a backup into an empty folder",
        )


def _has_tables(conn: sa.Connection) -> bool:
    return bool(sa.inspect(conn).get_table_names())


def _is_there(file: str) -> bool:
    return Path(file).exists()
