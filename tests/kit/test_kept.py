"""Kept statements: a long answer read in one piece is the same as row by row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingot.kit.db import Database, Kept
from tests import postgres

pytestmark = pytest.mark.anyio

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("word", sa.Text),
    sa.Column("flag", sa.Boolean),
    sa.Column("size", sa.BigInteger),
)
WORDS = [
    "plain",
    '{"json": "in \\"it\\""}',
    "",
    None,
    "line\nbreak",
    "\u00fcml\u00e4ut \U0001f680",
    "tab\t",
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path}/x.db")
        yield made
        await made.close()
        return
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        made = Database(server.create())
        yield made
        await made.close()


async def test_a_long_answer_in_one_piece(db: Database) -> None:
    rows = [
        {"id": n, "word": word, "flag": (None, True, False)[n % 3], "size": 2**53 + n}
        for n, word in enumerate(WORDS)
    ]

    def fill(conn: sa.Connection) -> None:
        THINGS.create(conn)
        conn.execute(THINGS.insert(), rows)

    await db.write(fill)
    for order in (THINGS.c.id.asc(), THINGS.c.id.desc(), sa.func.coalesce(THINGS.c.word, "")):
        query = Kept(
            sa.select(THINGS)
            .where(THINGS.c.id >= sa.bindparam("least"))
            .order_by(order)
            .limit(sa.bindparam("most", type_=sa.Integer))
        )
        for values in (
            {"least": 0, "most": 100},
            {"least": 2, "most": 3},
            {"least": 99, "most": 1},
        ):
            one_by_one = await db.read(lambda conn: query.rows(conn, values))  # noqa: B023
            assert await db.scan(lambda conn: query.bulk(conn, values)) == one_by_one  # noqa: B023
            assert len(one_by_one) == max(0, min(values["most"], len(WORDS) - values["least"]))


async def test_a_long_answer_is_one_step(db: Database) -> None:
    if not db.is_sqlite:
        pytest.skip("other drivers give rows in pieces anyway")
    await db.write(THINGS.create)
    texts: list[str] = []
    stop = db.on_statement(texts.append)
    query = Kept(sa.select(THINGS).limit(sa.bindparam("most", type_=sa.Integer)))
    assert await db.scan(lambda conn: query.bulk(conn, {"most": 5})) == []
    stop()
    assert len(texts) == 1 and "json_group_array" in texts[0]
