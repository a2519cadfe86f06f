"""What a tenant does to another's servers, and to those who read of them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.compute.cloud import Cloud, cloud
from tests.compute.test_findings import active, at_rest

pytestmark = pytest.mark.anyio


async def network(here: Cloud, method: str, path: str, body: Any = None, who: str = "demo") -> Any:
    headers = {"X-Auth-Token": await here.token(who)}
    url = f"{here.url}/network/v2.0{path}"
    async with here.session.request(method, url, json=body, headers=headers) as reply:
        assert reply.status < 300, await reply.text()
        return await reply.json() if reply.status != 204 else None


async def test_ports_that_name_anothers_server_are_not_its_own(tmp_path: Path) -> None:
    """Everybody may write any device on a port of theirs: its groups are not shown at that server."""
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        uuid = await active(here)
        body: dict[str, Any] = {"security_group": {"name": "evil-group"}}
        group = await network(here, "POST", "/security-groups", body, "admin")
        port = {
            "network_id": here.network_id,
            "device_id": uuid,
            "security_groups": [group["security_group"]["id"]],
        }
        await network(here, "POST", "/ports", {"port": port}, "admin")
        for path, part in ((f"/servers/{uuid}", "server"), ("/servers/detail", "servers")):
            shown = (await here.get(path, who="demo"))[part]
            shown = shown if isinstance(shown, dict) else shown[0]
            assert shown["security_groups"] == [{"name": "default"}]
        groups = await here.get(f"/servers/{uuid}/os-security-groups", who="demo")
        assert [one["name"] for one in groups["security_groups"]] == ["default"]


async def test_a_server_goes_on_without_a_port_that_its_project_deleted(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(1)
        uuid = await active(here)
        path = f"/servers/{uuid}"
        (port,) = (await here.get(f"{path}/os-interface", who="demo"))["interfaceAttachments"]
        await network(here, "DELETE", f"/ports/{port['port_id']}")
        assert (await here.get(f"{path}/os-interface", who="demo"))["interfaceAttachments"] == []
        await here.get(f"{path}/os-interface/{port['port_id']}", who="demo", status=404)
        for action, status in (
            ({"addSecurityGroup": {"name": "default"}}, 202),
            ({"removeSecurityGroup": {"name": "default"}}, 404),
            ({"rebuild": {"imageRef": here.image_id}}, 202),
        ):
            await here.call("POST", f"{path}/action", action, who="demo", status=status)
        assert (await at_rest(here, uuid))["status"] == "ACTIVE"
        await here.call("DELETE", path, who="demo", status=204)
        await here.server_is(uuid, "gone")


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\x07", "a\u202eb", "a\u2028b", "a\x85b"])
async def test_names_can_be_printed(tmp_path: Path, text: str) -> None:
    """They stand in others' terminals, logs and metadata."""
    async with cloud(tmp_path, 1) as here:
        order = {
            "name": "n",
            "flavorRef": await here.flavor(),
            "imageRef": here.image_id,
            "networks": "none",
        }
        how: dict[str, Any] = {"who": "demo", "version": "2.90"}
        good = {**order, "name": "gut \u00fcber \u6c49", "description": "two\n\tlines"}
        made = await here.post("/servers", {"server": good}, status=202, **how)
        path = f"/servers/{made['server']['id']}"
        group = {"name": text, "policy": "anti-affinity"}
        rebuild = {"imageRef": here.image_id, "name": text}
        for method, where, body in (
            ("POST", "/servers", {"server": {**order, "name": text}}),
            ("POST", "/servers", {"server": {**order, "description": text}}),
            ("PUT", path, {"server": {"name": text}}),
            ("PUT", path, {"server": {"description": text}}),
            ("POST", f"{path}/action", {"rebuild": rebuild}),
            ("POST", "/os-server-groups", {"server_group": group}),
        ):
            _, told, _ = await here.call(method, where, body, status=400, **how)
            assert text not in told["badRequest"]["message"]


async def test_what_is_looked_up_and_kept_is_bounded(tmp_path: Path) -> None:
    """One order is no thousand look-ups, and no password is a file."""
    async with cloud(tmp_path, 1) as here:
        flavor = await here.flavor()
        order = {"name": "n", "flavorRef": flavor, "imageRef": here.image_id}
        many = [{"uuid": here.network_id}] * 65
        for more in (
            {"networks": many},
            {"networks": "none", "security_groups": [{"name": f"g{n}"} for n in range(101)]},
            {"networks": "none", "adminPass": "x" * 256},
        ):
            body = {"server": {**order, **more}}
            await here.call("POST", "/servers", body, who="demo", version="2.60", status=400)
        await here.enrol_imaginary(1)
        uuid = await here.boot(flavor, who="demo")
        await here.server_is(uuid, "ACTIVE")
        for action in ({"rescue": {}}, {"rebuild": {"imageRef": here.image_id}}):
            ((_, given),) = action.items()
            given["adminPass"] = "x" * 256
            await here.call("POST", f"/servers/{uuid}/action", action, who="demo", status=400)


async def test_keys_and_rules_of_groups_are_bounded(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        how: dict[str, Any] = {"who": "demo", "version": "2.64"}
        blob = base64.b64encode(b"\0\0\0\x07ssh-rsa" + bytes(100)).decode()
        for length, status in ((16384, 201), (16385, 400)):
            text = f"ssh-rsa {blob} ".ljust(length, "x")
            body: dict[str, Any] = {"keypair": {"name": f"k{length}", "public_key": text}}
            await here.call("POST", "/os-keypairs", body, status=status, **how)
        group = {"name": "g", "policy": "anti-affinity"}
        for rules, policy, status in (
            ({"max_server_per_host": 3}, "anti-affinity", 200),
            ({}, "affinity", 200),
            ({"max_server_per_host": 0}, "anti-affinity", 400),
            ({"max_server_per_host": 3}, "affinity", 400),
            ({"other": "x" * 1000}, "anti-affinity", 400),
        ):
            body = {"server_group": {**group, "policy": policy, "rules": rules}}
            _, made, _ = await here.call("POST", "/os-server-groups", body, status=status, **how)
            assert status != 200 or made["server_group"]["rules"] == rules


async def test_lists_are_not_sorted_by_what_is_not_shown(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1) as here:
        for key in ("host", "node"):
            query = f"/servers?sort_key=name&sort_key={key}"
            _, told, _ = await here.call("GET", query, who="demo", status=403)
            assert "Only administrators" in told["forbidden"]["message"]
            await here.get(query)
        await here.get("/servers?sort_key=name", who="demo")
