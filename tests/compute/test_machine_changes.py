"""Servers are told what is so of their machines, and only those are looked at that there is something to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.services.baremetal import store as nodes
from ingot.services.baremetal.tables import left_servers
from ingot.services.baremetal.tables import nodes as table
from ingot.services.compute import machine_changes, store
from ingot.services.compute.loops import loops
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio


async def news(here: Cloud) -> list[store.MachineChange]:
    return await here.db.read(lambda conn: machine_changes.pending(here.compute, conn))


async def turn(here: Cloud) -> None:
    """One turn of the loop; then nobody has to be looked at any more."""
    (loop,) = [loop for loop in loops(here.compute) if loop.name == "server machines"]
    await loop.once()
    assert loop.status.error is None
    assert await news(here) == await here.db.read(_left) == []


def _left(conn: sa.Connection) -> list[Any]:
    return list(conn.execute(sa.select(left_servers)))


async def server(here: Cloud, name: str, flavor: str) -> tuple[str, str]:
    uuid = await here.boot(flavor, name)
    shown = await here.server_is(uuid, "ACTIVE")
    return uuid, shown["OS-EXT-SRV-ATTR:hypervisor_hostname"]


async def force(here: Cloud, node: str, **values: Any) -> None:
    await here.db.write(lambda conn: nodes.update_node(conn, node, **values))


async def test_servers_are_told_and_then_left_alone(tmp_path: Path, database: str) -> None:
    async with cloud(tmp_path, 1, database=database) as here:
        await here.enrol_imaginary(4)
        flavor = await here.flavor()
        (one, its), (two, other), (three, third) = [
            await server(here, name, flavor) for name in ("a", "b", "c")
        ]
        await turn(here)
        # Switched off and on by hand, as the look at the power finds it.
        await force(here, its, power_state="power off")
        await turn(here)
        await here.server_is(one, "SHUTOFF")
        await force(here, its, power_state="power on")
        await turn(here)
        await here.server_is(one, "ACTIVE")
        # The instance was taken off; another server has the machine at once.
        await force(here, other, instance_uuid=None)
        await turn(here)
        await here.server_is(two, "ERROR")
        await here.db.write(lambda conn: here.baremetal.claim(conn, other, three))
        await turn(here)
        # The node is deleted, in maintenance, as it may be.
        await force(here, third, maintenance=True)
        await here.db.write(lambda conn: here.baremetal.delete_node(conn, third))
        await turn(here)
        await here.server_is(three, "ERROR")
        gone = (await here.get(f"/servers/{three}"))["server"]
        assert "was taken from the server" in gone["fault"]["message"]
        # An administrator's word is looked at again: the machine is off in truth.
        await force(here, its, power_state="power off")
        await turn(here)
        await here.server_is(one, "SHUTOFF")
        await here.call("POST", f"/servers/{one}/action", {"os-resetState": {"state": "active"}})
        await turn(here)
        await here.server_is(one, "SHUTOFF")


async def test_a_machine_that_is_taken_at_once_was_somebodys(tmp_path: Path) -> None:
    """Between two turns of the loop the machine has another server already."""
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        one, its = await server(here, "a", await here.flavor())
        assert its == node
        await turn(here)

        def taken(conn: sa.Connection) -> bool:
            free = {
                "instance_uuid": None,
                "provision_state": "available",
                "power_state": "power off",
            }
            nodes.update_node(conn, node, **free)
            return here.baremetal.claim(conn, node, "6f5cc4c6-6e4c-4d5f-8a70-3c9c0a7a7b11")

        assert await here.db.write(taken)
        await turn(here)
        await here.server_is(one, "ERROR")


async def test_what_is_given_back_is_nobodys(tmp_path: Path) -> None:
    """A machine that was released has no server's name."""
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = "6f5cc4c6-6e4c-4d5f-8a70-3c9c0a7a7b11"

        def both(conn: sa.Connection) -> None:
            assert here.baremetal.claim(conn, node, uuid)
            assert here.baremetal.hold(conn, node, uuid).release()

        await here.db.write(both)
        row = await here.db.read(lambda c: c.execute(sa.select(table.c.server_uuid)).one())
        assert row.server_uuid is None


async def test_nothing_walks_the_fleet(tmp_path: Path) -> None:
    """The plan reads the index of unreported changes, not the machines and servers."""
    async with cloud(tmp_path, 1) as here:
        texts: list[str] = []
        end = here.db.on_statement(texts.append)
        await news(here)
        end()
        (text,) = [text for text in texts if "left_servers" in text]

        def plan(conn: sa.Connection) -> str:
            many = text.count("?")
            rows = conn.exec_driver_sql("EXPLAIN QUERY PLAN " + text, ("x",) * many)
            return "\n".join(str(row[3]) for row in rows)

        told = await here.db.read(plan)
        assert "ix_nodes_news" in told, told
        for line in told.splitlines():
            if line.startswith("SCAN"):
                assert (
                    "ix_nodes_news" in line
                    or "left_servers" in line
                    or "SCAN changes" in line
                    or (line.startswith("SCAN (subquery"))
                ), told
