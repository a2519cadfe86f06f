"""Discovery, negotiation, drivers, conductors; and every route for those without rights."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import ANONYMOUS, World, project, system, world

from ingot.kit.auth.policy import Caller
from ingot.workflow.tables import conductors

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def test_discovery_is_open(api: World) -> None:
    api.become(ANONYMOUS)
    for path in ("", "/"):
        reply = await api.ask("GET", path, version=None)
        (version,) = reply.json["versions"]
        assert reply.json["default_version"] == version
        assert (version["id"], version["min_version"], version["version"]) == ("v1", "1.1", "1.115")
        assert version["links"][0]["href"].endswith("/baremetal/v1/")
    for path in ("/v1", "/v1/"):
        document = (await api.ask("GET", path)).json
        assert document["id"] == "v1" and document["version"]["version"] == "1.115"
        assert {"nodes", "ports", "drivers", "conductors", "allocations"} <= set(document)
    for name, since in {
        "chassis": 1,
        "portgroups": 23,
        "volume": 32,
        "conductors": 49,
        "events": 54,
        "shards": 82,
    }.items():
        assert name in (await api.ask("GET", "/v1", version=f"1.{since}")).json
        if since > 1:
            assert name not in (await api.ask("GET", "/v1", version=f"1.{since - 1}")).json


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (None, "1.1"),
        ("1.1", "1.1"),
        ("1.50", "1.50"),
        ("latest", "1.115"),
        ("1.0", None),
        ("1.116", None),
        ("2.1", None),
        ("x", None),
        ("1", None),
        ("1.-5", None),
    ],
)
async def test_negotiation(api: World, asked: str | None, used: str | None) -> None:
    reply = await api.ask("GET", "/v1/nodes", version=asked)
    assert reply.status == (200 if used else 406)
    own = "x-openstack-ironic-api-"
    assert reply.headers[own + "minimum-version"] == "1.1"
    assert reply.headers[own + "maximum-version"] == "1.115"
    assert reply.headers.get(own + "version") == used
    if used is None:
        assert reply.error


async def test_the_common_header_counts_too(api: World) -> None:
    headers = {"OpenStack-API-Version": "compute 2.1, baremetal 1.20"}
    result = await api.client.simulate_get("/baremetal/v1/nodes", headers=headers)
    assert result.headers["x-openstack-ironic-api-version"] == "1.20"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v2", 404),
        ("GET", "/v1/allocations/nobody", 404),
        ("GET", "/v1/nodes/x/bios", 404),
        ("DELETE", "/v1/nodes", 405),
        ("PUT", "/v1/nodes/x", 405),
        ("GET", "/v1/nodes/nobody", 404),
        ("GET", "/v1/nodes/no%20body", 400),
        ("GET", "/v1/nodes/nobody/states", 404),
        ("GET", "/v1/drivers/nothing", 404),
        ("GET", "/v1/conductors/nobody", 404),
    ],
)
async def test_what_is_not_there(api: World, method: str, path: str, status: int) -> None:
    reply = await api.ask(method, path)
    assert reply.status == status and reply.error


async def test_drivers(api: World) -> None:
    listed = (await api.ask("GET", "/v1/drivers")).json["drivers"]
    assert {"redfish", "ipmi", "fake-hardware"} <= {one["name"] for one in listed}
    assert (await api.ask("GET", "/v1/drivers?type=classic")).json == {"drivers": []}
    whole = (await api.ask("GET", "/v1/drivers/fake-hardware")).json
    assert whole["default_power_interface"] == "fake" and whole["type"] == "dynamic"
    assert "fake" in whole["enabled_bios_interfaces"]
    old = (await api.ask("GET", "/v1/drivers/fake-hardware", version="1.13")).json
    assert set(old) == {"name", "hosts", "links"}
    properties = (await api.ask("GET", "/v1/drivers/ipmi/properties")).json
    assert "ipmi_address" in properties
    for query, version, status in (
        ("type=x", "1.115", 400),
        ("type=classic", "1.29", 406),
        ("fields=name", "1.76", 406),
        ("fields=name,hosts", "1.77", 200),
        ("fields=x", "1.77", 400),
        ("detail=true&fields=name", "1.77", 400),
        ("surprise=1", "1.115", 400),
    ):
        assert (await api.ask("GET", f"/v1/drivers?{query}", version=version)).status == status


async def test_conductors_and_who_cares_for_a_node(api: World) -> None:
    moment = api.baremetal.ctx.now()
    row = {"group_name": "", "beat": 1, "started_at": moment, "roles": "[]", "info": "{}"}
    rows = [
        {**row, "incarnation": "i1", "host": "host-1", "beat_at": moment},
        {**row, "incarnation": "i2", "host": "host-2", "beat_at": "2020-01-01T00:00:00+00:00"},
    ]
    await api.db.write(lambda conn: conn.execute(sa.insert(conductors), rows).rowcount)
    listed = (await api.ask("GET", "/v1/conductors")).json["conductors"]
    assert [(one["hostname"], one["alive"]) for one in listed] == [
        ("host-1", True),
        ("host-2", False),
    ]
    assert "fake-hardware" in (await api.ask("GET", "/v1/conductors/host-1")).json["drivers"]
    assert (await api.ask("GET", "/v1/drivers/ipmi")).json["hosts"] == ["host-1"]
    node = await api.node(name="n1")
    assert node["conductor"] == "host-1"
    for host, count in (("host-1", 1), ("host-2", 0)):
        found = (await api.ask("GET", f"/v1/nodes?conductor={host}")).json["nodes"]
        assert len(found) == count
    first = (await api.ask("GET", "/v1/conductors?limit=1")).json
    rest = (await api.ask("GET", first["next"].split("/baremetal", 1)[1])).json
    assert [one["hostname"] for one in rest["conductors"]] == ["host-2"]
    assert (await api.ask("GET", "/v1/conductors", version="1.48")).status == 404


#: Handlers of addresses that are wrong for everybody.
NOBODYS = ("malformed", "no_such_state")


def paths(api: World) -> list[tuple[str, str]]:
    fill = {"id": "n1", "trait": "CUSTOM_A", "vif": "v", "event": "e", "name": "ipmi", "host": "h"}
    fill |= {"setting": "s", "indicator": "led@system", "method": "m"}
    (service,) = api.app.services
    made: list[tuple[str, str]] = []
    for op in service.operations:
        if op.rule is None or getattr(op.handler, "__name__", "") in NOBODYS:
            continue
        # Some things have no name.
        known = fill | ({"id": UUID} if op.path.startswith(UNNAMED) else {})
        made.append(
            (op.method, re.sub(r"{(\w+)}", lambda found, known=known: known[found[1]], op.path))
        )
    return made


UUID = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"
UNNAMED = ("/v1/chassis", "/v1/volume/")


STEP = {"interface": "bios", "step": "s", "args": {}}
BODIES: dict[str, Any] = {
    "POST /v1/nodes": {"driver": "fake-hardware"},
    "PATCH /v1/nodes/n1": [{"op": "add", "path": "/extra/a", "value": 1}],
    "PATCH /v1/ports/n1": [{"op": "add", "path": "/extra/a", "value": 1}],
    "PUT /v1/nodes/n1/traits": {"traits": []},
    "PUT /v1/nodes/n1/states/power": {"target": "power on"},
    "PUT /v1/nodes/n1/states/provision": {"target": "manage"},
    "PUT /v1/nodes/n1/management/boot_device": {"boot_device": "pxe"},
    "PUT /v1/nodes/n1/states/raid": {},
    "PUT /v1/nodes/n1/states/console": {"enabled": True},
    "PUT /v1/nodes/n1/states/boot_mode": {"target": "uefi"},
    "PUT /v1/nodes/n1/states/secure_boot": {"target": True},
    "PUT /v1/nodes/n1/management/indicators/led@system": {"state": "on"},
    "POST /v1/nodes/n1/vmedia": {"device_type": "cdrom", "image_url": "http://h/i.iso"},
    "POST /v1/nodes/n1/vifs": {"id": "v"},
    "POST /v1/allocations": {"resource_class": "x"},
    "PATCH /v1/allocations/n1": [{"op": "add", "path": "/extra/a", "value": 1}],
    "POST /v1/deploy_templates": {"name": "CUSTOM_A", "steps": [STEP | {"priority": 1}]},
    "PATCH /v1/deploy_templates/n1": [{"op": "add", "path": "/extra/a", "value": 1}],
    "POST /v1/runbooks": {"name": "CUSTOM_A", "steps": [STEP | {"order": 1}]},
    "PATCH /v1/runbooks/n1": [{"op": "add", "path": "/extra/a", "value": 1}],
    "PUT /v1/runbooks/n1/traits": {"traits": []},
    "POST /v1/inspection_rules": {"actions": [{"op": "fail", "args": {"msg": "x"}}]},
    "PATCH /v1/inspection_rules/n1": [],
    "POST /v1/ports": {"address": "52:54:00:00:00:01", "node_ident": "n1"},
    "POST /v1/portgroups": {"node_uuid": UUID},
    "POST /v1/chassis": {},
    "POST /v1/volume/connectors": {"node_uuid": UUID, "type": "ip", "connector_id": "x"},
    "POST /v1/volume/targets": {
        "node_uuid": UUID,
        "volume_type": "x",
        "volume_id": "x",
        "boot_index": 0,
    },
    "POST /v1/events": {
        "events": [
            {
                "event": "network.bind_port",
                "port_id": UUID,
                "mac_address": "52:54:00:00:00:01",
                "status": "ACTIVE",
            }
        ]
    },
    **{
        f"PATCH /v1/{thing}": [{"op": "add", "path": "/extra/a", "value": 1}]
        for thing in (
            "portgroups/n1",
            f"chassis/{UUID}",
            f"volume/connectors/{UUID}",
            f"volume/targets/{UUID}",
        )
    },
}


#: What a role may do in any project, for itself.
OWN = {"POST /v1/allocations": "member", "POST /v1/runbooks": "manager"}


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (ANONYMOUS, {401}),
        # A token without any role.
        (Caller(user_id="u", project_id="p1"), {403, 404, 400}),
        # A reader of another project: sees nothing of the node, lists are empty.
        (project("reader", "other"), {403, 404, 400}),
        (project("member", "other"), {403, 404, 400}),
        (project("manager", "other"), {403, 404, 400}),
    ],
)
async def test_every_route_without_rights(api: World, caller: Caller, allowed: set[int]) -> None:
    await api.node(name="n1", owner="p1x")
    api.become(caller)
    lists = {"/v1/nodes", "/v1/nodes/detail", "/v1/ports", "/v1/ports/detail"}
    lists |= {"/v1/allocations", "/v1/runbooks", "/v1/portgroups", "/v1/portgroups/detail"}
    lists |= {"/v1/volume/connectors", "/v1/volume/targets"}
    for method, path in paths(api):
        reply = await api.ask(method, path, BODIES.get(f"{method} {path}"))
        if path in lists and method == "GET" and "reader" in caller.roles:
            assert reply.status == 200
            assert next(iter(reply.json.values())) == []
            continue
        if OWN.get(f"{method} {path}") in caller.roles:
            assert reply.status == 201
            continue
        assert reply.status in allowed, (method, path, reply.status, reply.json)
        if reply.status == 400:
            # Only where the rights are asked after the query or body was found wanting.
            assert path == "/v1/nodes/validate", (method, path)
    api.become(system())
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (shown["provision_state"], shown["extra"]) == ("enroll", {})
