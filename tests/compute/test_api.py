"""The Compute API on the wire: shapes by microversion, isolation, bad requests."""

from __future__ import annotations

import asyncio
import base64
import gzip
from pathlib import Path
from typing import Any

import pytest

from ingot.services.compute import ComputeSettings
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio

NOBODY = "00000000-0000-0000-0000-000000000000"
BROKEN_GZIP = b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqgU1YlbyQ8ZkXHcd2yzDTnvzZH1j5qz4xX3Qm9m7uB me@here"


async def failed(here: Cloud, uuid: str) -> None:
    """Wait for a server that found no machine."""
    async with asyncio.timeout(20):
        while (await here.get(f"/servers/{uuid}"))["server"]["status"] != "ERROR":
            await asyncio.sleep(0.02)


async def test_discovery_and_versions(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        for path in ("", "/"):
            async with here.session.get(f"{here.url}/compute{path}") as reply:
                assert reply.status == 200
                assert (await reply.json())["versions"][0]["id"] == "v2.1"
        found = (await here.get("", who=""))["version"]
        assert (found["min_version"], found["version"]) == ("2.1", "2.96")
        status, body, headers = await here.call("GET", "/flavors", version="2.50")
        assert status == 200 and body == {"flavors": []}
        assert headers["OpenStack-API-Version"] == "compute 2.50"
        assert headers["X-OpenStack-Nova-API-Version"] == "2.50"
        await here.call("GET", "/flavors?nope=1", version="2.74", status=200)
        await here.call("GET", "/flavors?nope=1", version="2.75", status=400)
        _, body, _ = await here.call("GET", "/flavors", version="2.999", status=406)
        assert body["computeFault"]["code"] == 406
        await here.call("GET", "/flavors", version="2.x", status=400)
        _, body, _ = await here.call("GET", "/flavors", who="", status=401)
        assert body["unauthorized"]["code"] == 401
        _, body, _ = await here.call("GET", "/nothing", status=404)
        assert body["itemNotFound"]["code"] == 404


async def test_shapes_follow_the_microversion(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        uuid = await here.boot(flavor)
        await failed(here, uuid)
        old = (await here.get(f"/servers/{uuid}"))["server"]
        assert set(old["flavor"]) == {"id", "links"} and "tags" not in old and "locked" not in old
        assert len(old["created"]) == 20 and old["created"].endswith("Z")
        new = (await here.get(f"/servers/{uuid}", version="2.96"))["server"]
        assert new["flavor"]["original_name"] == "bm" and new["tags"] == []
        assert {"locked_reason", "pinned_availability_zone", "server_groups"} <= set(new)
        assert "extra_specs" not in (await here.get(f"/flavors/{flavor}"))["flavor"]
        specs = (await here.get(f"/flavors/{flavor}", version="2.61"))["flavor"]["extra_specs"]
        assert specs == {"resources:CUSTOM_BAREMETAL": "1"}
        listed = (await here.get("/servers/detail", version="2.71"))["servers"][0]
        assert "server_groups" not in listed
        await here.call("GET", f"/servers/{uuid}/tags", version="2.25", status=404)
        body = {"keypair": {"name": "k", "public_key": KEY}}
        await here.post("/os-keypairs", body, status=200)
        await here.post("/os-keypairs", body, status=409)
        await here.call("DELETE", "/os-keypairs/k", status=202)
        await here.post("/os-keypairs", body, version="2.2", status=201)
        await here.call("DELETE", "/os-keypairs/k", version="2.2", status=204)
        made = await here.post("/os-keypairs", {"keypair": {"name": "own"}}, status=200)
        assert made["keypair"]["private_key"].startswith("-----BEGIN OPENSSH")
        await here.post("/os-keypairs", {"keypair": {"name": "x"}}, version="2.92", status=400)


async def test_projects_do_not_see_each_other(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        theirs = await here.boot(flavor, "theirs")
        mine = await here.boot(flavor, "mine", who="demo")
        for method, path, body in (
            ("GET", "", None),
            ("DELETE", "", None),
            ("PUT", "", {"server": {"name": "x"}}),
            ("POST", "/action", {"os-stop": None}),
            ("GET", "/metadata", None),
            ("GET", "/os-instance-actions", None),
            ("GET", "/os-interface", None),
        ):
            _, told, _ = await here.call(
                method, f"/servers/{theirs}{path}", body, who="demo", status=404
            )
            assert told["itemNotFound"]["message"]
        shown = (await here.get("/servers/detail", who="demo"))["servers"]
        assert [s["id"] for s in shown] == [mine]
        assert not any(name.startswith("OS-EXT-SRV-ATTR") for name in shown[0])
        await here.get("/servers?all_tenants=1", who="demo", status=403)
        found = (await here.get("/servers?all_tenants=1"))["servers"]
        assert {s["id"] for s in found} == {mine, theirs}
        _, told, _ = await here.call("POST", "/flavors", {"flavor": {}}, who="demo", status=403)
        assert told["forbidden"]["code"] == 403
        await here.get(f"/os-quota-sets/{here.made.admin_project_id}", who="demo", status=403)


async def test_bad_orders(tmp_path: Path) -> None:
    async with cloud(
        tmp_path, 1, settings=ComputeSettings(quotas={**ComputeSettings().quotas, "instances": 1})
    ) as here:
        flavor = await here.flavor()
        good: dict[str, Any] = {"name": "s", "flavorRef": flavor, "imageRef": here.image_id}
        volume = {"boot_index": 0, "source_type": "volume", "destination_type": "volume"}
        for change in (
            {"name": ""},
            {"name": " x "},
            {"name": "x" * 256},
            {"name": 5},
            {"flavorRef": "none"},
            {"imageRef": NOBODY},
            {"imageRef": "debian"},
            {"imageRef": ""},
            {"surprise": True},
            {"description": "too early"},
            {"tags": ["too-early"]},
            {"key_name": "none"},
            {"networks": [{"uuid": NOBODY}]},
            {"networks": [{"port": NOBODY}]},
            {"networks": [{"uuid": here.network_id, "fixed_ip": "nonsense"}]},
            {"networks": "auto"},
            {"networks": [{"surprise": 1}]},
            {"user_data": "not base64!"},
            {"user_data": "QUJD" * 20000},
            {"user_data": base64.b64encode(gzip.compress(bytes(40 << 20))).decode()},
            {"user_data": base64.b64encode(gzip.compress(b"#!/bin/sh")[:-9]).decode()},
            {"user_data": base64.b64encode(BROKEN_GZIP).decode()},
            {"metadata": {"k": 5}},
            {"metadata": {"k": "x" * 256}},
            {"min_count": 2, "max_count": 1},
            {"min_count": 0},
            {"config_drive": "perhaps"},
            {"availability_zone": "mars"},
            {"block_device_mapping_v2": [volume]},
            {"accessIPv4": "::1"},
            {"accessIPv6": "fe80::1%eth0"},
            {"accessIPv6": "fe80::1%y\nz"},
            {"networks": [{"uuid": here.network_id, "fixed_ip": "2001:db8::55%y\nz"}]},
            {"OS-DCF:diskConfig": "SOMETIMES"},
        ):
            _, body, _ = await here.call("POST", "/servers", {"server": {**good, **change}})
            assert "badRequest" in body and body["badRequest"]["message"], (change, body)
        for raw in (
            b"",
            b"{",
            b"[]",
            b'{"server": 5}',
            b"[" * 100,
            b'{"a": ' * 50 + b"1" + b"}" * 50,
        ):
            await here.call("POST", "/servers", raw=raw, status=400)
        await here.call("POST", "/servers", raw=b"x" * (2 << 20), status=413)
        _, body, _ = await here.call(
            "POST", "/servers", {"server": {**good, "min_count": 2}}, status=403
        )
        assert "Quota exceeded for instances" in body["forbidden"]["message"]
        assert (await here.get("/servers"))["servers"] == []
        both = {
            "boot_index": 0, "uuid": here.image_id, "source_type": "image",
            "destination_type": "local", "delete_on_termination": True,
        }  # fmt: skip
        order = {**good, "block_device_mapping_v2": [both], "adminPass": "secret-enough"}
        made = await here.post("/servers", {"server": order}, status=202)
        assert made["server"]["adminPass"] == "secret-enough"


async def test_bad_actions(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        uuid = await here.boot(flavor)
        await failed(here, uuid)
        path = f"/servers/{uuid}/action"
        for body, status in (
            ({}, 400),
            ({"os-start": None, "os-stop": None}, 400),
            ({"dance": None}, 400),
            ({"reboot": {"type": "GENTLE"}}, 400),
            ({"reboot": None}, 400),
            ({"rebuild": {}}, 400),
            ({"os-start": None}, 409),
            ({"os-stop": None}, 409),
            ({"unrescue": None}, 409),
            ({"confirmResize": None}, 409),
            ({"resize": {"flavorRef": flavor}}, 501),
            ({"createImage": {"name": "s"}}, 501),
            ({"pause": None}, 501),
            ({"os-getConsoleOutput": {}}, 409),
            ({"removeSecurityGroup": {"name": "none"}}, 404),
        ):
            got, told, _ = await here.call("POST", path, body)
            assert got == status, (body, got, told)
            assert next(iter(told.values()))["message"]
        await here.post(path, {"lock": None}, status=202)
        assert (await here.get(f"/servers/{uuid}", version="2.9"))["server"]["locked"] is True
        await here.post(path, {"unlock": None}, status=202)


async def test_lists_metadata_and_tags(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        uuids = [await here.boot(flavor, f"s{i}") for i in range(5)]
        for uuid in uuids:
            await failed(here, uuid)
        page = await here.get("/servers?limit=2&sort_key=display_name&sort_dir=asc")
        assert [s["name"] for s in page["servers"]] == ["s0", "s1"]
        link = page["servers_links"][0]["href"].partition("/compute/v2.1")[2]
        assert [s["name"] for s in (await here.get(link))["servers"]] == ["s2", "s3"]
        keys = "sort_key=name&sort_dir=asc&sort_key=display_name&sort_key=uuid&sort_key=vm_state"
        page = await here.get(f"/servers?{keys}&marker={uuids[2]}")
        assert [s["name"] for s in page["servers"]] == ["s3", "s4"]
        assert [s["name"] for s in (await here.get("/servers?name=^s4$"))["servers"]] == ["s4"]
        assert len((await here.get("/servers?status=ERROR"))["servers"]) == 5
        assert (await here.get("/servers?status=ACTIVE"))["servers"] == []
        for query in (
            "limit=-1",
            "limit=x",
            f"marker={NOBODY}",
            "sort_key=x",
            "sort_dir=up",
            "name=[",
            "&".join(["sort_key=name"] * 9),
            "changes-since=0001-01-01T00:00:00%2B14:00",
        ):
            await here.get(f"/servers?{query}", status=400)
        await here.get("/servers?surprise=1", version="2.75", status=400)
        one = f"/servers/{uuids[0]}"
        for wrong in ({"hostname": None}, {"name": None}, {"OS-DCF:diskConfig": None}):
            await here.call("PUT", one, {"server": wrong}, version="2.96", status=400)
        await here.post(f"{one}/metadata", {"metadata": {"a": "1"}}, status=200)
        await here.call("PUT", f"{one}/metadata/b", {"meta": {"b": "2"}}, status=200)
        assert (await here.get(f"{one}/metadata"))["metadata"] == {"a": "1", "b": "2"}
        await here.call("PUT", f"{one}/metadata/b", {"meta": {"c": "2"}}, status=400)
        await here.call("DELETE", f"{one}/metadata/a", status=204)
        await here.call("DELETE", f"{one}/metadata/a", status=404)
        new = {"version": "2.26"}
        await here.call("PUT", f"{one}/tags/blue", status=201, **new)
        await here.call("PUT", f"{one}/tags/blue", status=204, **new)
        await here.call("PUT", f"{one}/tags", {"tags": ["a", "b"]}, status=200, **new)
        assert [s["id"] for s in (await here.get("/servers?tags=a,b", **new))["servers"]] == [
            uuids[0]
        ]
        assert len((await here.get("/servers?not-tags=a", **new))["servers"]) == 4
        await here.call("DELETE", f"{one}/tags", status=204, **new)
        story = (await here.get(f"{one}/os-instance-actions"))["instanceActions"]
        assert story[0]["action"] == "create" and "No valid host" in story[0]["message"]


async def test_filters_are_bounded(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        for name in ("power_state", "launch_index"):
            for digits in (10, 20, 5000):
                await here.get(f"/servers?{name}={'9' * digits}", status=400)
            assert (await here.get(f"/servers?{name}=7"))["servers"] == []
            assert (await here.get(f"/servers?{name}=x"))["servers"] == []
        many = ",".join(f"t{number}" for number in range(1100))
        for name in ("tags", "tags-any", "not-tags", "not-tags-any"):
            await here.get(f"/servers?{name}={many}", version="2.26", status=400)
            await here.get(f"/servers?{name}=a,b", version="2.26")
