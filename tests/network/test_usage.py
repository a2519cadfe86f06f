"""What projects have is counted where it changes: by no list, however much there is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.kit.faults import Fault
from ingot.services.network import Networks, quota_store, tables

from .conftest import Api
from .test_front_door import make_port, provider

pytestmark = pytest.mark.anyio
_TABLES = {
    "network": tables.networks,
    "subnet": tables.subnets,
    "port": tables.ports,
    "security_group": tables.security_groups,
    "security_group_rule": tables.security_group_rules,
}


async def agree(nets: Networks) -> dict[str, dict[str, int]]:
    """The counters are what the rows say; gives them by project."""

    def look(conn: sa.Connection) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for kind, table in _TABLES.items():
            rows = Counter(conn.execute(sa.select(table.c.project_id)).scalars())
            for project, count in rows.items():
                found.setdefault(project, dict.fromkeys(_TABLES, 0))[kind] = count
        projects = [
            str(row) for row in conn.execute(sa.select(tables.usage.c.project_id)).scalars()
        ]
        counted = {project: quota_store.used(conn, project) for project in projects}
        empty = dict.fromkeys(_TABLES, 0)
        assert {p: c for p, c in counted.items() if c != empty} == found
        return found

    return await nets.db.read(look)


async def test_counters_follow_all_that_comes_and_goes(api: Api, nets: Networks) -> None:
    wire = {"provider:physical_network": "wire1", "shared": True}
    network = (await api.post("/v2.0/networks", {"network": wire}))["network"]
    subnet = {"network_id": network["id"], "cidr": "192.0.2.0/24"}
    await api.post("/v2.0/subnets", {"subnet": subnet})
    port = {"network_id": network["id"]}
    made = await api.post("/v2.0/ports", {"ports": [port, port, port]}, who="member")
    await nets.db.write(
        lambda conn: nets.create_port(conn, network_id=network["id"], project_id="p-two")
    )
    seen = await agree(nets)
    assert seen["p-one"]["port"] == 3 and seen["p-two"]["port"] == 1
    assert seen["p-admin"]["network"] == seen["p-admin"]["subnet"] == 1

    group = (
        await api.post("/v2.0/security-groups", {"security_group": {"name": "g"}}, who="member")
    )["security_group"]
    rule = {"direction": "ingress", "remote_group_id": group["id"]}
    other = (await api.get("/v2.0/security-groups", who="member"))["security_groups"]
    default = next(one["id"] for one in other if one["name"] == "default")
    body = {"security_group_rule": {**rule, "security_group_id": default}}
    gone = (await api.post("/v2.0/security-group-rules", body, who="member"))["security_group_rule"]
    await api.delete(f"/v2.0/security-group-rules/{gone['id']}", who="member")
    await api.post("/v2.0/security-group-rules", body, who="member")
    await agree(nets)
    await api.delete(f"/v2.0/security-groups/{group['id']}", who="member")  # and what names it
    await agree(nets)

    for one in made["ports"]:
        await api.delete(f"/v2.0/ports/{one['id']}", who="member")
    await api.delete(f"/v2.0/ports/{made['ports'][0]['id']}", who="member", status=404)
    left = await nets.db.read(
        lambda conn: conn.execute(sa.select(tables.ports.c.id)).scalars().all()
    )
    for ident in [*left, *left]:  # gone already: counted once
        await nets.db.write(lambda conn, ident=ident: nets.delete_port(conn, ident))
    assert (await agree(nets)).get("p-two") is None
    await api.delete(f"/v2.0/networks/{network['id']}")
    assert (await agree(nets)).get("p-admin", {}).get("subnet", 0) == 0


async def test_what_is_over_the_quota_is_not_made(api: Api, nets: Networks) -> None:
    await api.put("/v2.0/quotas/p-one", {"quota": {"port": 2}})
    network = await provider(nets)
    port = {"network_id": network.id}
    reply = await api.post("/v2.0/ports", {"ports": [port] * 3}, who="member", status=409)
    assert reply["NeutronError"]["type"] == "OverQuota" and "used 0" in str(reply)
    await api.post("/v2.0/ports", {"ports": [port] * 2}, who="member")
    await api.post("/v2.0/ports", {"port": port}, who="member", status=409)
    assert (await agree(nets))["p-one"]["port"] == 2


async def test_nothing_is_counted_row_by_row(api: Api, nets: Networks) -> None:
    network = await provider(nets)
    await make_port(nets, network)  # the first one of a process asks how full the subnet is
    told: list[str] = []
    end = nets.db.on_statement(told.append)
    await api.post("/v2.0/ports", {"port": {"network_id": network.id}}, who="member")
    await api.get("/v2.0/quotas/p-one/details", who="admin")
    end()
    assert not [text for text in told if "count(" in text.lower()], told


async def test_who_uses_the_front_door_learns_what_is_left(nets: Networks) -> None:
    def limit(conn: sa.Connection) -> None:
        quota_store.set_quotas(conn, "p-one", {"port": 1})

    def left(conn: sa.Connection) -> Any:
        return nets.ports_left(conn, "p-one"), nets.ports_left(conn, "p-two")

    network = await provider(nets)
    await nets.db.write(limit)
    assert await nets.db.read(left) == (1, nets.settings.quotas["port"])
    await make_port(nets, network)
    assert (await nets.db.read(left))[0] == 0
    await make_port(nets, network)
    with pytest.raises(Fault, match="Quota exceeded") as fault:
        await nets.db.read(lambda conn: nets.check_quota(conn, "p-one", "port"))
    assert fault.value.details["type"] == "OverQuota"


async def test_a_change_of_a_port_reads_its_network_once(api: Api, nets: Networks) -> None:
    network = await provider(nets)
    port = await make_port(nets, network)
    texts: list[str] = []
    end = nets.db.on_statement(texts.append)
    await api.put(f"/v2.0/ports/{port.id}", {"port": {"name": "p"}}, who="admin")
    end()
    reads = [text for text in texts if text.startswith("SELECT") and "FROM networks" in text]
    assert len(reads) == 1, reads
