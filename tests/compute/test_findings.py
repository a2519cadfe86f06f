"""What the Compute API told or did wrongly, as upstream has it."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingot.drivers.machine.types import PowerState
from ingot.services.baremetal import store
from ingot.services.baremetal.boot import configdrive
from ingot.services.compute.documents import documents
from ingot.services.network.groups import make_group
from ingot.workflow import operations as history
from ingot.workflow import store as operations
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio


async def act(here: Cloud, uuid: str, body: Any, **how: Any) -> Any:
    return (await here.call("POST", f"/servers/{uuid}/action", body, **how))[0]


async def active(here: Cloud, who: str = "demo", **more: Any) -> str:
    uuid = await here.boot(await here.flavor(), who=who, **more)
    await here.server_is(uuid, "ACTIVE")
    return uuid


async def at_rest(here: Cloud, uuid: str) -> Any:
    async with asyncio.timeout(40):
        while True:
            server = (await here.get(f"/servers/{uuid}"))["server"]
            live = await here.db.read(
                lambda conn: operations.live_operation(conn, f"server:{uuid}")
            )
            if server["OS-EXT-STS:task_state"] is None and live is None:
                return server
            await asyncio.sleep(0.02)


async def test_locks(tmp_path: Path) -> None:
    """An administrator's lock is not taken off by members; `{"lock": {}}` is a lock."""
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        uuid = await active(here)
        member: dict[str, Any] = {"who": "demo", "version": "2.96"}
        assert await act(here, uuid, {"lock": {}}, **member) == 202
        assert await act(here, uuid, {"lock": {"reason": "x"}}, **member) == 400
        assert await act(here, uuid, {"lock": {"locked_reason": ""}}, **member) == 400
        assert await act(here, uuid, {"lock": {"any": 1}}, who="demo", version="2.1") == 202
        assert await act(here, uuid, {"os-stop": None}, **member) == 409
        for method, path, body in (
            ("POST", "", {"metadata": {"a": "b"}}),
            ("PUT", "", {"metadata": {"a": "b"}}),
            ("PUT", "/a", {"meta": {"a": "b"}}),
            ("DELETE", "/a", None),
        ):
            where = f"/servers/{uuid}/metadata{path}"
            await here.call(method, where, body, status=409, **member)
        assert await act(here, uuid, {"unlock": None}, **member) == 202

        reason = {"lock": {"locked_reason": "audit"}}
        assert await act(here, uuid, reason, version="2.96") == 202
        assert await act(here, uuid, {"lock": None}, **member) == 202  # changes nothing
        assert await act(here, uuid, {"unlock": None}, **member) == 403
        server = (await here.get(f"/servers/{uuid}", version="2.96"))["server"]
        assert (server["locked"], server["locked_reason"]) == (True, "audit")
        assert await act(here, uuid, {"unlock": None}, version="2.96") == 202
        assert not (await here.get(f"/servers/{uuid}", version="2.96"))["server"]["locked"]


async def test_a_stopped_server_is_stopped_after_a_rebuild(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = await active(here)
        await act(here, uuid, {"os-stop": None}, status=202)
        await here.server_is(uuid, "SHUTOFF")
        await at_rest(here, uuid)
        await act(here, uuid, {"rebuild": {"imageRef": here.image_id}}, status=202)
        server = await at_rest(here, uuid)
        assert (server["status"], server["OS-EXT-STS:power_state"]) == ("SHUTOFF", 4)
        assert (await here.node(node)).power_state == "power off"
        await act(here, uuid, {"os-start": None}, status=202)
        await here.server_is(uuid, "ACTIVE")


async def test_a_crash_dump_is_an_interrupt(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = await active(here)
        dump = {"trigger_crash_dump": None}
        assert await act(here, uuid, dump, who="demo", version="2.16") == 404
        assert await act(here, uuid, dump, who="demo", version="2.17") == 202
        server = await at_rest(here, uuid)
        assert server["status"] == "ACTIVE"
        found = await here.get(f"/servers/{uuid}/os-instance-actions", who="demo")
        last = found["instanceActions"][0]
        assert (last["action"], last["message"]) == ("trigger_crash_dump", None)
        world = here.world
        assert world.machine(node).nmis == 1 and world.machine(node).power is PowerState.ON


async def test_actions_between_times(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        uuid = await active(here)
        await act(here, uuid, {"reboot": {"type": "HARD"}}, status=202)
        await at_rest(here, uuid)
        path = f"/servers/{uuid}/os-instance-actions"
        every = (await here.get(path, version="2.66"))["instanceActions"]
        assert [one["action"] for one in every] == ["reboot", "create"]
        last, first = every[0]["updated_at"], every[1]["updated_at"]

        async def names(query: str, version: str = "2.66") -> list[str]:
            found = await here.get(f"{path}?{query}", version=version)
            return [one["action"] for one in found["instanceActions"]]

        assert await names(f"changes-since={last}Z") == ["reboot"]
        assert await names(f"changes-before={first}Z") == ["create"]
        assert await names(f"changes-since={first}Z&changes-before={last}Z") == ["reboot", "create"]
        assert await names(f"changes-since={last}Z", "2.58") == ["reboot"]
        assert await names("limit=1&changes-since=2020-01-01T00:00:00Z") == ["reboot"]
        for query, version in (
            ("changes-since=yesterday", "2.58"),
            (f"changes-before={last}Z", "2.65"),
            (f"changes-since={last}Z&changes-before={first}Z", "2.66"),
            ("bogus=1", "2.58"),
            ("limit=x", "2.58"),
        ):
            await here.call("GET", f"{path}?{query}", version=version, status=400)


async def test_a_deletion_that_waited_is_for_who_asked(tmp_path: Path) -> None:
    """The operation that the loop begins later names the person; so does what the machine does for it."""
    async with cloud(tmp_path, 1) as here:
        (node,) = await here.enrol_imaginary(1)
        uuid = await active(here)
        await here.dispatcher.kill()
        assert await act(here, uuid, {"reboot": {"type": "HARD"}}, who="demo") == 202
        await here.call("DELETE", f"/servers/{uuid}", who="demo", status=204)
        await here.restart()
        await here.server_is(uuid, "gone")

        def told(conn: sa.Connection) -> dict[str, str]:
            found = [
                *history(conn, f"server:{uuid}", limit=9),
                *history(conn, f"node:{node}", limit=9),
            ]
            return {one.kind: one.requested_by for one in found}

        who = await here.db.read(told)
        assert who["server delete"] == who["undeploy"] == here.made.demo_user_id, who


async def test_a_build_that_goes_on_looks_for_no_machine_again(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor())
        async with asyncio.timeout(40):
            while "start the deploy [1]: done" not in await here.story(f"server:{uuid}"):
                await asyncio.sleep(0.01)
        searches: list[str] = []

        def note(text: str) -> None:
            if "nodes.uuid >" in text and "LIMIT" in text:
                searches.append(text)

        await here.dispatcher.kill()
        end = here.db.on_statement(note)
        await here.restart()
        await here.server_is(uuid, "ACTIVE")
        end()
        assert searches == []


async def test_a_private_flavor_is_nobodys_at_first(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        body = {"name": "f", "ram": 1, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
        made = (await here.post("/flavors", {"flavor": body}, status=200))["flavor"]["id"]
        found = await here.get(f"/flavors/{made}/os-flavor-access")
        assert found == {"flavor_access": []}


async def test_personality_is_in_the_config_drive(tmp_path: Path) -> None:
    """Before 2.57 files come with an order, and lie where cloud-init looks for them."""
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        flavor = await here.flavor()

        def order(files: Any) -> Any:
            return {
                "server": {
                    "name": "s",
                    "flavorRef": flavor,
                    "imageRef": here.image_id,
                    "networks": [{"uuid": here.network_id}],
                    "personality": files,
                }
            }

        def file(path: str = "/etc/motd", content: bytes = b"hello") -> Any:
            return {"path": path, "contents": base64.b64encode(content).decode()}

        for files, status, version in (
            ([{"path": "/x", "contents": "!"}], 400, "2.1"),
            ([{"path": "/x"}], 400, "2.1"),
            ([file(content=b"x" * 10241)], 403, "2.1"),
            ([file("/" + "x" * 255)], 403, "2.1"),
            ([file()] * 6, 403, "2.56"),
            ([file()], 400, "2.57"),
        ):
            await here.call("POST", "/servers", order(files), version=version, status=status)
        made = await here.post("/servers", order([file(), file("/b", b"2")]), status=202)
        uuid = made["server"]["id"]
        await here.server_is(uuid, "ACTIVE")

        def drive(conn: sa.Connection) -> Any:
            server = here.compute.get(conn, uuid)
            return documents(server, here.compute.secrets_of(server), {})

        tree = configdrive.files(await here.db.read(drive))
        assert tree["openstack/content/0000"] == b"hello"
        assert tree["openstack/content/0001"] == b"2"
        assert b'"content_path":"/content/0001"' in tree["openstack/latest/meta_data.json"]
        node = (await here.server_is(uuid, "ACTIVE"))["OS-EXT-SRV-ATTR:hypervisor_hostname"]
        stored = await here.db.read(
            lambda conn: store.read_secret(conn, here.compute.vault, node, "configdrive")
        )
        assert len(stored["files"]) == 2
        limits = (await here.get("/limits", version="2.56"))["limits"]["absolute"]
        assert (limits["maxPersonality"], limits["maxPersonalitySize"]) == (5, 10240)


async def test_security_groups_are_those_of_the_ports(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        flavor = await here.flavor()
        project = here.made.demo_project_id

        def groups(conn: sa.Connection) -> list[str]:
            now = here.networks.now()
            names = (("web", project), ("db", project), ("two", project), ("two", project))
            made = [make_group(conn, now, project_id=owner, name=name) for name, owner in names]
            make_group(conn, now, project_id=here.made.admin_project_id, name="foreign")
            return [group.id for group in made]

        web, db, *_ = await here.db.write(groups)

        async def order(*names: str) -> tuple[int, Any]:
            wanted = {
                "name": "s",
                "flavorRef": flavor,
                "imageRef": here.image_id,
                "networks": [{"uuid": here.network_id}],
                "security_groups": [{"name": name} for name in names],
            }
            return (await here.call("POST", "/servers", {"server": wanted}, who="demo"))[:2]

        for names, status in ((["nope"], 400), (["foreign"], 400), (["two"], 409)):
            assert (await order(*names))[0] == status, names
        status, body = await order("web", db)
        assert status == 202
        uuid = body["server"]["id"]
        await here.server_is(uuid, "ACTIVE")

        async def shown() -> list[str]:
            server = (await here.get(f"/servers/{uuid}", who="demo"))["server"]
            return sorted(group["name"] for group in server.get("security_groups", []))

        assert await shown() == ["db", "web"]
        listed = await here.get("/servers/detail", who="demo")
        assert len(listed["servers"][0]["security_groups"]) == 2
        found = await here.get(f"/servers/{uuid}/os-security-groups", who="demo")
        assert {group["id"] for group in found["security_groups"]} == {web, db}
        member: dict[str, Any] = {"who": "demo"}
        assert await act(here, uuid, {"removeSecurityGroup": {"name": "web"}}, **member) == 202
        assert await act(here, uuid, {"removeSecurityGroup": {"name": "web"}}, **member) == 404
        assert await act(here, uuid, {"addSecurityGroup": {"name": "foreign"}}, **member) == 404
        assert await act(here, uuid, {"addSecurityGroup": {"name": "default"}}, **member) == 202
        assert await shown() == ["db", "default"]


async def test_operations_of_a_project_are_found_behind_those_of_others(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.dispatcher.stop()

        def make(conn: sa.Connection) -> list[str]:
            ids = [
                operations.start(conn, "server stop", f"server:{number}", {}, project_id=project)
                for number, project in enumerate(["a"] * 3 + ["b"] * 60)
            ]
            return ids[:3]

        mine = await here.db.write(make)
        found = await here.db.read(
            lambda conn: operations.list_operations(conn, limit=10, project="a")
        )
        assert {one.id for one in found} == set(mine)
