"""Many clients at one moment: nothing that was accepted is lost, nothing is done twice, nobody sees a 500."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ingot.services.compute import ComputeSettings
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio

CLIENTS = 24


async def test_a_deletion_is_never_forgotten(tmp_path: Path, database: str) -> None:
    """POST a server and DELETE it after 0 to 70 ms: every one is gone, its machine free, its ports too."""
    async with cloud(tmp_path, 1, database=database) as here:
        await here.enrol_imaginary(CLIENTS)
        flavor = await here.flavor()

        async def one(number: int) -> str:
            uuid = await here.boot(flavor, f"s{number}")
            await asyncio.sleep(number * 0.07 / CLIENTS)
            await here.call("DELETE", f"/servers/{uuid}", status=204)
            return uuid

        for _ in range(2):
            uuids = await asyncio.gather(*(one(number) for number in range(CLIENTS)))
            await _all_gone(here, uuids)
        await _nothing_left(here)


async def test_a_deletion_wins_over_every_other_action(tmp_path: Path, database: str) -> None:
    """Reboot, stop and rebuild at the same moment as DELETE: what is accepted besides is given up."""
    async with cloud(tmp_path, 1, database=database) as here:
        await here.enrol_imaginary(6)
        flavor = await here.flavor()
        others: list[Any] = [
            {"reboot": {"type": "HARD"}},
            {"os-stop": None},
            {"rebuild": {"imageRef": here.image_id}},
        ]
        for _ in range(2):
            uuids = [await here.boot(flavor, f"s{number}") for number in range(6)]
            for uuid in uuids:
                await here.server_is(uuid, "ACTIVE")
            work = [
                call
                for uuid in uuids
                for call in (
                    *(here.call("POST", f"/servers/{uuid}/action", body) for body in others),
                    here.call("DELETE", f"/servers/{uuid}"),
                    *(here.call("POST", f"/servers/{uuid}/action", body) for body in others),
                )
            ]
            answers = await asyncio.gather(*work)
            told = sorted({status for status, _, _ in answers})
            assert set(told) <= {202, 204, 404, 409}, told
            assert [status for status, _, _ in answers[3::7]] == [204] * 6
            await _all_gone(here, uuids)
        await _nothing_left(here)


async def test_quotas_hold_for_a_crowd(tmp_path: Path, database: str) -> None:
    """4 instances allowed, 24 orders at once: 4 are taken; what is deleted can be ordered again."""
    async with cloud(tmp_path, 1, database=database) as here:
        flavor = await here.flavor()
        project = here.made.demo_project_id
        limit = {"quota_set": {"instances": 4, "server_groups": 3}}
        await here.call("PUT", f"/os-quota-sets/{project}", limit, status=200)
        order = {
            "name": "s",
            "flavorRef": flavor,
            "imageRef": here.image_id,
            "networks": [{"uuid": here.network_id}],
        }
        for _ in range(2):
            calls = [
                here.call("POST", "/servers", {"server": order}, who="demo") for _ in range(CLIENTS)
            ]
            answers = await asyncio.gather(*calls)
            assert sorted(status for status, _, _ in answers) == [202] * 4 + [403] * (CLIENTS - 4)
            assert await _counted(here, project) == (4, 4, 4096)
            uuids = [body["server"]["id"] for status, body, _ in answers if status == 202]
            twice = [uuid for uuid in uuids for _ in range(3)]
            gone = await asyncio.gather(
                *(here.call("DELETE", f"/servers/{uuid}", who="demo") for uuid in twice)
            )
            assert {status for status, _, _ in gone} <= {204, 404}
            await _all_gone(here, uuids)
            assert await _counted(here, project) == (0, 0, 0)

        group = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
        made = await asyncio.gather(
            *(here.call("POST", "/os-server-groups", group, who="demo") for _ in range(CLIENTS))
        )
        assert sorted(status for status, _, _ in made) == [200] * 3 + [403] * (CLIENTS - 3)


async def test_a_group_has_so_many_members(tmp_path: Path, database: str) -> None:
    """3 members allowed, 24 orders for one group at once: 3 are taken."""
    async with cloud(tmp_path, 1, database=database) as here:
        flavor = await here.flavor()
        limit = {"quota_set": {"instances": 50, "cores": -1, "server_group_members": 3}}
        path = f"/os-quota-sets/{here.made.demo_project_id}"
        await here.call("PUT", path, limit, status=200)
        body = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
        made = await here.call("POST", "/os-server-groups", body, who="demo", status=200)
        group = made[1]["server_group"]["id"]
        order = {
            "server": {
                "name": "s",
                "flavorRef": flavor,
                "imageRef": here.image_id,
                "networks": [{"uuid": here.network_id}],
            },
            "os:scheduler_hints": {"group": group},
        }
        answers = await asyncio.gather(
            *(here.call("POST", "/servers", order, who="demo") for _ in range(CLIENTS))
        )
        assert sorted(status for status, _, _ in answers) == [202] * 3 + [403] * (CLIENTS - 3)
        shown = await here.get(f"/os-server-groups/{group}", who="demo")
        assert len(shown["server_group"]["members"]) == 3


async def _counted(here: Cloud, project: str) -> tuple[int, int, int]:
    """What is told to be in use, which is what there is."""
    found = await here.get(f"/os-quota-sets/{project}/detail", status=200)
    used = {name: found["quota_set"][name]["in_use"] for name in ("instances", "cores", "ram")}
    listed = await here.get("/servers?all_tenants=1&project_id=" + project)
    assert len(listed["servers"]) == used["instances"]
    return used["instances"], used["cores"], used["ram"]


@pytest.mark.parametrize("what", ["metadata", "tags", "specs"])
async def test_no_part_is_lost(tmp_path: Path, database: str, what: str) -> None:
    """24 clients each add one: all are there."""
    async with cloud(tmp_path, 1, database=database) as here:
        flavor = await here.flavor()
        uuid = await here.boot(flavor)
        await here.server_is(uuid, "ERROR", "BUILD", "gone")

        def add(number: int) -> Any:
            if what == "metadata":
                body = {"metadata": {f"k{number}": "v"}}
                return here.call("POST", f"/servers/{uuid}/metadata", body)
            if what == "tags":
                return here.call("PUT", f"/servers/{uuid}/tags/t{number}", version="2.26")
            specs = {"extra_specs": {f"k{number}": "v"}}
            return here.call("POST", f"/flavors/{flavor}/os-extra_specs", specs)

        answers = await asyncio.gather(*(add(number) for number in range(CLIENTS)))
        assert {status for status, _, _ in answers} <= {200, 201}, answers
        if what == "metadata":
            found = set((await here.get(f"/servers/{uuid}/metadata"))["metadata"])
        elif what == "tags":
            found = set((await here.get(f"/servers/{uuid}/tags", version="2.26"))["tags"])
        else:
            found = set((await here.get(f"/flavors/{flavor}/os-extra_specs"))["extra_specs"])
        prefix = "t" if what == "tags" else "k"
        assert {f"{prefix}{number}" for number in range(CLIENTS)} <= found


async def test_one_of_a_crowd_makes_it(tmp_path: Path, database: str) -> None:
    """The same key pair, flavor, access and quota by 24 clients: one makes it, the others are told; no 500."""
    async with cloud(tmp_path, 1, database=database) as here:
        key = {"keypair": {"name": "k"}}
        flavor = {"name": "f", "ram": 1, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
        project = here.made.demo_project_id

        async def crowd(method: str, path: str, body: Any = None) -> list[int]:
            calls = [here.call(method, path, body) for _ in range(CLIENTS)]
            return sorted(status for status, _, _ in await asyncio.gather(*calls))

        assert await crowd("POST", "/os-keypairs", key) == [200] + [409] * (CLIENTS - 1)
        assert await crowd("POST", "/flavors", {"flavor": flavor}) == [200] + [409] * (CLIENTS - 1)
        listed = await here.get("/flavors?is_public=None")
        (made,) = [one["id"] for one in listed["flavors"] if one["name"] == "f"]
        give = {"addTenantAccess": {"tenant": project}}
        path = f"/flavors/{made}/action"
        assert await crowd("POST", path, give) == [200] + [409] * (CLIENTS - 1)
        take = {"removeTenantAccess": {"tenant": project}}
        assert await crowd("POST", path, take) == [200] + [404] * (CLIENTS - 1)
        limit = {"quota_set": {"instances": 7, "cores": 9}}
        assert set(await crowd("PUT", f"/os-quota-sets/{project}", limit)) == {200}
        assert await crowd("DELETE", f"/flavors/{made}") == [202] + [404] * (CLIENTS - 1)
        assert await crowd("DELETE", "/os-keypairs/k") == [202] + [404] * (CLIENTS - 1)


async def test_nobody_has_too_many_key_pairs(tmp_path: Path, database: str) -> None:
    """5 allowed, 24 by one person and 24 by another at once: each has 5."""
    settings = ComputeSettings(quotas={**ComputeSettings().quotas, "key_pairs": 5})
    async with cloud(tmp_path, 1, database=database, settings=settings) as here:
        calls = [
            here.call("POST", "/os-keypairs", {"keypair": {"name": f"k{number}"}}, who=who)
            for number in range(CLIENTS)
            for who in ("admin", "demo")
        ]
        told = [status for status, _, _ in await asyncio.gather(*calls)]
        for who, mine in (("admin", told[::2]), ("demo", told[1::2])):
            assert sorted(mine) == [200] * 5 + [403] * (CLIENTS - 5)
            assert len((await here.get("/os-keypairs", who=who))["keypairs"]) == 5


async def _all_gone(here: Cloud, uuids: list[str]) -> None:
    """Every one is 404 within a minute; none of them is in ERROR with its deletion forgotten."""
    left = set(uuids)
    try:
        async with asyncio.timeout(60):
            while left:
                for uuid in sorted(left):
                    status, body, _ = await here.call("GET", f"/servers/{uuid}")
                    if status == 404:
                        left.discard(uuid)
                    elif body["server"]["OS-EXT-STS:task_state"] is None:
                        told = (await here.story(f"server:{uuid}"), body["server"].get("fault"))
                        raise AssertionError(f"forgotten: {body['server']['status']} {told}")
                await asyncio.sleep(0.02)
    except TimeoutError:
        stories = [await here.story(f"server:{uuid}") for uuid in sorted(left)]
        raise AssertionError(f"still there: {stories}") from None


async def _nothing_left(here: Cloud) -> None:
    assert await here.claimed() == []
    ports = await here.db.read(lambda conn: here.networks.ports_of_device(conn, ""))
    assert not [port for port in ports if port.device_owner.startswith("compute:")]
