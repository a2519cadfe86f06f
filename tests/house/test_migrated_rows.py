"""Migrations that rewrite or count rows which are there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

import ingot.app.build  # noqa: F401  (all tables hang on one metadata)
from ingot.kit.db.database import Database, to_json
from ingot.migrations import migrate
from ingot.migrations.line import configuration
from ingot.services.baremetal import store as metal_store
from ingot.services.baremetal import tables as metal
from ingot.services.network import quota_store
from ingot.services.network import tables as net
from tests import postgres

pytestmark = pytest.mark.anyio
ONE, TWO = "4a35c3cd-4466-5e38-bb1c-9c7c52cee5e2", "1ed930e1-4775-56fc-ae46-95790507c7d3"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    if request.param == "postgres":
        if reason := postgres.missing():
            pytest.skip(reason)
        url = request.getfixturevalue("postgres_url")
    made = Database(url)
    yield made
    await made.close()


def _row(table: sa.Table, **given: Any) -> sa.Insert:
    """A row with something in every column that must have a value."""
    values: dict[str, Any] = {}
    for column in table.c:
        if column.primary_key and isinstance(column.type, sa.Integer):
            continue
        if not column.nullable and column.server_default is None:
            plain = {sa.Boolean: False, sa.Integer: 0, sa.BigInteger: 0}
            values[column.name] = plain.get(type(column.type), "{}")
    return sa.insert(table).values({**values, **given})


async def _at(db: Database, revision: str, *rows: sa.Executable) -> None:
    def prepare(conn: sa.Connection) -> None:
        command.upgrade(configuration(conn), revision)
        for row in rows:
            conn.execute(row)

    await db.write(prepare)
    await migrate(db)


async def test_ids_are_respelt_and_what_names_them_too(db: Database) -> None:
    await _at(
        db,
        "0019",
        _row(metal.chassis, uuid=ONE.upper()),
        # Told apart by their spelling alone: they stay two.
        _row(metal.chassis, uuid=TWO),
        _row(metal.chassis, uuid=TWO.replace("-", "")),
        _row(metal.nodes, uuid=ONE.upper(), chassis_uuid=ONE.upper(), instance_uuid=TWO.upper()),
    )
    columns = (metal.nodes.c.uuid, metal.nodes.c.chassis_uuid, metal.nodes.c.instance_uuid)

    def look(conn: sa.Connection) -> tuple[list[str], tuple[Any, ...]]:
        rows = conn.execute(sa.select(metal.chassis.c.uuid)).scalars()
        return sorted(rows), tuple(conn.execute(sa.select(*columns)).one())

    chassis, node = await db.read(look)
    assert chassis == sorted([ONE, TWO, TWO.replace("-", "")])
    assert node == (ONE.upper(), ONE, TWO)


async def test_what_networks_have_is_counted(db: Database) -> None:
    await _at(
        db,
        "0018",
        _row(net.networks, id="n1", project_id="p", physical_network="w1"),
        _row(net.networks, id="n2", project_id="q", physical_network="w2"),
        *(
            _row(net.ports, id=f"p{n}", project_id="p", network_id="n1", mac_address=f"m{n}")
            for n in range(3)
        ),
    )
    used = await db.read(lambda conn: [quota_store.used(conn, project) for project in "pqr"])
    kinds = [(one["network"], one["port"], one["security_group"]) for one in used]
    assert kinds == [(1, 3, 0), (1, 0, 0), (0, 0, 0)]


#: As the release before wrote it.
FIELD: dict[str, Any] = {
    "agent_ordered_at": "t1",
    "boot_seen": "t2",
    "started_at": "t3",
    "unasked_boot": {"at": "t4", "mac": "52:54:00:00:00:01"},
    "bmc_identity": {"serial": "S1"},
    "instance_stopped": True,
    "automatic_lessee": True,
    "of_a_driver": {"a": [1]},
}
FACTS: dict[str, Any] = {
    "agent_ordered_at": "t1",
    "boot_seen_at": "t2",
    "started_at": "t3",
    "unasked_boot_at": "t4",
    "unasked_boot_mac": "52:54:00:00:00:01",
    "bmc_identity": {"serial": "S1"},
    "instance_stopped": True,
    "automatic_lessee": True,
}


def _facts(conn: sa.Connection, uuid: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides, and the field that drivers write."""
    node = metal_store.get_node(conn, uuid)
    return {name: getattr(node, name) for name in FACTS}, node.driver_internal_info


async def test_facts_of_nodes_leave_the_field_that_is_shown(db: Database) -> None:
    await _at(
        db,
        "0022",
        _old_node(uuid=ONE, driver_internal_info=to_json(FIELD)),
        _old_node(uuid=TWO, driver_internal_info="{}"),
    )
    assert await db.read(lambda conn: _facts(conn, ONE)) == (FACTS, {"of_a_driver": {"a": [1]}})
    empty = dict.fromkeys(FACTS) | {"instance_stopped": False, "automatic_lessee": False}
    assert await db.read(lambda conn: _facts(conn, TWO)) == (empty, {})


def _old_node(**given: str) -> sa.TextClause:
    """A node as a release of before 0023 makes it."""
    row = {"created_at": "t0", "driver": "x", "provision_state": "active", **given}
    names = ", ".join(row)
    query = sa.text(f"INSERT INTO nodes ({names}) VALUES (:{', :'.join(row)})")
    return query.bindparams(**row)


@pytest.mark.parametrize(
    "db", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
async def test_two_releases_tell_each_other_facts_of_nodes(db: Database) -> None:
    """On PostgreSQL, where both may run at once, until the schema is contracted."""

    def expand(conn: sa.Connection) -> None:
        command.upgrade(configuration(conn), "0022")
        conn.execute(_old_node(uuid=ONE))

    def old_writes(conn: sa.Connection, field: dict[str, Any]) -> None:
        values = {"field": to_json(field)}
        conn.execute(sa.text("UPDATE nodes SET driver_internal_info = :field"), values)

    await db.write(expand)
    await db.write(lambda conn: command.upgrade(configuration(conn), "0023"))
    await db.write(lambda conn: old_writes(conn, FIELD))
    assert (await db.read(lambda conn: _facts(conn, ONE)))[0] == FACTS
    new: dict[str, Any] = {"boot_seen_at": "t9", "instance_stopped": False, "bmc_identity": None}
    await db.write(lambda conn: metal_store.update_node(conn, ONE, **new))
    facts, field = await db.read(lambda conn: _facts(conn, ONE))
    assert facts == FACTS | new
    gone = ("instance_stopped", "bmc_identity")
    left = {name: value for name, value in FIELD.items() if name not in gone}
    assert field == left | {"boot_seen": "t9"}
    await migrate(db)
    assert await db.read(lambda conn: _facts(conn, ONE)) == (
        facts,
        {"of_a_driver": {"a": [1]}},
    )
