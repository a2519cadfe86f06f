"""Nodes by the API: creation, fields by microversion, lists, patches, guards, secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, world

from ingot.services.baremetal import store

pytestmark = pytest.mark.anyio
PATCH = list[dict[str, Any]]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def change(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path} | ({} if op == "remove" else {"value": value})


# -- creation ------------------------------------------------------------------------------------


async def test_create_show_delete(api: World) -> None:
    reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware", "name": "n1"})
    assert reply.status == 201
    uuid = reply.json["uuid"]
    assert reply.headers["location"].endswith(f"/baremetal/v1/nodes/{uuid}")
    assert reply.headers["openstack-request-id"].startswith("req-")
    assert reply.json["provision_state"] == "enroll"
    by_name, by_uuid = (
        await api.ask("GET", "/v1/nodes/n1"),
        await api.ask("GET", f"/v1/nodes/{uuid}"),
    )
    assert by_name.json == by_uuid.json == reply.json
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 204
    assert (await api.ask("GET", "/v1/nodes/n1")).status == 404


async def test_old_microversions_begin_available(api: World) -> None:
    for version, shown in (("1.1", None), ("1.2", "available"), ("1.10", "available")):
        reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}, version)
        assert (reply.status, reply.json["provision_state"]) == (201, shown)
    reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware"}, "1.11")
    assert reply.json["provision_state"] == "enroll"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"driver": 1}, 400),
        ({"driver": "no-such"}, 400),
        ({"driver": "fake-hardware", "unknown": 1}, 400),
        ({"driver": "fake-hardware", "provision_state": "active"}, 400),
        ({"driver": "fake-hardware", "name": "bad name!"}, 400),
        ({"driver": "fake-hardware", "name": "detail"}, 400),
        ({"driver": "fake-hardware", "name": "4dba6db3-96d7-4cf1-bc8b-d77df3461545"}, 400),
        ({"driver": "fake-hardware", "uuid": "x"}, 400),
        ({"driver": "fake-hardware", "driver_info": []}, 400),
        ({"driver": "fake-hardware", "properties": "x"}, 400),
        ({"driver": "fake-hardware", "resource_class": "x" * 81}, 400),
        ({"driver": "fake-hardware", "description": "x" * 4097}, 400),
        ({"driver": "fake-hardware", "retired": "perhaps"}, 400),
        ({"driver": "fake-hardware", "power_interface": "ipmitool"}, 400),
        ({"driver": "fake-hardware", "chassis_uuid": "4dba6db3-96d7-4cf1-bc8b-d77df3461545"}, 400),
        ({"driver": "fake-hardware", "parent_node": "nobody"}, 400),
    ],
)
async def test_bad_bodies(api: World, body: dict[str, Any], status: int) -> None:
    reply = await api.ask("POST", "/v1/nodes", body)
    assert reply.status == status and reply.error
    assert (await api.ask("GET", "/v1/nodes")).json["nodes"] == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"x"', 400),
        (b"\xff", 400),
        (b'{"driver":"fake-hardware","extra":' + b'{"a":' * 30 + b"1" + b"}" * 31, 400),
        (b'{"driver":"fake-hardware","description":"' + b"x" * (1 << 20) + b'"}', 413),
    ],
)
async def test_bad_octets(api: World, raw: bytes, status: int) -> None:
    assert (await api.ask("POST", "/v1/nodes", raw=raw)).status == status


async def test_what_is_taken_is_a_conflict(api: World) -> None:
    first = await api.node(name="n1")
    second = await api.node(name="n2")
    instance = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"
    for body in ({"name": "n1"}, {"uuid": first["uuid"]}):
        reply = await api.ask("POST", "/v1/nodes", {"driver": "fake-hardware", **body})
        assert reply.status == 409
    for path, value in (("/name", "n1"), ("/instance_uuid", instance)):
        if value == instance:
            patched = await api.ask("PATCH", "/v1/nodes/n1", [change("add", path, value)])
            assert patched.status == 200
        reply = await api.ask("PATCH", f"/v1/nodes/{second['uuid']}", [change("add", path, value)])
        assert reply.status == 409


@pytest.mark.parametrize(
    ("field", "value", "since"),
    [
        ("name", "x", 5),
        ("network_interface", "noop", 20),
        ("resource_class", "x", 21),
        ("boot_interface", "fake", 31),
        ("conductor_group", "g", 46),
        ("owner", "p", 50),
        ("retired", True, 61),
        ("shard", "s", 82),
        ("disable_power_off", True, 95),
        ("instance_name", "i", 104),
    ],
)
async def test_newer_attributes_are_not_acceptable(
    api: World, field: str, value: Any, since: int
) -> None:
    node = await api.node()
    for minor, ok in ((since - 1, False), (since, True)):
        version = f"1.{minor}"
        body = {"driver": "fake-hardware", field: value}
        created = await api.ask("POST", "/v1/nodes", body, version)
        assert created.status == (201 if ok else 406)
        if ok and field == "name":
            await api.ask("DELETE", f"/v1/nodes/{created.json['uuid']}")
        patched = await api.ask(
            "PATCH", f"/v1/nodes/{node['uuid']}", [change("add", f"/{field}", value)], version
        )
        assert patched.status == (200 if ok else 406), patched.json
        shown = await api.ask("GET", f"/v1/nodes/{node['uuid']}", version=version)
        assert (field in shown.json) is ok
        for query in (f"fields={field}", f"sort_key={field}"):
            listed = await api.ask("GET", f"/v1/nodes?{query}", version=version)
            known = ok and (minor >= 8 or query.startswith("sort"))
            assert listed.status == (200 if known else 406)


# -- lists ---------------------------------------------------------------------------------------


async def test_pages_and_order(api: World) -> None:
    names = [f"n{i:02}" for i in range(7)]
    for number, name in enumerate(names):
        await api.node(name=name, resource_class=None if number % 3 else "big")
    seen: list[str] = []
    path: str | None = "/v1/nodes?limit=3&sort_key=name&sort_dir=desc"
    while path:
        reply = await api.ask("GET", path)
        seen += [node["name"] for node in reply.json["nodes"]]
        following = reply.json.get("next")
        path = following.split("/baremetal", 1)[1] if following else None
    assert seen == sorted(names, reverse=True)
    seen, path = [], "/v1/nodes?limit=2&sort_key=resource_class&fields=name"
    while path:
        reply = await api.ask("GET", path)
        seen += [node["name"] for node in reply.json["nodes"]]
        assert all(set(node) == {"name", "links"} for node in reply.json["nodes"])
        following = reply.json.get("next")
        path = following.split("/baremetal", 1)[1] if following else None
    assert sorted(seen) == names and seen[-3:] == ["n00", "n03", "n06"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=-1", 400),
        ("limit=0", 400),
        ("limit=x", 400),
        ("limit=5000", 200),
        ("marker=x", 400),
        ("marker=4dba6db3-96d7-4cf1-bc8b-d77df3461545", 404),
        ("sort_key=properties", 400),
        ("sort_key=nonsense", 400),
        ("sort_key=boot_intent", 400),
        ("sort_dir=up", 400),
        ("fields=nonsense", 400),
        ("fields=uuid&detail=true", 400),
        ("detail=perhaps", 400),
        ("maintenance=perhaps", 400),
        ("provision_state=dancing", 400),
        ("fault=tired", 400),
        ("unknown=1", 400),
        ("instance_uuid=x", 400),
        ("shard=a,b", 200),
    ],
)
async def test_bad_queries(api: World, query: str, status: int) -> None:
    reply = await api.ask("GET", f"/v1/nodes?{query}")
    assert reply.status == status
    assert status == 200 or reply.error


async def test_filters(api: World) -> None:
    await api.node(name="a", resource_class="x", owner="p1", shard="s", description="Rack 5%")
    await api.node(name="b", lessee="p1", conductor_group="G", maintenance=True)
    await api.node(name="c", parent_node="b", retired=True)
    await api.ask(
        "PATCH",
        "/v1/nodes/a",
        [change("add", "/instance_uuid", "4dba6db3-96d7-4cf1-bc8b-d77df3461545")],
    )
    for query, names in {
        "": "ab",
        "include_children=true": "abc",
        "parent_node=b": "",
        "resource_class=x": "a",
        "owner=p1": "a",
        "lessee=p1": "b",
        "project=p1": "ab",
        "associated=true": "a",
        "associated=false": "b",
        "maintenance=True": "b",
        "conductor_group=g": "b",
        "sharded=true": "a",
        "shard=s,t": "a",
        "description_contains=5%25": "a",
        "description_contains=R_ck": "",
        "provision_state=enroll": "ab",
        "driver=redfish": "",
        "retired=false": "ab",
        "instance_uuid=4dba6db3-96d7-4cf1-bc8b-d77df3461545": "a",
    }.items():
        reply = await api.ask("GET", f"/v1/nodes?{query}")
        assert "".join(node["name"] for node in reply.json["nodes"]) == names, query
    parent = (await api.ask("GET", "/v1/nodes/b")).json["uuid"]
    listed = await api.ask("GET", f"/v1/nodes?parent_node={parent}")
    assert [node["name"] for node in listed.json["nodes"]] == ["c"]
    assert len((await api.ask("GET", "/v1/nodes/b/children")).json["children"]) == 1


async def test_detail_shows_what_show_shows(api: World) -> None:
    await api.node(name="a", extra={"x": [1, {"y": None}]})
    await api.ask("PUT", "/v1/nodes/a/traits", {"traits": ["CUSTOM_B", "CUSTOM_A"]})
    for minor in (1, 2, 5, 14, 31, 37, 46, 75, 83, 95, 109, 115):
        version = f"1.{minor}"
        one = (await api.ask("GET", "/v1/nodes/detail", version=version)).json["nodes"][0]
        assert (await api.ask("GET", f"/v1/nodes/{one['uuid']}", version=version)).json == one
        assert ("traits" in one) is (minor >= 37)
    assert one["traits"] == ["CUSTOM_A", "CUSTOM_B"]


# -- patches -------------------------------------------------------------------------------------


async def test_patch_is_all_or_nothing(api: World) -> None:
    await api.node(name="n1", extra={"a": 1})
    good = change("add", "/extra/b", {"c": [1]})
    assert (await api.ask("PATCH", "/v1/nodes/n1", [good])).json["extra"] == {
        "a": 1,
        "b": {"c": [1]},
    }
    bad: list[tuple[Any, int]] = [
        ([change("remove", "/extra/none")], 400),
        ([change("add", "/unknown", 1)], 400),
        ([change("replace", "/provision_state", "active")], 400),
        ([change("add", "/power_state", "power on")], 400),
        ([change("add", "/traits", ["CUSTOM_A"])], 400),
        ([change("remove", "/driver")], 400),
        ([change("replace", "/driver", "no-such")], 400),
        ([change("replace", "/extra", 5)], 400),
        ([change("replace", "/name", "a b")], 400),
        ([change("replace", "/retired", "perhaps")], 400),
        ([{"op": "test", "path": "/extra/a", "value": 1}], 400),
        ([{"op": "add", "path": "/extra/z"}], 400),
        ({"op": "add"}, 400),
        ([change("add", "/retired_reason", "why")], 400),
        ([change("add", "/protected", True)], 409),
    ]
    for patch, status in bad:
        both = [change("add", "/extra/early", 1), *patch] if isinstance(patch, list) else patch
        reply = await api.ask("PATCH", "/v1/nodes/n1", both)
        assert reply.status == status, (patch, reply.json)
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert shown["extra"] == {"a": 1, "b": {"c": [1]}}


async def test_removing_puts_defaults(api: World) -> None:
    await api.node(name="n1", properties={"cpus": 4}, owner="p", conductor_group="g")
    patch = [change("remove", f"/{name}") for name in ("properties", "owner", "conductor_group")]
    shown = (await api.ask("PATCH", "/v1/nodes/n1", patch)).json
    assert (shown["properties"], shown["owner"], shown["conductor_group"]) == ({}, None, "")


async def test_driver_change(api: World) -> None:
    await api.node(name="n1")
    patch = [change("replace", "/driver", "manual-management")]
    assert (await api.ask("PATCH", "/v1/nodes/n1", patch)).status in (200, 400)
    reply = await api.ask(
        "PATCH", "/v1/nodes/n1?reset_interfaces=true", [change("replace", "/driver", "ipmi")]
    )
    assert reply.status == 200
    assert reply.json["power_interface"] == "ipmitool"
    reply = await api.ask(
        "PATCH", "/v1/nodes/n1?reset_interfaces=true", [change("add", "/extra/a", 1)]
    )
    assert reply.status == 400


async def test_guards_of_states(api: World) -> None:
    await api.node(name="n1", resource_class="big")
    await api.force("n1", provision_state="deploying", target_provision_state="active")
    extra = [change("add", "/extra/a", 1)]
    assert (await api.ask("PATCH", "/v1/nodes/n1", extra)).status == 409
    await api.force("n1", provision_state="deploy failed")
    assert (await api.ask("PATCH", "/v1/nodes/n1", extra)).status == 200
    await api.force("n1", provision_state="active", target_provision_state=None)
    for path, value, status in (
        ("/resource_class", "small", 409),
        ("/boot_interface", "ipxe", 409),
        ("/retired", True, 200),
        ("/protected", True, 200),
        ("/extra/b", 1, 200),
    ):
        reply = await api.ask("PATCH", "/v1/nodes/n1", [change("add", path, value)])
        assert reply.status == status, path
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 403
    await api.ask("PATCH", "/v1/nodes/n1", [change("replace", "/protected", False)])
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 409
    await api.ask("PUT", "/v1/nodes/n1/maintenance")
    reply = await api.ask("PATCH", "/v1/nodes/n1", [change("add", "/boot_interface", "ipxe")])
    assert reply.status == 200
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 204


async def test_instances_and_deletion(api: World) -> None:
    first, second = (f"4dba6db3-96d7-4cf1-bc8b-d77df346154{i}" for i in (1, 2))
    await api.node(name="n1")
    patch = [change("add", "/instance_uuid", first)]
    assert (await api.ask("PATCH", "/v1/nodes/n1", patch)).status == 200
    reply = await api.ask("PATCH", "/v1/nodes/n1", [change("replace", "/instance_uuid", second)])
    assert reply.status == 409
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 409
    assert (
        await api.ask("PATCH", "/v1/nodes/n1", [change("remove", "/instance_uuid")])
    ).status == 200
    assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 204


# -- secrets -------------------------------------------------------------------------------------


async def test_secrets_stay_inside(api: World) -> None:
    await api.node(
        name="n1", driver_info={"fake_password": "hunter2", "deep": {"my_token": "sesame-t1"}}
    )
    info = (await api.ask("GET", "/v1/nodes/n1")).json["driver_info"]
    assert info == {"fake_password": "******", "deep": {"my_token": "******"}}

    def stored(conn: Any) -> tuple[dict[str, Any], str]:
        node = store.get_node(conn, "n1")
        rows = conn.exec_driver_sql("SELECT * FROM nodes").all()
        secrets = conn.exec_driver_sql("SELECT * FROM node_secrets").all()
        return api.baremetal.ctx.driver_info(conn, node), f"{rows}{secrets}"

    plain, text = await api.db.read(stored)
    assert plain == {"fake_password": "hunter2", "deep": {"my_token": "sesame-t1"}}
    assert "hunter2" not in text and "sesame" not in text
    # What a client read it may write back; what it changes is changed.
    patch = [change("replace", "/driver_info", {**info, "fake_id": "f"})]
    await api.ask("PATCH", "/v1/nodes/n1", patch)
    assert (await api.db.read(stored))[0] == {**plain, "fake_id": "f"}
    await api.ask("PATCH", "/v1/nodes/n1", [change("add", "/driver_info/fake_password", "new")])
    assert (await api.db.read(stored))[0]["fake_password"] == "new"
    await api.ask("PATCH", "/v1/nodes/n1", [change("remove", "/driver_info/fake_password")])
    plain, text = await api.db.read(stored)
    assert "fake_password" not in plain and plain["deep"] == {"my_token": "sesame-t1"}


# -- traits, maintenance, validation -------------------------------------------------------------


async def test_traits(api: World) -> None:
    await api.node(name="n1")
    path = "/v1/nodes/n1/traits"
    assert (await api.ask("PUT", f"{path}/CUSTOM_A")).status == 204
    assert (await api.ask("PUT", path, {"traits": ["CUSTOM_B", "HW_CPU_X86_VMX"]})).status == 204
    assert (await api.ask("GET", path)).json == {"traits": ["CUSTOM_B", "HW_CPU_X86_VMX"]}
    assert (await api.ask("DELETE", f"{path}/CUSTOM_A")).status == 404
    assert (await api.ask("DELETE", f"{path}/CUSTOM_B")).status == 204
    for bad in ("custom_a", "CUSTOM-A", "CUSTOM_" + "A" * 255, "NOT_KNOWN"):
        assert (await api.ask("PUT", f"{path}/{bad}")).status == 400
    many = [f"CUSTOM_{i}" for i in range(51)]
    assert (await api.ask("PUT", path, {"traits": many})).status == 400
    assert (await api.ask("PUT", path, {"traits": "CUSTOM_A"})).status == 400
    assert (await api.ask("PUT", path, {})).status == 400
    assert (await api.ask("PUT", f"{path}/CUSTOM_A", {"traits": []})).status == 400
    # As upstream, where these paths were odd spellings of others before.
    for method, body, status in (
        ("GET", None, 406),
        ("PUT", {"traits": []}, 405),
        ("DELETE", None, 404),
    ):
        assert (await api.ask(method, path, body, "1.36")).status == status
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("GET", path)).json == {"traits": []}


async def test_maintenance(api: World) -> None:
    await api.node(name="n1")
    await api.force("n1", fault="power failure")
    assert (await api.ask("PUT", "/v1/nodes/n1/maintenance", {"reason": "fans"})).status == 202
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (shown["maintenance"], shown["maintenance_reason"]) == (True, "fans")
    assert (await api.ask("PUT", "/v1/nodes/n1/maintenance", {"why": 1})).status == 400
    assert (await api.ask("DELETE", "/v1/nodes/n1/maintenance")).status == 202
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert (shown["maintenance"], shown["maintenance_reason"], shown["fault"]) == (
        False,
        None,
        None,
    )


async def test_the_agent_is_shown_where_upstream_keeps_it(api: World) -> None:
    from ingot.services.baremetal.tables import node_agents

    made = await api.node(name="n1")
    await api.node(name="n2")
    agent = {
        "url": 'https://10.0.0.7:9999/"',
        "version": "10.1",
        "last_heartbeat": "2026-11-30T05:00:00",
    }
    row = {"node_uuid": made["uuid"], "token_hash": "x", **agent}
    shown: list[dict[str, Any]] = []
    boots: dict[str, Any] = {
        "boot_seen_at": "2026-11-30T05:00:01",
        "instance_stopped": True,
        "bmc_identity": {"serial": "S1"},
        "unasked_boot_at": "2026-11-30T05:00:02",
        "unasked_boot_mac": "52:54:00:00:00:01",
        "driver_internal_info": {"of_a_driver": 1},
    }
    for columns in ({}, boots):
        if columns:
            await api.db.write(lambda conn: conn.execute(node_agents.insert().values(**row)))
            await api.force("n1", **columns)
        shown.append((await api.ask("GET", "/v1/nodes/n1")).json["driver_internal_info"])
    assert shown == [
        {},
        {
            "of_a_driver": 1,
            "boot_seen": "2026-11-30T05:00:01",
            "instance_stopped": True,
            "bmc_identity": {"serial": "S1"},
            "unasked_boot": {"at": "2026-11-30T05:00:02", "mac": "52:54:00:00:00:01"},
            "agent_url": agent["url"],
            "agent_version": "10.1",
            "agent_last_heartbeat": "2026-11-30T05:00:00",
        },
    ]
    listed = (await api.ask("GET", "/v1/nodes/detail")).json["nodes"]
    assert [len(one["driver_internal_info"]) for one in listed] == [8, 0]
    some = (await api.ask("GET", "/v1/nodes?fields=name,driver_internal_info")).json["nodes"]
    assert some[0]["driver_internal_info"] == shown[1]
    plain = (await api.ask("GET", "/v1/nodes?fields=name")).json["nodes"]
    assert "driver_internal_info" not in plain[0]


async def test_options_that_nobody_knows_are_a_warning(api: World) -> None:
    info = {"ipmi_address": "10.0.0.1", "ipmi_verify_ca": False, "ipmi_passwort": "x"}
    await api.node(name="n1", driver="ipmi", driver_info=info)
    result = (await api.ask("GET", "/v1/nodes/n1/validate")).json
    for name in ("power", "management"):
        assert result[name]["result"] is True
        assert "Warning: ipmi_verify_ca is not an option of ipmi" in result[name]["reason"]
        assert "did you mean ipmi_password?" in result[name]["reason"]
    assert result["network"] == {"result": True}


async def test_validate_tells_what_is_missing(api: World) -> None:
    await api.node(name="n1", driver="ipmi")
    result = (await api.ask("GET", "/v1/nodes/n1/validate")).json
    assert result["power"]["result"] is False and "ipmi_address" in result["power"]["reason"]
    assert result["network"] == {"result": True}
    assert result["deploy"]["result"] is False
    assert (await api.ask("GET", "/v1/nodes/validate?node=n1")).json == result
    assert (await api.ask("GET", "/v1/nodes/validate")).status == 400
