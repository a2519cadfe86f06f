"""Rows that are locked before they are decided by: each lock holds, also between an API's verb and an engine's step.

A serializable transaction that has waited for a lock goes on with the picture from before, unless the row was changed;
an engine's step, which is not serializable, sees what is there. So whoever locks must change the row, or both sides
must be serializable, or a constraint must stand behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.services.baremetal import store
from ingot.services.baremetal.ports import store as port_store
from tests.races.crowd import CLIENTS, Ask
from tests.races.metal import Site
from tests.races.test_baremetal_parts import mac

pytestmark = pytest.mark.anyio


class Done:
    """What a change of the store answers."""

    status, json = 200, None


def change(site: Site, number: int, work: Callable[[sa.Connection], Any]) -> Ask:
    """A transaction at one of the controllers: every second one as an engine's step."""
    db = site.worlds[number % len(site.worlds)].db

    async def ask() -> Done:
        await db.write(work, serializable=number % 2 == 0)
        return Done()

    return ask


async def test_facts_of_a_port_all_stay(site: Site) -> None:
    node = await site.one.node()
    made = await site.one.ask("POST", "/v1/ports", {"node_uuid": node["uuid"], "address": mac(1)})
    port, uuid = made.json["uuid"], node["uuid"]
    (card,) = await site.one.db.read(lambda conn: store.ports_of(conn, uuid))
    asks: list[tuple[Any, Ask]] = []
    for n in range(2 * CLIENTS):
        facts = {f"k{n}": n}

        def work(conn: sa.Connection, n: int = n, facts: dict[str, int] = facts) -> None:
            if n % 2:
                store.set_port_internal(conn, port, facts)
            else:
                port_store.set_internal(conn, card, facts)

        asks.append((f"k{n}", change(site, n, work)))
    answers = (await site.rush(asks)).civil()

    def look(conn: sa.Connection) -> set[str]:
        (seen,) = store.ports_of(conn, uuid)
        return {*seen.internal_info}

    found = await site.one.db.read(look)
    answers.kept(name for name in found if name[0] == "k" and name[1:].isdecimal())


async def test_no_port_is_in_a_group_that_is_gone(site: Site) -> None:
    node = await site.one.node()
    uuid = node["uuid"]
    await site.one.force(uuid, power_state="power off")
    for round in range(8):
        group = await site.one.ask("POST", "/v1/portgroups", {"node_uuid": uuid})
        ident = group.json["uuid"]
        asks: list[tuple[Any, Ask]] = []
        for n in range(8):
            body = {"node_uuid": uuid, "address": mac(100 * round + n), "portgroup_uuid": ident}
            asks.append(("port", site.ask("POST", "/v1/ports", body)))
        asks[4:4] = [("group", site.ask("DELETE", f"/v1/portgroups/{ident}")) for _ in range(3)]
        answers = (await site.rush(asks)).civil(400, 404, 409)
        ports = (await site.get(f"/v1/ports?fields=uuid,portgroup_uuid&node={uuid}"))["ports"]
        inside = [one for one in ports if one["portgroup_uuid"] == ident]
        gone = (await site.one.ask("GET", f"/v1/portgroups/{ident}")).status == 404
        assert gone == ("group" in answers.accepted().keys), answers.statuses
        assert not (gone and inside), (round, answers.statuses)
        assert len(inside) == answers.accepted().keys.count("port")


async def test_no_machine_is_in_a_chassis_that_is_gone(site: Site) -> None:
    for round in range(8):
        made = await site.one.ask("POST", "/v1/chassis", {"description": "row"})
        ident = made.json["uuid"]
        body = {"driver": "fake-hardware", "chassis_uuid": ident}
        asks: list[tuple[Any, Ask]] = [
            ("node", site.ask("POST", "/v1/nodes", body)) for _ in range(8)
        ]
        asks[3:3] = [("chassis", site.ask("DELETE", f"/v1/chassis/{ident}")) for _ in range(3)]
        answers = (await site.rush(asks)).civil(400, 404, 409)
        gone = (await site.one.ask("GET", f"/v1/chassis/{ident}")).status == 404
        nodes = (await site.get("/v1/nodes?fields=uuid,chassis_uuid&limit=1000"))["nodes"]
        inside = [one for one in nodes if one["chassis_uuid"] == ident]
        assert not (gone and inside), (round, answers.statuses)
        assert len(inside) == answers.accepted().keys.count("node")


async def test_few_machines_for_many(site: Site) -> None:
    """All that fit are locked for a moment by others: who waits takes one that is still free, or none."""
    for _ in range(6):
        node = await site.one.node(resource_class="few")
        await site.one.force(node["uuid"], provision_state="available", power_state="power off")
    asks: list[tuple[Any, Ask]] = [
        (n, site.ask("POST", "/v1/allocations", {"resource_class": "few"}))
        for n in range(2 * CLIENTS)
    ]
    (await site.rush(asks)).civil(409)
    made = (await site.get("/v1/allocations?limit=1000"))["allocations"]
    active = [one for one in made if one["state"] == "active"]
    assert len(active) == len({one["node_uuid"] for one in active}) == 6
    shown = (await site.get("/v1/nodes?fields=uuid,instance_uuid&limit=1000"))["nodes"]
    assert {one["uuid"]: one["node_uuid"] for one in active} == {
        one["instance_uuid"]: one["uuid"] for one in shown
    }
