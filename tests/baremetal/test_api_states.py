"""Verbs, power, boot device and VIFs by the API; claims and instances by the front door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from api_support import World, world

from ingot import workflow
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Locked
from ingot.kit.tasks.clock import SystemClock
from ingot.services.baremetal import (
    BaremetalSettings,
    Candidate,
    CandidateQuery,
    VerbArguments,
    store,
)
from ingot.services.baremetal.boot.imagerights import CLOUD
from ingot.services.baremetal.inspection import store as inventories
from ingot.services.baremetal.loops import FollowUps
from ingot.services.baremetal.nodes import history_store
from ingot.services.baremetal.nodes import states as machine

pytestmark = pytest.mark.anyio
INSTANCE = "4dba6db3-96d7-4cf1-bc8b-d77df3461545"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def live(api: World, name: str) -> workflow.OperationRow | None:
    return await api.db.read(
        lambda conn: workflow.live_operation(conn, store.get_node(conn, name).subject)
    )


# -- verbs ---------------------------------------------------------------------------------------

ARGS: dict[str, dict[str, Any]] = {
    "clean": {"clean_steps": [{"interface": "bios", "step": "factory_reset"}]},
    "service": {"service_steps": [{"interface": "power", "step": "reboot"}]},
    "rescue": {"rescue_password": "pw"},
}


@pytest.mark.parametrize("verb", sorted(machine.VERBS))
async def test_every_verb_in_every_state(api: World, verb: str) -> None:
    """202 exactly where the table has the verb; the state follows the table, the operation too."""
    await api.node(
        name="n1", driver_info={"deploy_kernel": "http://k", "deploy_ramdisk": "http://r"}
    )
    event, _since = machine.VERBS[verb]
    for name, state in machine.STATES.items():
        await api.end_operations()
        await api.force("n1", provision_state=name, target_provision_state=None, reservation=None)
        row = machine.following(name, event) if state.kind != "working" else None
        body = {"target": verb, **ARGS.get(verb, {})}
        reply = await api.ask("PUT", "/v1/nodes/n1/states/provision", body)
        shown = (await api.ask("GET", "/v1/nodes/n1")).json
        if row is None:
            assert (reply.status, shown["provision_state"]) == (400, name), (name, reply.json)
            assert await live(api, "n1") is None
            continue
        if event == "unhold":
            # Nothing is really held here.
            assert reply.status == 409
            continue
        kind = machine.STATES[row.next].operation if event != "abort" else ""
        assert (reply.status, shown["provision_state"]) == (202, row.next), (name, reply.json)
        assert reply.headers["location"].endswith("/baremetal/v1/nodes/n1/states")
        assert reply.json is None
        operation = await live(api, "n1")
        assert (operation.kind if operation else "") == kind
        assert shown["reservation"] == ("host-1" if kind else None)
        if kind:
            assert shown["target_provision_state"] == (row.target or None)
            second = await api.ask("PUT", "/v1/nodes/n1/states/provision", body)
            assert second.status == 409


@pytest.mark.parametrize(
    ("state", "body", "version", "status"),
    [
        ("enroll", {"target": "dance"}, "1.115", 400),
        ("enroll", {}, "1.115", 400),
        ("enroll", {"target": "manage", "more": 1}, "1.115", 400),
        ("enroll", {"target": 5}, "1.115", 400),
        ("enroll", {"target": "manage"}, "1.3", 406),
        ("manageable", {"target": "inspect"}, "1.5", 406),
        ("clean wait", {"target": "abort"}, "1.12", 406),
        ("inspect wait", {"target": "abort"}, "1.40", 406),
        ("wait call-back", {"target": "abort"}, "1.109", 406),
        ("manageable", {"target": "clean"}, "1.115", 400),
        ("manageable", {"target": "clean", "clean_steps": [{"step": "x"}]}, "1.115", 400),
        ("manageable", {"target": "clean", "clean_steps": ["x"]}, "1.115", 400),
        (
            "manageable",
            {"target": "clean", "clean_steps": [{"interface": "kitchen", "step": "x"}]},
            "1.115",
            400,
        ),
        ("active", {"target": "rescue"}, "1.115", 400),
        ("active", {"target": "rescue", "rescue_password": " "}, "1.115", 400),
        ("available", {"target": "active", "rescue_password": "x"}, "1.115", 400),
        ("available", {"target": "active", "clean_steps": [{}]}, "1.115", 400),
        ("available", {"target": "active", "configdrive": {"surprise": 1}}, "1.115", 400),
        ("available", {"target": "active", "configdrive": "%%%"}, "1.115", 400),
        ("available", {"target": "active", "configdrive": {"meta_data": {}}}, "1.55", 400),
        ("available", {"target": "active", "configdrive": {"meta_data": 5}}, "1.115", 400),
        ("active", {"target": "deleted", "configdrive": "abcd"}, "1.115", 400),
        (
            "available",
            {"target": "active", "deploy_steps": [{"interface": "deploy"}]},
            "1.115",
            400,
        ),
        ("manageable", {"target": "provide", "runbook": "r"}, "1.115", 404),
        ("available", {"target": "deploy"}, "1.72", 406),
        ("available", {"target": "active"}, "1.1", 202),
    ],
)
async def test_verbs_with_bad_or_early_extras(
    api: World, state: str, body: dict[str, Any], version: str, status: int
) -> None:
    node = await api.node()
    await api.force(node["uuid"], provision_state=state)
    path = f"/v1/nodes/{node['uuid']}/states/provision"
    reply = await api.ask("PUT", path, body, version)
    assert reply.status == status, reply.json
    if status != 202:
        assert (await api.ask("GET", f"/v1/nodes/{node['uuid']}")).json["provision_state"] == state


async def test_flags_forbid_verbs(api: World) -> None:
    await api.node(name="n1")
    path = "/v1/nodes/n1/states/provision"
    await api.force("n1", provision_state="available", maintenance=True)
    assert (await api.ask("PUT", path, {"target": "active"})).status == 400
    await api.force("n1", provision_state="manageable")
    assert (await api.ask("PUT", path, {"target": "clean", **ARGS["clean"]})).status == 400
    await api.force("n1", maintenance=False, retired=True)
    assert (await api.ask("PUT", path, {"target": "provide"})).status == 400
    await api.force("n1", provision_state="active", retired=False, protected=True)
    for verb in ("deleted", "rebuild"):
        assert (await api.ask("PUT", path, {"target": verb})).status == 403
    await api.force("n1", protected=False)
    assert (await api.ask("PUT", path, {"target": "deleted"})).status == 202


async def test_limits_of_what_goes_on_at_once(tmp_path: Path) -> None:
    settings = BaremetalSettings(max_concurrent_deploy=1, max_concurrent_clean=1)
    async with world(tmp_path, settings=settings) as api:
        for name in ("n1", "n2", "n3"):
            await api.node(name=name, instance_info={"project_id": "p9"})
            await api.force(name, provision_state="available")
        path = "/v1/nodes/{}/states/provision"
        assert (await api.ask("PUT", path.format("n1"), {"target": "active"})).status == 202
        reply = await api.ask("PUT", path.format("n2"), {"target": "active"})
        assert reply.status == 503 and "limit for provisioning" in reply.error
        shown = [(await api.ask("GET", f"/v1/nodes/{name}")).json for name in ("n1", "n2")]
        assert [one["provision_state"] for one in shown] == ["deploying", "available"]
        assert [one["lessee"] for one in shown] == ["p9", None]
        await api.force("n2", provision_state="active")
        assert (await api.ask("PUT", path.format("n2"), {"target": "deleted"})).status == 202
        await api.force("n3", provision_state="active")
        reply = await api.ask("PUT", path.format("n3"), {"target": "deleted"})
        assert reply.status == 503 and "limit for unprovisioning" in reply.error


async def test_config_drive_and_password_are_sealed(api: World) -> None:
    await api.node(name="n1")
    await api.force("n1", provision_state="available")
    drive = {"meta_data": {"uuid": "drive-secret"}, "user_data": "#!/bin/sh"}
    body = {"target": "active", "configdrive": drive}
    assert (await api.ask("PUT", "/v1/nodes/n1/states/provision", body)).status == 202

    def read(conn: Any) -> tuple[Any, str]:
        node = store.get_node(conn, "n1")
        secret = store.read_secret(conn, api.baremetal.ctx.vault, node.uuid, "configdrive")
        tables = ("nodes", "node_secrets", "operations")
        return secret, "".join(
            str(conn.exec_driver_sql(f"SELECT * FROM {t}").all()) for t in tables
        )

    secret, text = await api.db.read(read)
    assert secret == drive and "drive-secret" not in text


async def test_a_deletion_during_a_wait_follows_it(api: World) -> None:
    node = await api.node(name="n1")
    await api.force("n1", provision_state="available")
    path = "/v1/nodes/n1/states/provision"
    assert (await api.ask("PUT", path, {"target": "active"})).status == 202
    await api.force("n1", provision_state="wait call-back")
    assert (await api.ask("PUT", path, {"target": "deleted"})).status == 202
    loop = FollowUps(api.baremetal.ctx)
    assert await loop.run() == 0
    for _ in range(2):
        # At once, and until the deploy has made way: never "deploy failed", never free for others.
        shown = (await api.ask("GET", f"/v1/nodes/{node['uuid']}")).json
        state = (shown["provision_state"], shown["target_provision_state"], shown["reservation"])
        assert state == ("deleting", "available", "host-1")
        for target in ("deleted", "active", "abort"):
            assert (await api.ask("PUT", path, {"target": target})).status == 409
        assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 409
        await api.end_operations()
    assert await loop.run() == 1
    operation = await live(api, "n1")
    assert operation is not None and operation.kind == "undeploy"
    assert await loop.run() == 0


# -- power and boot device -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "version", "status"),
    [
        ({"target": "power on"}, "1.1", 202),
        ({"target": "rebooting"}, "1.115", 202),
        ({"target": "soft power off", "timeout": 5}, "1.27", 202),
        ({"target": "soft power off"}, "1.26", 406),
        ({"target": "power on", "timeout": 5}, "1.26", 406),
        ({"target": "power on", "timeout": -1}, "1.115", 400),
        ({"target": "power on", "timeout": "soon"}, "1.115", 400),
        ({"target": "explode"}, "1.115", 400),
        ({"timeout": 5}, "1.115", 400),
        ({"target": ["power on"]}, "1.115", 400),
    ],
)
async def test_power(api: World, body: dict[str, Any], version: str, status: int) -> None:
    node = await api.node()
    path = f"/v1/nodes/{node['uuid']}/states"
    assert (await api.ask("PUT", f"{path}/power", body, version)).status == status
    states = (await api.ask("GET", path)).json
    wanted = {"power on": "power on", "rebooting": "power on", "soft power off": "power off"}
    assert states["target_power_state"] == (wanted[body["target"]] if status == 202 else None)
    operation = await live(api, node["uuid"])
    assert (operation is not None) is (status == 202)
    if status == 202:
        assert (await api.ask("PUT", f"{path}/power", body, version)).status == 409


async def test_power_is_refused_where_it_harms(api: World) -> None:
    await api.node(name="n1", disable_power_off=True)
    path = "/v1/nodes/n1/states/power"
    assert (await api.ask("PUT", path, {"target": "power off"})).status == 409
    await api.force("n1", provision_state="cleaning")
    assert (await api.ask("PUT", path, {"target": "power on"})).status == 400
    await api.node(name="n2", driver="ipmi")
    reply = await api.ask("PUT", "/v1/nodes/n2/states/power", {"target": "power on"})
    assert reply.status == 400 and "ipmi_address" in reply.error


async def test_states_by_version(api: World) -> None:
    await api.node(name="n1")
    assert "raid_config" not in (await api.ask("GET", "/v1/nodes/n1/states", version="1.11")).json
    late = (await api.ask("GET", "/v1/nodes/n1/states")).json
    assert late["raid_config"] == {} and late["boot_mode"] is None and "secure_boot" in late


async def test_boot_device(api: World) -> None:
    await api.node(name="n1")
    path = "/v1/nodes/n1/management/boot_device"
    assert "disk" in (await api.ask("GET", f"{path}/supported")).json["supported_boot_devices"]
    body = {"boot_device": "disk", "persistent": True}
    assert (await api.ask("PUT", path, body)).status == 204
    assert (await api.ask("GET", path)).json == body
    assert (await api.ask("PUT", path, {"boot_device": "toaster"})).status == 400
    assert (await api.ask("PUT", path, {"boot_device": 1})).status == 400
    await api.ask("PUT", "/v1/nodes/n1/states/power", {"target": "power on"})
    assert (await api.ask("PUT", path, body)).status == 409


@pytest.mark.parametrize("mode", ["bios", "uefi"])
async def test_the_mode_goes_with_the_boot_device(api: World, mode: str) -> None:
    """Else IPMI controllers boot in another one (their flags hold both)."""
    node = await api.node(name="n1", properties={"capabilities": f"boot_mode:{mode}"})
    body = {"boot_device": "disk", "persistent": True}
    path = "/v1/nodes/n1/management/boot_device"
    assert (await api.ask("PUT", path, body)).status == 204
    registry = api.baremetal.ctx.registry
    access = registry.access("fake-hardware", {}, key=node["uuid"])
    assert (await registry.management("fake-hardware").get_boot_device(access)).mode == mode


async def test_a_fault_of_the_machine_is_told(api: World) -> None:
    await api.node(name="n1", driver_info={"fake_fail": "management.*=1:unreachable"})
    reply = await api.ask("GET", "/v1/nodes/n1/management/boot_device")
    assert reply.status == 503 and reply.error


# -- VIFs, history, inventory --------------------------------------------------------------------


async def test_vifs(api: World) -> None:
    node = await api.node(name="n1", network_interface="fake")
    path = "/v1/nodes/n1/vifs"
    assert (await api.ask("POST", path, {"id": "v1"})).status == 400
    for number in (1, 2):
        body = {"node_uuid": node["uuid"], "address": f"52:54:00:00:00:0{number}"}
        await api.ask("POST", "/v1/ports", body)
    assert (await api.ask("POST", path, {"id": "v1"})).status == 204
    assert (await api.ask("POST", path, {"id": "v1"})).status == 409
    assert (await api.ask("POST", path, {"id": "v2"})).status == 204
    assert (await api.ask("POST", path, {"id": "v3"})).status == 400
    assert (await api.ask("GET", path)).json == {"vifs": [{"id": "v1"}, {"id": "v2"}]}
    ports = (await api.ask("GET", "/v1/nodes/n1/ports/detail")).json["ports"]
    assert {p["internal_info"]["tenant_vif_port_id"] for p in ports} == {"v1", "v2"}
    assert (await api.ask("DELETE", f"{path}/v1")).status == 204
    assert (await api.ask("DELETE", f"{path}/v1")).status == 400
    assert (await api.ask("POST", path, {})).status == 400
    assert (await api.ask("GET", path, version="1.27")).status == 404


async def test_vifs_are_only_words_where_the_network_is_noop(api: World) -> None:
    await api.node(name="n1", network_interface="noop")
    path = "/v1/nodes/n1/vifs"
    assert (await api.ask("POST", path, {"id": "v1"})).status == 204
    assert (await api.ask("GET", path)).json == {"vifs": []}
    assert (await api.ask("DELETE", f"{path}/v1")).status == 204


async def test_history_and_inventory(api: World) -> None:
    node = await api.node(name="n1")
    assert (await api.ask("GET", "/v1/nodes/n1/inventory")).status == 404

    def fill(conn: Any) -> None:
        for number in range(3):
            at = f"2026-01-01T00:00:0{number}.000000+00:00"
            history_store.add(conn, node["uuid"], at, f"{number} " + "x" * 300, user="u")
        inventories.save_inventory(conn, node["uuid"], at, {"cpu": {"count": 4}}, {"all": []})

    await api.db.write(fill)
    inventory = (await api.ask("GET", "/v1/nodes/n1/inventory")).json
    assert inventory == {"inventory": {"cpu": {"count": 4}}, "plugin_data": {"all": []}}
    brief = (await api.ask("GET", "/v1/nodes/n1/history?limit=2")).json
    assert [e["event"][0] for e in brief["history"]] == ["0", "1"]
    assert len(brief["history"][0]["event"]) < 256 and "user" not in brief["history"][0]
    more = (await api.ask("GET", brief["next"].split("/baremetal", 1)[1])).json
    assert [e["event"][0] for e in more["history"]] == ["2"]
    uuid = brief["history"][0]["uuid"]
    one = (await api.ask("GET", f"/v1/nodes/n1/history/{uuid}")).json
    assert one["user"] == "u" and len(one["event"]) > 300
    assert (one["state"], one["target_provision_state"], one["duration_seconds"]) == (
        "enroll",
        None,
        None,
    )
    older = (await api.ask("GET", f"/v1/nodes/n1/history/{uuid}", version="1.114")).json
    assert "project" in older and "state" not in older and "duration_seconds" not in older
    assert (await api.ask("GET", "/v1/nodes/n1/history/nothing")).status == 404
    assert (await api.ask("GET", "/v1/nodes/n1/history", version="1.77")).status == 404


# -- claims --------------------------------------------------------------------------------------


async def test_claims_are_exclusive(api: World) -> None:
    bm = api.baremetal
    node = await api.node(
        name="n1",
        resource_class="bm",
        properties={"cpus": "4", "memory_mb": 2048, "capabilities": "boot_mode:uefi,x"},
    )
    body = {"node_uuid": node["uuid"], "address": "52:54:00:00:00:01", "physical_network": "p"}
    await api.ask("POST", "/v1/ports", body)
    await api.ask("PUT", "/v1/nodes/n1/traits/CUSTOM_A")

    def free(conn: Any) -> list[Candidate]:
        return [one for some in bm.candidates(conn, CandidateQuery()) for one in some]

    assert await api.db.read(free) == []
    await api.force("n1", provision_state="available", power_state="power off")
    (found,) = await api.db.read(free)
    assert (found.cpus, found.memory_mb, found.local_gb, found.ports) == (4, 2048, 0, 1)
    assert (found.traits, found.networks) == (frozenset({"CUSTOM_A"}), frozenset({"p"}))
    assert found.capabilities == {"boot_mode": "uefi"}
    for columns in (
        {"maintenance": True},
        {"retired": True},
        {"power_state": None},
        {"provision_state": "cleaning"},
    ):
        before = {"maintenance": False, "retired": False, "power_state": "power off"}
        await api.force("n1", **columns)
        assert await api.db.read(free) == []
        assert not await api.db.write(lambda conn: bm.claim(conn, node["uuid"], INSTANCE))
        await api.force("n1", **before, provision_state="available")
    take = lambda conn: bm.claim(conn, node["uuid"], INSTANCE, instance_name="i", lessee="p1")  # noqa: E731
    assert await api.db.write(take)
    assert not await api.db.write(take)
    assert not await api.db.write(lambda conn: bm.claim(conn, node["uuid"], INSTANCE[:-1] + "6"))
    held = await api.db.read(lambda conn: bm.by_instance(conn, INSTANCE))
    assert held is not None and (held.uuid, held.lessee) == (node["uuid"], "p1")
    give = lambda conn: bm.release(conn, node["uuid"], INSTANCE, lessee="p1")  # noqa: E731
    assert await api.db.write(give)
    assert not await api.db.write(give)
    assert (await api.db.read(lambda conn: bm.get_node(conn, "n1"))).lessee is None


async def test_an_instance_cannot_have_two_machines(api: World) -> None:
    bm = api.baremetal
    for name in ("n1", "n2"):
        await api.node(name=name)
        await api.force(name, provision_state="available", power_state="power off")
    uuids = [(await api.ask("GET", f"/v1/nodes/{name}")).json["uuid"] for name in ("n1", "n2")]
    assert await api.db.write(lambda conn: bm.claim(conn, uuids[0], INSTANCE))
    assert not await api.db.write(lambda conn: bm.claim(conn, uuids[1], INSTANCE))


async def test_front_door_of_instances(api: World) -> None:
    bm = api.baremetal
    node = await api.node(name="n1")
    uuid = node["uuid"]
    await api.force("n1", provision_state="available", power_state="power off")

    def spawn(conn: Any) -> str:
        assert bm.claim(conn, uuid, INSTANCE)
        info = {"image_source": "i", "image_url": "http://x/secret-url", "traits": ["CUSTOM_A"]}
        drive = {"meta_data": {}}
        bm.prepare_instance(conn, uuid, instance_info=info, right=CLOUD, configdrive=drive)
        return bm.deploy(conn, uuid, notify=f"server:{INSTANCE}")

    operation = await api.db.write(spawn)
    row = await api.db.read(lambda conn: workflow.operation(conn, operation))
    assert row is not None and row.input["notify"] == f"server:{INSTANCE}"
    shown = (await api.ask("GET", "/v1/nodes/n1")).json
    assert shown["instance_info"]["image_url"] == "******"
    with pytest.raises(Locked):
        await api.db.write(lambda conn: bm.power(conn, uuid, "power on"))
    await api.end_operations()
    await api.force("n1", provision_state="active", target_provision_state=None)
    assert not await api.db.write(lambda conn: bm.release(conn, uuid, INSTANCE))
    with pytest.raises(Invalid):
        await api.db.write(lambda conn: bm.rescue(conn, uuid, rescue_password=""))
    with pytest.raises(Conflict):  # a server's machine is taken by the server
        await api.db.write(lambda conn: bm.undeploy(conn, uuid))
    assert await api.db.write(lambda conn: bm.hold(conn, uuid, INSTANCE).undeploy())


async def test_a_failed_transaction_starts_nothing(api: World) -> None:
    await api.node(name="n1")

    def change(conn: Any) -> None:
        api.baremetal.provision(conn, "n1", "manage", VerbArguments())
        raise Conflict("changed my mind")

    with pytest.raises(Conflict):
        await api.db.write(change)
    assert await live(api, "n1") is None
    assert (await api.ask("GET", "/v1/nodes/n1")).json["provision_state"] == "enroll"
    with pytest.raises(Fault) as caught:
        await api.db.write(lambda conn: api.baremetal.provision(conn, "nobody", "manage"))
    assert caught.value.kind is Kind.MISSING


@pytest.mark.parametrize(
    ("state", "status"),
    [
        # As upstream: what works on a machine holds it, what waits for it or for a person does not.
        ("verifying", 409),
        ("enroll", 409),
        ("inspect wait", 200),
        ("service hold", 200),
    ],
)
async def test_a_change_while_an_operation_works(api: World, state: str, status: int) -> None:
    await api.node(name="n1")
    await api.ask("PUT", "/v1/nodes/n1/states/power", {"target": "power on"})
    await api.force("n1", provision_state=state)
    body = [{"op": "add", "path": "/extra/a", "value": 1}]
    assert (await api.ask("PATCH", "/v1/nodes/n1", body)).status == status
    await api.end_operations()
    assert (await api.ask("PATCH", "/v1/nodes/n1", body)).status == 200


# -- momentary locks -----------------------------------------------------------------------------


async def test_a_momentary_lock_is_waited_for(tmp_path: Path) -> None:
    async with world(tmp_path, SystemClock(), BaremetalSettings(lock_wait=20)) as api:
        await api.node(name="n1")
        path = "/v1/nodes/n1/states/power"
        assert (await api.ask("PUT", path, {"target": "power on"})).status == 202
        second = asyncio.create_task(api.ask("PUT", path, {"target": "power off"}))
        await asyncio.sleep(0.3)
        assert not second.done()
        await api.end_operations()
        assert (await second).status == 202


_MEDIUM = {"device_type": "cdrom", "image_url": "http://h/i.iso"}
_ERRANDS: dict[str, tuple[str, str, Any]] = {
    "media": ("POST", "vmedia", _MEDIUM),
    "eject": ("DELETE", "vmedia", None),
    "mode": ("PUT", "states/boot_mode", {"target": "bios"}),
    "secure": ("PUT", "states/secure_boot", {"target": True}),
    "vendor": ("POST", "vendor_passthru/second_method", {"bar": "x"}),
    "device": ("PUT", "management/boot_device", {"boot_device": "pxe"}),
}


@pytest.mark.parametrize(
    ("first", "then"),
    [("media", "eject"), ("mode", "secure"), ("secure", "mode"), ("vendor", "device")],
)
async def test_an_errand_waits_for_the_one_before(tmp_path: Path, first: str, then: str) -> None:
    """A medium is taken out as soon as it was put in: upstream's conductors wait for each other so."""
    async with world(tmp_path, SystemClock(), BaremetalSettings(lock_wait=20)) as api:
        await api.node(name="n1")
        (method, path, body), second = _ERRANDS[first], _ERRANDS[then]
        assert (await api.ask(method, f"/v1/nodes/n1/{path}", body)).status in (202, 204)
        asked = asyncio.create_task(api.ask(second[0], f"/v1/nodes/n1/{second[1]}", second[2]))
        await asyncio.sleep(0.3)
        assert not asked.done()
        await api.end_operations()
        assert (await asked).status in (202, 204)


async def test_a_long_lock_is_told_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, SystemClock(), BaremetalSettings(lock_wait=20)) as api:
        await api.node(name="n1")
        path = "/v1/nodes/n1/states"
        assert (await api.ask("PUT", f"{path}/provision", {"target": "manage"})).status == 202
        begun = time.monotonic()
        assert (await api.ask("PUT", f"{path}/power", {"target": "power on"})).status == 409
        assert time.monotonic() - begun < 10
