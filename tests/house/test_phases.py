"""A release is followed by the next one while its processes run: first the schema grows, at the end it shrinks."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

import ingot
from ingot.kit.db.database import Database
from ingot.kit.faults import Fault
from ingot.migrations import left, migrate, revisions
from ingot.migrations.line import configuration, pending, script

pytestmark = pytest.mark.anyio
_SHRINKS = ("drop_table", "drop_column", "drop_constraint", "nullable=False, existing")
#: The newest revision of the last release; clusters are upgraded from it.
RELEASED = "0008"
_NEXT = '''"""{text}"""
import sqlalchemy as sa
from alembic import op
revision, down_revision, phase = "{revision}", "{before}", "{phase}"
branch_labels = depends_on = None
def upgrade() -> None:
    {does}
'''


def _next_release(folder: Path) -> Path:
    """Revisions of a release to come: one that adds a table, one that takes an index away."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    adds = 'op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))'
    takes = 'op.drop_index("ix_conductors_host", "conductors")'
    for revision, before, phase, does in (
        ("later_1", head, "expand", adds),
        ("later_2", "later_1", "contract", takes),
    ):
        text = _NEXT.format(text=phase, revision=revision, before=before, phase=phase, does=does)
        (folder / f"{revision}.py").write_text(text)
    return folder


async def test_two_releases_on_one_schema(tmp_path: Path) -> None:
    db, later = Database.at(tmp_path / "site.db"), _next_release(tmp_path)
    try:
        await migrate(db)
        ours, newest = await revisions(db)
        assert ours == newest and await left(db) == []

        # The first process of the next release starts.
        await migrate(db, "expand", later)
        assert (await revisions(db))[0] == "later_1"
        assert await left(db, later) == [("later_2", "contract")]
        assert "later" in await db.read(lambda conn: sa.inspect(conn).get_table_names())

        # One of ours starts again meanwhile, and is content.
        await migrate(db, "expand")
        assert (await revisions(db))[0] == "later_1" and await left(db) == []

        # The upgrade is finished; now ours refuses to run.
        await migrate(db, "all", later)
        assert await left(db, later) == []
        with pytest.raises(Fault, match="of a newer release, which has taken away"):
            await migrate(db, "expand")
        with pytest.raises(Fault, match="newer release"):
            await left(db)
    finally:
        await db.close()


async def test_no_release_is_left_out(tmp_path: Path) -> None:
    db, later = Database.at(tmp_path / "site.db"), _next_release(tmp_path)
    text = _NEXT.format(text="", revision="later_3", before="later_2", phase="expand", does="pass")
    (later / "later_3.py").write_text(text)
    try:
        await migrate(db)
        with pytest.raises(Fault, match="not finished: revision later_2"):
            await migrate(db, "expand", later)
        assert (await revisions(db))[0] != "later_1"
    finally:
        await db.close()


def test_what_takes_away_says_so() -> None:
    for file in (Path(ingot.__file__).parent / "migrations" / "versions").glob("*.py"):
        text = file.read_text().partition("def downgrade")[0]
        if any(word in text for word in _SHRINKS):
            assert 'phase = "contract"' in text, f"{file.name} takes away: it is of the other phase"


def test_what_contracts_is_last() -> None:
    """Else a cluster of the last release cannot be upgraded process by process: give such a revision a new number."""
    sorts = [sort for _, sort in pending(script(), RELEASED)]
    assert sorts == sorted(sorts, key=("expand", "contract").index)
