"""What a request costs does not grow with the fleet: no statement of any request reads whole tables.

SQLite tells how it would run each statement. Left out: a list that nothing limits but its page, one in an order
for which there is no index (`tables.SORTED`), text inside of a description, and whether there is a
shard: most machines are alike in that.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, world

from ingot.kit import ids
from ingot.kit.db.database import metadata
from ingot.services.baremetal.tables import SORTED

pytestmark = pytest.mark.anyio
#: Tables that grow with the number of machines.
FLEET = {name for name in metadata.tables if name not in ("conductors", "inspection_rules")}
#: The shards are counted over all machines, in an index and in a thread of its own.
WHOLE = {"SCAN nodes USING COVERING INDEX ix_nodes_shard"} | {
    # These hold only what is asked for.
    f"SCAN nodes USING INDEX ix_nodes_{name}"
    for name in ("associated", "maintenance", "retired")
}
_SORTED = f"(sorted_)?({'|'.join(SORTED)})"
INSTANCE = ids.new_uuid()
MAC = "52:54:00:00:00:01"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def furnish(api: World) -> dict[str, str]:
    chassis = (await api.ask("POST", "/v1/chassis", {})).json["uuid"]
    node = await api.node(
        name="n1", owner="p1", chassis_uuid=chassis, resource_class="c", shard="s", driver_info={}
    )
    made = {"node": node["uuid"], "chassis": chassis}
    await api.force("n1", power_state="power off", network_interface="fake")
    uuid = node["uuid"]
    target = {"volume_type": "iscsi", "volume_id": "v", "boot_index": 0}
    for kind, path, body in (
        ("group", "/v1/portgroups", {"node_uuid": uuid, "name": "bond0"}),
        ("port", "/v1/ports", {"node_uuid": uuid, "address": MAC, "name": "eth0"}),
        (
            "connector",
            "/v1/volume/connectors",
            {"node_uuid": uuid, "type": "ip", "connector_id": "a"},
        ),
        ("target", "/v1/volume/targets", {"node_uuid": uuid, **target}),
    ):
        reply = await api.ask("POST", path, body)
        assert reply.status == 201, reply.json
        made[kind] = reply.json["uuid"]
    return made


def requests(made: dict[str, str]) -> list[tuple[str, str, Any]]:
    node = f"/v1/nodes/{made['node']}"
    extra = [{"op": "add", "path": "/extra/a", "value": 1}]
    filters = {
        "instance_uuid": INSTANCE,
        "chassis_uuid": made["chassis"],
        "provision_state": "active",
        "driver": "fake-hardware",
        "resource_class": "c",
        "fault": "power failure",
        "owner": "p1",
        "lessee": "p1",
        "shard": "s",
        "parent_node": made["node"],
        "associated": "true",
        "maintenance": "true",
        "retired": "true",
        "conductor_group": "g",
        "instance_name": "i",
        "project": "p1",
    }
    return [
        *(("GET", f"/v1/nodes?{name}={value}", None) for name, value in filters.items()),
        ("GET", f"/v1/nodes?marker={made['node']}", None),
        *(
            ("GET", f"/v1/nodes?sort_key={name}&sort_dir={way}{more}", None)
            for name in SORTED
            for way in ("asc", "desc")
            for more in ("", f"&marker={made['node']}")
        ),
        ("GET", node, None),
        ("GET", "/v1/nodes/n1", None),
        ("GET", f"{node}/children", None),
        ("GET", f"{node}/states", None),
        ("GET", f"{node}/history", None),
        ("GET", f"{node}/ports", None),
        ("GET", f"{node}/portgroups", None),
        ("GET", f"{node}/volume/targets", None),
        ("GET", f"{node}/volume/connectors", None),
        ("GET", f"{node}/vifs", None),
        ("GET", f"{node}/bios", None),
        ("GET", f"{node}/traits", None),
        ("GET", f"{node}/validate", None),
        ("GET", f"/v1/ports?address={MAC}", None),
        ("GET", f"/v1/ports?node={made['node']}", None),
        ("GET", f"/v1/ports?portgroup={made['group']}", None),
        ("GET", "/v1/ports?shard=s", None),
        ("GET", "/v1/portgroups?shard=s", None),
        ("GET", "/v1/portgroups/bond0/ports", None),
        ("GET", f"/v1/chassis/{made['chassis']}/nodes", None),
        ("GET", f"/v1/allocations?node={made['node']}", None),
        ("GET", "/v1/allocations?owner=p1", None),
        ("GET", "/v1/allocations?state=error", None),
        ("GET", "/v1/allocations?resource_class=c", None),
        ("GET", "/v1/shards", None),
        ("PATCH", node, extra),
        ("PATCH", node, [{"op": "add", "path": "/instance_uuid", "value": INSTANCE}]),
        ("PATCH", node, [{"op": "remove", "path": "/instance_uuid"}]),
        ("PUT", f"{node}/traits", {"traits": ["CUSTOM_A"]}),
        ("PUT", f"{node}/traits/CUSTOM_B", None),
        ("DELETE", f"{node}/traits/CUSTOM_B", None),
        ("PUT", f"{node}/maintenance", {"reason": "x"}),
        ("DELETE", f"{node}/maintenance", None),
        ("POST", f"{node}/vifs", {"id": INSTANCE}),
        ("DELETE", f"{node}/vifs/{INSTANCE}", None),
        ("PATCH", f"/v1/ports/{made['port']}", extra),
        ("PATCH", "/v1/ports/eth0", extra),
        ("PATCH", f"/v1/portgroups/{made['group']}", extra),
        ("PATCH", f"/v1/volume/targets/{made['target']}", extra),
        ("PATCH", f"/v1/volume/connectors/{made['connector']}", extra),
        ("PATCH", f"/v1/chassis/{made['chassis']}", extra),
        ("POST", "/v1/allocations", {"resource_class": "c", "name": "a1", "traits": ["CUSTOM_A"]}),
        ("PATCH", "/v1/allocations/a1", extra),
        ("DELETE", "/v1/allocations/a1", None),
        ("PUT", f"{node}/states/provision", {"target": "manage"}),
        ("DELETE", f"/v1/ports/{made['port']}", None),
        ("DELETE", f"/v1/portgroups/{made['group']}", None),
        ("DELETE", f"/v1/volume/targets/{made['target']}", None),
        ("DELETE", f"/v1/volume/connectors/{made['connector']}", None),
        ("DELETE", "/v1/nodes/n2", None),
        ("DELETE", f"/v1/chassis/{made['empty']}", None),
    ]


async def asked(api: World, method: str, path: str, body: Any) -> list[str]:
    """The statements of a request."""
    seen: list[str] = []
    stop = api.db.on_statement(seen.append)
    try:
        reply = await api.ask(method, path, body)
    finally:
        stop()
    assert reply.status < 400 or reply.status == 409, (method, path, reply.json)
    return seen


async def walks(api: World, statements: list[str]) -> list[str]:
    """Parts of these statements that read whole tables of the fleet."""

    def explain(conn: Any) -> list[str]:
        cursor = conn.connection.cursor()
        found: list[str] = []
        for text in statements:
            if not text.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                continue
            nothing = [None] * text.count("?")
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {text}", nothing).fetchall()
            sorts = any("TEMP B-TREE FOR ORDER BY" in detail for *_, detail in plan)
            for *_, detail in plan:
                ordered = re.fullmatch(rf"SCAN nodes USING INDEX ix_nodes_{_SORTED}", detail)
                if ordered and not sorts and "nodes.id) " not in text:
                    continue  # from the index's begin on, up to the limit
                scanned = re.match(r"SCAN (\w+)", detail)
                if scanned and scanned.group(1) in FLEET and detail not in WHOLE:
                    found.append(f"{detail}: {text[-300:]}")
        return found

    return await api.db.read(explain)


async def test_no_request_reads_the_fleet(api: World) -> None:
    made = await furnish(api)
    made["empty"] = (await api.ask("POST", "/v1/chassis", {})).json["uuid"]
    await api.node(name="n2")
    wrong: dict[str, list[str]] = {}
    for method, path, body in requests(made):
        if found := await walks(api, await asked(api, method, path, body)):
            wrong[f"{method} {path}"] = found
    assert not wrong, "\n".join(f"{one}\n    {text}" for one, text in wrong.items())


async def test_only_traits_that_differ_are_written(api: World) -> None:
    node = await api.node(name="n1")
    path = f"/v1/nodes/{node['uuid']}/traits"

    async def written(method: str, path: str, body: Any) -> list[str]:
        texts = await asked(api, method, path, body)
        return [text.split()[0] for text in texts if re.search(r"(INTO|FROM) node_traits\b", text)]

    def writes(words: list[str]) -> list[str]:
        return [word for word in words if word != "SELECT"]

    def all_of(letters: str) -> dict[str, list[str]]:
        return {"traits": [f"CUSTOM_{letter}" for letter in letters]}

    assert writes(await written("PUT", path, all_of("ABC"))) == ["INSERT"]
    assert writes(await written("PUT", path, all_of("CBA"))) == []
    assert writes(await written("PUT", f"{path}/CUSTOM_D", None)) == ["INSERT"]
    assert writes(await written("PUT", f"{path}/CUSTOM_D", None)) == []
    assert writes(await written("PUT", path, all_of("ABE"))) == ["DELETE", "INSERT"]
    assert writes(await written("DELETE", f"{path}/CUSTOM_E", None)) == ["DELETE"]
    shown = await api.ask("GET", path)
    assert sorted(shown.json["traits"]) == ["CUSTOM_A", "CUSTOM_B"]
    assert writes(await written("DELETE", path, None)) == ["DELETE"]
    assert (await api.ask("GET", path)).json["traits"] == []
    assert (await api.ask("DELETE", f"{path}/CUSTOM_A")).status == 404
