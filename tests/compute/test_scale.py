"""What an order of a server and a list cost does not grow with the fleet."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.kit.db.database import Database
from ingot.services.baremetal import CandidateQuery
from ingot.services.baremetal.allocations import candidate_store, claim_store
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.unreported_store import unreported_changes
from ingot.services.baremetal.tables import node_traits, nodes
from ingot.services.compute import quota_store, store
from ingot.services.compute.tables import servers
from tests.life.world import empty_database

pytestmark = pytest.mark.anyio

MANY = 5000


def fill(conn: sa.Connection, many: int) -> None:
    """Free machines of three classes and of none, and as many that are not free."""
    kinds = ["baremetal", "gpu", "CUSTOM_BIG", None]
    rows = [
        {
            "uuid": f"{number * 7919 % 65536:04x}0000-0000-4000-8000-{number:012x}",
            "name": f"n{number}",
            "created_at": "now",
            "driver": "fake-hardware",
            "provision_state": states.AVAILABLE if number % 2 else "active",
            "instance_uuid": None if number % 2 else f"i{number}",
            "power_state": "power off",
            "resource_class": kinds[number // 2 % 4],
        }
        for number in range(many)
    ]
    conn.execute(nodes.insert(), rows)
    traits = [{"node_uuid": row["uuid"], "trait": "CUSTOM_A"} for row in rows[1::100]]
    if traits:
        conn.execute(node_traits.insert(), traits)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_database(), tmp_path / "one.db")
    yield Database.at(tmp_path / "one.db")


def told(db: Database, conn: sa.Connection, work: Any) -> list[str]:
    """The statements that some work sends."""
    texts: list[str] = []
    end = db.on_statement(texts.append)
    try:
        work(conn)
    finally:
        end()
    return texts


async def test_machines_are_found_by_an_index_in_as_many_statements(database: Database) -> None:
    """The first batch of a class: the same statements with 10 and with thousands, none scans the machines."""
    db = database
    look = CandidateQuery(accepts=lambda name: name == "baremetal", required=["CUSTOM_A"])
    plain = CandidateQuery(accepts=lambda name: name == "baremetal")

    def first(conn: sa.Connection) -> None:
        next(candidate_store.batches(conn, plain), None)
        next(candidate_store.batches(conn, look), None)

    await db.write(lambda conn: fill(conn, 16))
    few = await db.read(lambda conn: told(db, conn, first))
    await db.write(lambda conn: conn.execute(sa.delete(nodes)))
    await db.write(lambda conn: fill(conn, MANY))
    many = await db.read(lambda conn: told(db, conn, first))
    assert len(many) <= len(few), (few, many)
    for text in many:
        plan = await db.read(lambda conn, text=text: _plan(conn, text))
        assert "index ix_nodes_instance" not in plan and "sqlite_autoindex_nodes_3" not in plan, (
            plan
        )
        assert not re.search(
            r"SCAN (nodes|ports|node_traits)\b(?! USING (COVERING )?INDEX ix_nodes_free)", plan
        ), (text, plan)


async def test_a_project_is_listed_and_counted_by_an_index(database: Database) -> None:
    """The list of a project and its quota read no more servers than they show."""
    db = database
    listed = [servers.c.project_id == "p", servers.c.deleted_at.is_(None)]
    orders = [store.Order()]

    def work(conn: sa.Connection) -> None:
        store.select_servers(conn, listed, orders, limit=10)
        quota_store.use(
            conn,
            "p",
            {"instances": 1, "cores": 1, "ram": 1},
            {"instances": 5, "cores": -1, "ram": -1},
        )
        quota_store.usage(conn, "p")
        store.count_members(conn, "g")

    for text in await db.write(lambda conn: told(db, conn, work)):
        if not text.startswith("INSERT"):
            plan = await db.read(lambda conn, text=text: _plan(conn, text))
            assert "SCAN" not in plan and "TEMP B-TREE" not in plan, (text, plan)


def _plan(conn: sa.Connection, text: str) -> str:
    count = text.count("?")
    rows = conn.exec_driver_sql("EXPLAIN QUERY PLAN " + text, ("x",) * count)
    return "\n".join(str(row[3]) for row in rows)


async def test_all_free_machines_are_found_once(database: Database) -> None:
    db = database
    await db.write(lambda conn: fill(conn, 1000))

    def every(conn: sa.Connection) -> list[str]:
        return [
            one.uuid for batch in candidate_store.batches(conn, CandidateQuery()) for one in batch
        ]

    found = await db.read(every)
    assert len(found) == len(set(found)) == 500 == await db.read(candidate_store.count)
    assert await db.read(candidate_store.classes) == [None, "CUSTOM_BIG", "baremetal", "gpu"]
    lent = CandidateQuery(accepts=lambda name: name is None, project="p")
    await db.write(lambda conn: conn.execute(sa.update(nodes).values(lessee="other")))
    assert await db.read(lambda conn: list(candidate_store.batches(conn, lent))) == []


async def test_consoles_are_followed_by_an_index(database: Database) -> None:
    """Between the looks at all servers only those are read that have changed, or whose machine has."""
    db = database
    since = "2100-01-01T00:00:00.000000+00:00"

    def work(conn: sa.Connection) -> None:
        assert store.consoles_since(conn, claim_store.held(), unreported_changes(), since) == {}

    texts = await db.write(lambda conn: told(db, conn, work))
    assert len(texts) == 2
    for text in texts:
        plan = await db.read(lambda conn, text=text: _plan(conn, text))
        scans = [line for line in plan.splitlines() if line.startswith("SCAN")]
        assert all(
            re.search(
                r"SCAN (left_servers|changes|nodes USING (COVERING )?INDEX ix_nodes_news)", line
            )
            for line in scans
        ), plan
