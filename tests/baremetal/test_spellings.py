"""A UUID that a client chooses is one thing however it is spelt: stored in lower case with dashes, found by all."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest

from ingot.services.baremetal import store, tables
from tests.baremetal.api_support import World, world

pytestmark = pytest.mark.anyio
STEP = {"interface": "deploy", "step": "deploy", "args": {}, "priority": 5}
RUN = {"interface": "deploy", "step": "erase_devices", "args": {}, "order": 1}
ACTION = {"op": "set-attribute", "args": {"path": "/extra/a", "value": 1}}

BODIES: dict[str, dict[str, Any]] = {
    "nodes": {"driver": "fake-hardware"},
    "ports": {"address": "52:54:00:00:00:01"},
    "portgroups": {},
    "chassis": {"description": "row"},
    "allocations": {"resource_class": "none"},
    "deploy_templates": {"name": "CUSTOM_ONE", "steps": [STEP]},
    "runbooks": {"name": "CUSTOM_ONE", "steps": [RUN]},
    "inspection_rules": {"actions": [ACTION]},
    "volume/connectors": {"type": "ip", "connector_id": "10.0.0.1"},
    "volume/targets": {"volume_type": "iscsi", "volume_id": "v", "boot_index": 0},
}
_ON_NODES = ("ports", "portgroups", "volume/connectors", "volume/targets")


def _uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_DNS, name))


def _spellings(uuid: str) -> list[str]:
    return [uuid, uuid.upper(), uuid.replace("-", ""), uuid.replace("-", "").upper()]


async def _node(here: World, name: str) -> str:
    made = await here.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "uuid": _uuid(name)})
    assert made.status == 201, made.json
    await here.force(made.json["uuid"], power_state="power off")
    return str(made.json["uuid"])


@pytest.mark.parametrize("kind", BODIES)
async def test_one_thing_however_it_is_spelt(tmp_path: Path, kind: str) -> None:
    async with world(tmp_path) as here:
        body = dict(BODIES[kind])
        if kind in _ON_NODES:
            body["node_uuid"] = (await _node(here, "carrier")).upper()
        uuid, path = _uuid(kind), f"/v1/{kind}"
        made = await here.ask("POST", path, {**body, "uuid": uuid.upper()})
        assert made.status == 201 and made.json["uuid"] == uuid, made.json
        for spelling in _spellings(uuid):
            found = await here.ask("GET", f"{path}/{spelling}")
            assert found.status == 200 and found.json["uuid"] == uuid, (spelling, found.json)
            again = await here.ask("POST", path, {**body, "uuid": spelling})
            assert again.status == 409, (spelling, again.status, again.json)
        listed = await here.ask("GET", f"{path}?limit=1")
        assert str(listed.json).count(f"'uuid': '{uuid}'") >= 1
        for spelling in _spellings(uuid)[1:]:
            page = await here.ask("GET", f"{path}?marker={spelling}")
            assert page.status == 200, (spelling, page.json)
        gone = await here.ask("DELETE", f"{path}/{uuid.replace('-', '').upper()}")
        assert gone.status == 204, gone.json


async def test_what_names_another_thing_may_spell_it_its_own_way(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        node, chassis, group = await _node(here, "node"), _uuid("chassis"), _uuid("group")
        await here.ask("POST", "/v1/chassis", {"uuid": chassis})
        await here.ask("POST", "/v1/portgroups", {"uuid": group, "node_uuid": node})
        instance = _uuid("instance")
        changes = {"chassis_uuid": chassis.upper(), "instance_uuid": instance.upper()}
        patch = [{"op": "add", "path": f"/{k}", "value": v} for k, v in changes.items()]
        done = await here.ask("PATCH", f"/v1/nodes/{node.upper()}", patch)
        assert done.status == 200, done.json
        assert (done.json["chassis_uuid"], done.json["instance_uuid"]) == (chassis, instance)
        port = {"address": "52:54:00:00:00:02", "node_uuid": node.replace("-", "")}
        made = await here.ask("POST", "/v1/ports", {**port, "portgroup_uuid": group.upper()})
        assert made.status == 201, made.json
        assert (made.json["node_uuid"], made.json["portgroup_uuid"]) == (node, group)
        for query in (
            f"nodes?chassis_uuid={chassis.upper()}",
            f"nodes?instance_uuid={instance.upper()}",
            f"ports?node={node.upper()}",
            f"ports?node_uuid={node.upper()}",
            f"ports?portgroup={group.upper()}",
            f"chassis/{chassis.upper()}/nodes",
            f"nodes/{node.upper()}/ports",
        ):
            found = await here.ask("GET", f"/v1/{query}")
            assert found.status == 200 and "'uuid'" in str(found.json), (query, found.json)
        # A second machine cannot take the same instance by another spelling.
        other = await _node(here, "other")
        patch = [{"op": "add", "path": "/instance_uuid", "value": instance.replace("-", "")}]
        assert (await here.ask("PATCH", f"/v1/nodes/{other}", patch)).status == 409


async def test_a_node_of_before_is_found_as_it_was_spelt(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        uuid = await _node(here, "old")

        def spell(conn: Any) -> None:
            conn.execute(tables.nodes.update().values(uuid=uuid.upper()))

        await here.db.write(spell)
        found = await here.ask("GET", f"/v1/nodes/{uuid.upper()}")
        assert found.status == 200 and found.json["uuid"] == uuid.upper()
        body = {"address": "52:54:00:00:00:03", "node_uuid": uuid.upper()}
        made = await here.ask("POST", "/v1/ports", body)
        assert made.status == 201 and made.json["node_uuid"] == uuid.upper()
        seen = await here.db.read(lambda conn: store.lock_node(conn, uuid.upper()))
        assert seen is not None and seen.uuid == uuid.upper()
