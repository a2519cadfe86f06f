"""Kept statements: a long answer in one piece is the same as row by row, many rows in one statement as one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
import sqlalchemy as sa

from ingot.kit.db.batchloader import BatchLoader
from ingot.kit.db.database import BulkStatement, Database, PreparedStatement, among

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
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/x.db" if sqlite else request.getfixturevalue("postgres_url")
    made = Database(url)
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
    # What comes last is JSON as it is stored, or empty.
    full = (
        sa.literal_column('\'{"note": "\'')
        .op("||")(sa.cast(THINGS.c.size, sa.Text))
        .op("||")(sa.literal_column("'\"}'"))
    )
    document = sa.case((THINGS.c.id % 2 == 0, full), else_=sa.literal_column("''"))
    for order in (THINGS.c.id.asc(), THINGS.c.id.desc(), sa.func.coalesce(THINGS.c.word, "")):
        query = PreparedStatement(
            sa.select(THINGS, document)
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
    query = PreparedStatement(
        sa.select(THINGS.c.id, THINGS.c.word).limit(sa.bindparam("most", type_=sa.Integer))
    )
    assert await db.scan(lambda conn: query.bulk(conn, {"most": 5})) == []
    stop()
    assert len(texts) == 1 and "json_group_array" in texts[0]


EVENTS = sa.Table(
    "little_events",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("word", sa.Text),
    sa.Column("flag", sa.Boolean),
    sa.Column("size", sa.BigInteger),
    sa.Column("span", sa.Float),
    sqlite_autoincrement=True,
)


def _row(number: int, word: str | None) -> dict[str, object]:
    flag = (None, True, False)[number % 3]
    return {"word": word, "flag": flag, "size": 2**53 + number, "span": number / 7 or None}


async def test_many_rows_are_numbered_in_their_order(db: Database) -> None:
    await db.write(EVENTS.create)
    new = BulkStatement.insert(EVENTS, "word", "flag", "size", "span", returning="id")
    rows = [_row(number, WORDS[number % len(WORDS)]) for number in range(300)]
    numbers = await db.write(lambda conn: new.numbers(conn, rows))
    more = await db.write(lambda conn: new.numbers(conn, rows[:1]))
    assert [*numbers, *more] == sorted({*numbers, *more})
    found = await db.read(lambda conn: conn.execute(sa.select(EVENTS)).mappings().all())
    by_number = {row["id"]: {k: v for k, v in row.items() if k != "id"} for row in found}
    assert [by_number[number] for number in (*numbers, *more)] == [*rows, rows[0]]


async def test_many_rows_replace_and_change_those_that_are_there(db: Database) -> None:
    await db.write(THINGS.create)
    put = BulkStatement.insert(THINGS, "id", "word", "flag", "size", replacing=["id"])
    mark = BulkStatement.update(THINGS, "id", "word", "flag")

    def row(number: int, word: str) -> dict[str, object]:
        return {"id": number, "word": word, "flag": True, "size": number}

    for rows in ([row(1, "old"), row(2, "old")], [row(n, "new") for n in (2, 3)], [row(4, "new")]):
        await db.write(lambda conn: put.run(conn, rows))  # noqa: B023
    changes = [{"id": n, "word": None, "flag": False} for n in (1, 4, 99)]
    await db.write(lambda conn: mark.run(conn, changes))
    await db.write(lambda conn: mark.run(conn, [{"id": 2, "word": "last", "flag": None}]))
    await db.write(lambda conn: mark.run(conn, []))
    found = await db.read(lambda conn: conn.execute(sa.select(THINGS)).all())
    assert sorted(map(tuple, found)) == [
        (1, None, False, 1),
        (2, "last", None, 2),
        (3, "new", True, 3),
        (4, None, False, 4),
    ]


async def test_one_text_serves_lists_of_any_length(db: Database) -> None:
    await db.write(THINGS.create)
    put = BulkStatement.insert(THINGS, "id", "word")
    words = ["a", "b", "c\"'", ""]
    await db.write(lambda conn: put.run(conn, [{"id": n, "word": w} for n, w in enumerate(words)]))
    some = PreparedStatement(
        sa.select(THINGS.c.word).where(among(THINGS.c.word, "words")).order_by("word")
    )
    texts: set[str] = set()
    stop = db.on_statement(texts.add)
    for wanted in ([], ["a"], ["a", "c\"'", "nothing"], words):
        found = await db.read(lambda conn: some.rows(conn, {"words": wanted}))  # noqa: B023
        assert {word for (word,) in found} == set(wanted) & set(words)
    stop()
    assert len(texts - {"SELECT 1"}) == 1


async def test_what_is_asked_at_the_same_moment_is_read_together(db: Database) -> None:
    read: list[set[str]] = []

    def query(_conn: sa.Connection, keys: Collection[str]) -> dict[str, str]:
        if "bad" in keys:
            raise ValueError("bad")
        read.append(set(keys))
        return {key: key.upper() for key in keys if key != "absent"}

    together = BatchLoader(db, query)
    assert await together.get("lone") == "LONE"
    keys = [f"k{number}" for number in range(50)]
    found = await asyncio.gather(*map(together.get, [*keys, "absent", "k1"]))
    assert found == [*(key.upper() for key in keys), None, "K1"]
    assert set().union(*read) == {"lone", *keys, "absent"}
    assert len(read) == (
        53 if db.is_sqlite else 2
    )  # on SQLite a query is cheaper than waiting for one
    with pytest.raises(ValueError, match="bad"):
        await together.get("bad")
    given_up = asyncio.ensure_future(together.get("nobody"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await together.get("again") == "AGAIN"
