"""A tenant at the serial console of his server: the stock client's URL, a websocket, and the end of both."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ingot.services.baremetal import store as nodes
from tests.compute.cloud import Cloud, cloud

pytestmark = pytest.mark.anyio
WISH = {"remote_console": {"protocol": "serial", "type": "serial"}}


async def echoed(client: Any, words: bytes) -> None:
    """Type until it comes back: before the session is up, the reason comes instead."""
    said = b""
    async with asyncio.timeout(60):
        while True:
            await client.send(words)
            try:
                async with asyncio.timeout(1):
                    while words not in said:
                        said += await client.recv()
                    return
            except TimeoutError:
                continue


@pytest.mark.clients
@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool")
async def test_the_console_of_a_server(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1, protocols=("ipmi",)) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor())
        await here.server_is(uuid, "ACTIVE")
        url = await here.client(
            "console", "url", "show", "--serial", uuid, "-f", "value", "-c", "url"
        )
        assert url.startswith(f"ws://127.0.0.1:{here.url.rpartition(':')[2]}/console?token="), url
        path = f"/servers/{uuid}/remote-consoles"
        told = (await here.post(path, WISH, version="2.6", status=200))["remote_console"]
        assert (told["protocol"], told["type"]) == ("serial", "serial")
        old = await here.post(
            f"/servers/{uuid}/action", {"os-getSerialConsole": {"type": "serial"}}, status=200
        )
        assert old["console"]["type"] == "serial" and old["console"]["url"] != url
        async with connect(url, subprotocols=["binary"]) as client:  # type: ignore[list-item]
            await echoed(client, b"hello from the tenant")
            # The log of the server listens to the same session.
            async with asyncio.timeout(30):
                while "hello from the tenant" not in await log(here, uuid):
                    await asyncio.sleep(0.1)
            await here.call("DELETE", f"/servers/{uuid}", status=204)
            async with asyncio.timeout(30):
                await client.wait_closed()
            assert client.close_code == 1008
        for dead in (url, old["console"]["url"]):
            with pytest.raises(InvalidStatus):
                async with connect(dead):
                    pass


async def change(here: Cloud, verb: str, path: str, body: Any = None, token: str = "") -> None:
    """As the administrator, at the Identity API; token: what is asked about."""
    headers = {"X-Auth-Token": await here.token("admin")}
    headers |= {"X-Subject-Token": token} if token else {}
    url = f"{here.url}/identity/v3{path}"
    async with here.session.request(verb, url, json=body, headers=headers) as reply:
        assert reply.status in (200, 204), await reply.text()


async def member_role(here: Cloud) -> str:
    headers = {"X-Auth-Token": await here.token("admin")}
    url = f"{here.url}/identity/v3/roles?name=member"
    async with here.session.get(url, headers=headers) as reply:
        return str((await reply.json())["roles"][0]["id"])


@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool")
async def test_a_guest_leaves_with_his_right(tmp_path: Path) -> None:
    """Whatever ends it: the connection is closed within ten seconds, and the ticket opens no other."""
    async with cloud(tmp_path, 1, protocols=("ipmi",)) as here:
        await here.enrol()
        uuid = await here.boot(await here.flavor(), who="demo")
        await here.server_is(uuid, "ACTIVE")
        user, place = f"/users/{here.made.demo_user_id}", f"/projects/{here.made.demo_project_id}"
        role = f"{place}{user}/roles/{await member_role(here)}"
        off, on = {"enabled": False}, {"enabled": True}

        async def ticket() -> str:
            here.tokens.pop("demo", None)
            path = f"/servers/{uuid}/remote-consoles"
            made = await here.post(path, WISH, version="2.6", status=200, who="demo")
            return str(made["remote_console"]["url"])

        for end, undo in (
            (("DELETE", "/auth/tokens", None), None),
            (("PATCH", user, {"user": off}), ("PATCH", user, {"user": on})),
            (("PATCH", place, {"project": off}), ("PATCH", place, {"project": on})),
            (("DELETE", role, None), ("PUT", role, None)),
            (("DELETE", user, None), None),
        ):
            url = await ticket()
            async with connect(url) as client:
                await echoed(client, b"here")
                about = here.tokens["demo"] if end[1] == "/auth/tokens" else ""
                await change(here, *end, token=about)
                async with asyncio.timeout(10):
                    await client.wait_closed()
                assert client.close_code == 1008, end
            with pytest.raises(InvalidStatus):
                async with connect(url):
                    pass
            if undo is not None:
                await change(here, *undo)


async def log(here: Cloud, uuid: str) -> str:
    body = {"os-getConsoleOutput": {}}
    return str((await here.post(f"/servers/{uuid}/action", body, status=200))["output"])


async def test_what_there_is_no_console_for(tmp_path: Path) -> None:
    async with cloud(tmp_path, 1, protocols=("redfish",)) as here:
        (node,) = await here.enrol()
        flavor = await here.flavor()
        uuid = await here.boot(flavor)
        await here.server_is(uuid, "ACTIVE")
        path = f"/servers/{uuid}/remote-consoles"
        for body, version, status in (
            (WISH, "2.5", 404),
            (WISH, "2.6", 400),  # the driver has no console
            ({"remote_console": {"protocol": "vnc", "type": "novnc"}}, "2.6", 400),
            ({"remote_console": {"protocol": "mks", "type": "webmks"}}, "2.7", 400),
            ({"remote_console": {"protocol": "mks", "type": "webmks"}}, "2.8", 400),
            ({"remote_console": {"protocol": "vnc", "type": "serial"}}, "2.6", 400),
            ({"remote_console": {"protocol": "serial"}}, "2.6", 400),
            ({"remote_console": {**WISH["remote_console"], "more": 1}}, "2.6", 400),
            ({}, "2.6", 400),
        ):
            await here.call("POST", path, body, version=version, status=status)
        reply = await here.post(path, WISH, version="2.96", status=400)
        assert "driver has no console" in reply["badRequest"]["message"]
        vnc = {"os-getVNCConsole": {"type": "novnc"}}
        await here.call("POST", f"/servers/{uuid}/action", vnc, version="2.1", status=400)
        await here.call("POST", f"/servers/{uuid}/action", vnc, version="2.6", status=404)
        other = {"os-getSerialConsole": {"type": "novnc"}}
        await here.call("POST", f"/servers/{uuid}/action", other, version="2.1", status=400)
        await here.call("POST", path, WISH, version="2.6", who="demo", status=404)
        assert (await here.node(node)).instance_uuid == uuid
        second = await here.boot(flavor, "two")  # no machine is left for it
        await here.server_is(second, "ERROR", "gone")
        await here.call(
            "POST", f"/servers/{second}/remote-consoles", WISH, version="2.6", status=409
        )


async def test_a_log_ends_with_its_server(tmp_path: Path) -> None:
    """Also where only the servers are looked at that have changed."""
    async with cloud(tmp_path, 1) as here:
        await here.enrol_imaginary(2)
        flavor = await here.flavor()
        for taken in (False, True):
            uuid = await here.boot(flavor)
            node = (await here.server_is(uuid, "ACTIVE"))["OS-EXT-SRV-ATTR:hypervisor_hostname"]
            file = tmp_path / "consoles" / f"{uuid}.log"
            await there(file, True)
            if taken:
                await here.db.write(
                    lambda conn, n=node: nodes.update_node(conn, n, instance_uuid=None)
                )
            else:
                await here.call("DELETE", f"/servers/{uuid}", status=204)
            await there(file, False)


async def there(file: Path, wanted: bool) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(file.exists) is not wanted:
            await asyncio.sleep(0.05)
