"""Fields of nodes and their parts: at the microversion where upstream has them; network data; children.

The judge of the microversions is the `ironic` 39 package (see test_api_policy).
"""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, project, world
from test_api_policy import upstream

from ingot.kit.faults import Invalid
from ingot.services.baremetal.boot import network_data
from ingot.services.baremetal.nodes import node_fields
from ingot.services.baremetal.ports import resources as port_resources

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def change(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path} | ({} if op == "remove" else {"value": value})


# -- microversions -------------------------------------------------------------------------------


def controllers() -> Path:
    return upstream() / "api/controllers/v1"


def upstream_versions(folder: Path) -> dict[str, int]:
    """Field of a node -> minor version, from upstream's table, without running it."""
    minors = {
        target.id: statement.value.value
        for statement in ast.parse((folder / "versions.py").read_text()).body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    for statement in ast.parse((folder / "utils.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == (
            "VERSIONED_FIELDS"
        ):
            assert isinstance(statement.value, ast.Dict)
            return {
                ast.literal_eval(key): minors[ast.unparse(value).partition(".")[2]]
                for key, value in zip(statement.value.keys, statement.value.values, strict=True)
                if key is not None
            }
    raise AssertionError("upstream's table is not where it was")


def test_nodes_have_the_fields_of_upstream_at_their_versions() -> None:
    wanted = upstream_versions(controllers())
    wanted.pop("events")
    assert len(wanted) > 30
    ours = {field.name: field.since for field in node_fields.NODE.fields}
    assert {name: ours.get(name) for name in wanted} == wanted
    younger = {name for name, since in ours.items() if since > 1} - set(wanted)
    interfaces = ("boot", "console", "deploy", "inspect", "management", "power", "raid", "vendor")
    assert younger == {f"{name}_interface" for name in interfaces}
    assert {ours[name] for name in younger} == {31}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (port_resources.PORTGROUP, "portgroup"),
        (port_resources.CHASSIS, "chassis"),
        (port_resources.CONNECTOR, "connector"),
        (port_resources.TARGET, "target"),
    ],
)
def test_parts_have_the_fields_of_upstream(
    resource: port_resources.PartKind, expected: str
) -> None:
    folder = controllers().parents[1] / "schemas/v1"
    prefix = "volume_" if expected in ("connector", "target") else ""
    tree = ast.parse((folder / f"{prefix}{expected}.py").read_text())
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == (
            f"_{expected}_response_body"
        ):
            assert isinstance(statement.value, ast.Dict)
            properties = statement.value.values[1]
            assert isinstance(properties, ast.Dict)
            names = {ast.literal_eval(key) for key in properties.keys if key is not None}
            assert set(resource.fields.by_name) | {"links"} == names
            return
    raise AssertionError("upstream's schema is not where it was")


# -- queries -------------------------------------------------------------------------------------


async def test_field_names_in_any_case(api: World) -> None:
    await api.node(name="n1")
    shown = (await api.ask("GET", "/v1/nodes/n1?fields=UUID,%20Name")).json
    assert set(shown) == {"uuid", "name", "links"}


async def test_parents_and_children(api: World) -> None:
    parent = await api.node(name="dpu-host", owner="p1")
    foreign = await api.node(name="other", owner="p2")
    uuid = parent["uuid"]
    child = await api.node(name="dpu", parent_node="dpu-host", owner="p1")
    assert child["parent_node"] == uuid
    for body in ({"parent_node": "dpu-host"}, {"parent_node": foreign["uuid"], "owner": "p1"}):
        reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware", **body})
        assert reply.status == 400, body
    for query, names in {
        "": ["dpu-host", "other"],
        f"parent_node={uuid}": ["dpu"],
        f"parent_node={uuid}&include_children=false": ["dpu"],
        f"parent_node={uuid}&include_children=true": ["dpu-host", "other", "dpu"],
        "include_children=true": ["dpu-host", "other", "dpu"],
    }.items():
        for path in ("/v1/nodes", "/v1/nodes/detail"):
            found = (await api.ask("GET", f"{path}?{query}")).json["nodes"]
            assert [one["name"] for one in found] == names, query
            if query:
                assert (await api.ask("GET", f"{path}?{query}", version="1.82")).status == 406
    told = (await api.ask("GET", "/v1/nodes/dpu-host/children")).json
    assert told["children"] == [child["uuid"]]
    assert told["links"]["href"].endswith(f"/v1/nodes?parent_node={uuid}")
    assert (await api.ask("GET", "/v1/nodes/dpu-host/children", version="1.82")).status == 404
    assert (await api.ask("GET", "/v1/nodes/nobody/children")).status == 404
    api.become(project("reader", "p2"))
    assert (await api.ask("GET", "/v1/nodes/dpu-host/children")).status == 404


async def test_reasons_go_with_their_flags(api: World) -> None:
    await api.node(name="n1", retired=True, retired_reason="old")
    await api.force("n1", provision_state="active")
    path = "/v1/nodes/n1"
    both = [change("add", "/protected", True), change("add", "/protected_reason", "mine")]
    shown = (await api.ask("PATCH", path, both)).json
    assert (shown["protected_reason"], shown["retired_reason"]) == ("mine", "old")
    off = [change("replace", "/protected", False), change("replace", "/retired", "no")]
    shown = (await api.ask("PATCH", path, off)).json
    assert (shown["protected_reason"], shown["retired_reason"]) == (None, None)
    for name in ("protected", "retired"):
        alone = [change("add", f"/{name}_reason", "why")]
        assert (await api.ask("PATCH", path, alone)).status == 400
    await api.force("n1", provision_state="available")
    assert (await api.ask("PATCH", path, [change("add", "/retired", True)])).status == 409


@pytest.mark.parametrize("name", ["health", "fault", "conductor", "allocation_uuid", "reservation"])
async def test_what_only_the_cloud_sets(api: World, name: str) -> None:
    await api.node(name="n1")
    body = {"driver": "fake-hardware", name: "x"}
    assert (await api.ask("POST", "/v1/nodes", body)).status == 400
    patch = [change("add", f"/{name}", "x")]
    assert (await api.ask("PATCH", "/v1/nodes/n1", patch)).status == 400


# -- network data --------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "links": [
        {"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:00:00:01", "mtu": 1500},
        {"id": "eth1", "type": "vif", "ethernet_mac_address": "52:54:00:00:00:02", "mtu": None},
        {
            "id": "bond0",
            "type": "bond",
            "ethernet_mac_address": "52:54:00:00:00:01",
            "bond_mode": "802.3ad",
            "bond_links": ["eth0", "eth1"],
            "more": 1,
        },
        {
            "id": "v",
            "type": "vlan",
            "vlan_mac_address": "52:54:00:00:00:01",
            "vlan_link": "bond0",
            "vlan_id": 5,
        },
    ],
    "networks": [
        {
            "id": "n4",
            "type": "ipv4",
            "link": "v",
            "network_id": "x",
            "ip_address": "192.0.2.9",
            "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}],
        },
        {
            "id": "n6",
            "type": "ipv6",
            "link": "v",
            "network_id": "x",
            "ip_address": "2001:db8::9/64",
            "netmask": "ffff:ffff::",
            "routes": [
                {
                    "network": "::",
                    "netmask": "::",
                    "gateway": "fe80::1%eth0",
                    "services": [{"type": "dns", "address": "2001:db8::53"}],
                }
            ],
        },
        {"id": "d", "type": "ipv4_dhcp", "link": "eth0", "network_id": "y"},
    ],
    "services": [{"type": "dns", "address": "192.0.2.53"}],
}

BAD: list[tuple[str, Any]] = [
    ("links", None),
    ("links/0/type", "wireless"),
    ("links/0/type", None),
    ("links/0/ethernet_mac_address", "x"),
    ("links/0/ethernet_mac_address", None),
    ("links/0/mtu", 0),
    ("links/0/mtu", "1500"),
    ("links/0", 5),
    ("links/2/bond_mode", "together"),
    ("links/2/bond_links", "eth0"),
    ("links/3/vlan_id", "5"),
    ("networks/0/type", "ipx"),
    ("networks/0/link", 5),
    ("networks/0/ip_address", "192.0.2.999"),
    ("networks/0/ip_address", "2001:db8::9"),
    ("networks/0/netmask", "255.0.255.0"),
    ("networks/0/routes/0/gateway", "x"),
    ("networks/0/routes/0/network", None),
    ("networks/1/ip_address", "192.0.2.9"),
    ("networks/1/routes/0/services/0/type", "ntp"),
    ("networks/1/routes/0/services/0/address", "x"),
    ("services", {}),
    ("services/0/address", "x"),
]


def altered(place: str, value: Any) -> dict[str, Any]:
    whole = json.loads(json.dumps(GOOD))
    here: Any = whole
    *way, last = place.split("/")
    for step in way:
        here = here[int(step)] if isinstance(here, list) else here[step]
    if isinstance(here, list):
        here[int(last)] = value
    else:
        here[last] = value
    return whole


def test_good_network_data() -> None:
    network_data.check({})
    network_data.check(GOOD)


@pytest.mark.parametrize(("place", "value"), BAD)
def test_bad_network_data(place: str, value: Any) -> None:
    with pytest.raises(Invalid, match="Invalid network_data"):
        network_data.check(altered(place, value))


@pytest.mark.parametrize("missing", GOOD)
def test_network_data_is_whole(missing: str) -> None:
    with pytest.raises(Invalid):
        network_data.check({name: part for name, part in GOOD.items() if name != missing})


def test_upstream_decides_alike_on_network_data() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((controllers() / "network-data-schema.json").read_text())
    jsonschema.validate(GOOD, schema)
    for place, value in BAD:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(altered(place, value), schema)


async def test_network_data_by_the_api(api: World) -> None:
    await api.node(name="n1", network_data=GOOD)
    bad = altered("links/0/type", "wireless")
    reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "network_data": bad})
    assert reply.status == 400 and "links[0]" in reply.error
    for value, status in ((bad, 400), ({}, 200), (GOOD, 200), (None, 200)):
        patch = [change("add", "/network_data", value)]
        reply = await api.ask("PATCH", "/v1/nodes/n1", patch)
        assert reply.status == status, reply.json
    assert reply.json["network_data"] == {}
