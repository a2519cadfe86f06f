"""The sum of the migrations is the schema that the services declare, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import ingot.app.build  # noqa: F401  (all tables hang on one metadata)
from ingot.kit.db.database import Database, metadata
from ingot.migrations import migrate, revisions
from tests import postgres

pytestmark = pytest.mark.anyio

#: Notes of the revision and of the phases.
NOT_OURS = {"alembic_version", "schema_phases"}


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two empty databases of one kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'migrated.db'}", f"sqlite:///{tmp_path / 'declared.db'}"
    running = request.getfixturevalue("server")
    return running.create(), running.create()


def ours(names: list[str]) -> list[str]:
    """Without the tables that other tests hang on the same metadata (`test_…`)."""
    return sorted(name for name in names if name not in NOT_OURS and not name.startswith("test_"))


def picture(conn: sa.Connection) -> dict[str, Any]:
    """Tables, columns, keys and indexes as the database itself tells them."""
    look = sa.inspect(conn)
    tables: dict[str, Any] = {}
    for name in ours(look.get_table_names()):
        tables[name] = {
            "columns": {
                c["name"]: (str(c["type"]), c["nullable"], str(c["default"]))
                for c in look.get_columns(name)
            },
            "primary key": look.get_pk_constraint(name)["constrained_columns"],
            "indexes": sorted(
                (
                    i["name"] or "",
                    tuple(i["column_names"]),
                    bool(i["unique"]),
                    str(where(i)),
                )
                for i in look.get_indexes(name)
            ),
            "unique": sorted(tuple(u["column_names"]) for u in look.get_unique_constraints(name)),
            "foreign keys": sorted(
                (
                    tuple(f["constrained_columns"]),
                    f["referred_table"],
                    tuple(f["referred_columns"]),
                    str(sorted(f.get("options", {}).items())),
                )
                for f in look.get_foreign_keys(name)
            ),
            "checks": sorted(str(c["sqltext"]) for c in look.get_check_constraints(name)),
        }
    return tables


def where(index: Any) -> Any:
    """The condition of a partial index: one live operation per subject hangs on it."""
    options = index.get("dialect_options", {})
    return options.get("sqlite_where", options.get("postgresql_where"))


def drift(conn: sa.Connection) -> list[Any]:
    """What Alembic would write into a next migration."""

    def wanted(_object: object, name: str | None, kind: str, *_more: object) -> bool:
        return kind != "table" or name is None or bool(ours([name]))

    options = {"compare_type": True, "include_object": wanted}
    context = MigrationContext.configure(conn, opts=options)
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_declared_schema(urls: tuple[str, str]) -> None:
    migrated, declared = Database(urls[0]), Database(urls[1])
    try:
        await migrate(migrated)
        await declared.create_all()
        ours = await migrated.read(picture)
        theirs = await declared.read(picture)
        assert set(ours) == set(theirs)
        for table in theirs:
            assert ours[table] == theirs[table], f"table {table}; write a migration"
        assert await migrated.read(drift) == []
    finally:
        await migrated.close()
        await declared.close()


async def test_migrating_twice_changes_nothing(urls: tuple[str, str]) -> None:
    db = Database(urls[0])
    try:
        assert (await revisions(db))[0] is None
        await migrate(db)
        before = await db.read(picture)
        await migrate(db)
        assert await db.read(picture) == before
        at, newest = await revisions(db)
        assert at == newest
    finally:
        await db.close()
