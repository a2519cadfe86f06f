"""A very small controller, enough to judge the simulated machines by the real protocols.

It serves boot scripts, lookup, heartbeat, inspection and an image, speaks Redfish to BMCs and
the agent's commands to agents, and drives one deploy from power-on to the running instance. It
is no model of Ingot: it has no retries, so that what it sees is what the machines did.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

IMAGE = bytes(range(256)) * 4096
DIGEST = hashlib.sha512(IMAGE).hexdigest()


@dataclass
class Node:
    document: dict[str, Any]
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    intent: str = "agent"
    token: str = ""
    token_given: bool = False
    callback: str = ""
    certificate: str = ""
    beats: int = 0
    lookups: int = 0
    locked_lookups: int = 0
    inspection: dict[str, Any] | None = None
    beat: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def mac(self) -> str:
        return self.document["ports"][0]["address"]

    def new_boot(self, intent: str) -> None:
        self.intent, self.token, self.token_given = intent, uuid.uuid4().hex * 2, False
        self.callback = self.certificate = ""
        self.beat.clear()


class FakeConductor:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.image_gets = 0
        self.image_ranges = 0
        self.image = IMAGE
        self.boot_asks: list[str] = []
        self.first_asks = 0
        self.away = False
        self.heartbeat_timeout = 300
        app = web.Application(client_max_size=2**24)
        app.add_routes(
            [
                web.get("/", self._root),
                web.get("/boot.ipxe", self._first),
                web.get("/boot/{mac}", self._boot),
                web.get("/files/{name}", self._file),
                web.get("/v1/lookup", self._lookup),
                web.post("/v1/heartbeat/{uuid}", self._heartbeat),
                web.post("/v1/continue_inspection", self._inspection),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        self.url = ""

    async def __aenter__(self) -> FakeConductor:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()
        await self._runner.cleanup()

    def enrol(self, document: dict[str, Any]) -> list[Node]:
        added = [Node(one) for one in document["nodes"]]
        self.nodes |= {node.uuid: node for node in added}
        return added

    # What machines and agents ask -----------------------------------------------------------

    async def _root(self, _request: web.Request) -> web.Response:
        version = {"id": "v1", "version": "1.115", "min_version": "1.1", "status": "CURRENT"}
        return web.json_response({"default_version": version, "versions": [version]})

    def _by_mac(self, macs: list[str]) -> Node | None:
        return next((n for n in self.nodes.values() if n.mac in macs), None)

    async def _first(self, _request: web.Request) -> web.Response:
        self.first_asks += 1
        if self.away:
            raise web.HTTPServiceUnavailable  # as a load balancer without controllers
        return web.Response(text=f"#!ipxe\nchain --replace {self.url}/boot/${{mac}}\n")

    async def _boot(self, request: web.Request) -> web.Response:
        mac = request.match_info["mac"]
        self.boot_asks.append(mac)
        if self.away:
            raise web.HTTPServiceUnavailable
        node = self._by_mac([mac])
        if node is None:
            raise web.HTTPNotFound
        if node.intent == "disk":
            return web.Response(text="#!ipxe\nsanboot --no-describe --drive 0x80\n")
        extra = ""
        if node.intent == "inspect":
            extra = f" ipa-inspection-callback-url={self.url}/v1/continue_inspection"
        script = (
            f"#!ipxe\nset base {self.url}/files\n:retry\n"
            f"kernel ${{base}}/agent.kernel ipa-api-url={self.url} BOOTIF=01-${{mac:hexhyp}}"
            f"{extra} || goto retry\ninitrd ${{base}}/agent.initrd || goto retry\nboot\n"
        )
        return web.Response(text=script)

    async def _file(self, request: web.Request) -> web.Response:
        if request.match_info["name"] != "image.raw":
            return web.Response(body=b"x")
        part = request.http_range
        if "Range" in request.headers:
            self.image_ranges += 1
            stop = min(part.stop or len(self.image), len(self.image))
            start = part.start or 0
            span = f"bytes {start}-{stop - 1}/{len(self.image)}"
            return web.Response(
                body=self.image[start:stop], status=206, headers={"Content-Range": span}
            )
        self.image_gets += 1
        return web.Response(body=self.image)

    async def _lookup(self, request: web.Request) -> web.Response:
        assert request.headers["X-OpenStack-Ironic-API-Version"] == "1.62"
        node = self._by_mac(request.query["addresses"].split(","))
        if node is None or node.intent == "disk":
            raise web.HTTPNotFound
        node.lookups += 1
        if node.locked_lookups:
            node.locked_lookups -= 1
            raise web.HTTPConflict
        token = "******" if node.token_given else node.token
        node.token_given = True
        config = {"heartbeat_timeout": self.heartbeat_timeout, "agent_token": token}
        return web.json_response({"node": {"uuid": node.uuid}, "config": config})

    async def _heartbeat(self, request: web.Request) -> web.Response:
        assert request.headers["X-OpenStack-Ironic-API-Version"] == "1.68"
        node = self.nodes[request.match_info["uuid"]]
        body = await request.json()
        if body["agent_token"] != node.token:
            raise web.HTTPBadRequest(text="wrong token")
        assert body["agent_version"] == "13.0.0"
        node.callback, node.certificate = body["callback_url"], body.get("agent_verify_ca", "")
        node.beats += 1
        node.beat.set()
        return web.Response(status=202)

    async def _inspection(self, request: web.Request) -> web.Response:
        assert "X-OpenStack-Ironic-API-Version" not in request.headers
        data = await request.json()
        macs = [one["mac_address"] for one in data["inventory"]["interfaces"]]
        node = self._by_mac(macs)
        if node is None:
            raise web.HTTPNotFound
        node.inspection = data
        return web.json_response({"uuid": node.uuid})

    # What the controller does ---------------------------------------------------------------

    async def redfish(self, node: Node, method: str, path: str, body: object = None) -> Any:
        info = node.document["driver_info"]
        login = aiohttp.encode_basic_auth(info["redfish_username"], info["redfish_password"])
        headers = {"Authorization": login}
        url = info["redfish_address"] + path
        async with self.http.request(method, url, json=body, headers=headers) as reply:
            text = await reply.text()
            if reply.status >= 400:
                raise RuntimeError(f"{reply.status} {text}")
            return json.loads(text) if text else None

    async def reset(self, node: Node, kind: str) -> None:
        path = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"
        await self.redfish(node, "POST", path, {"ResetType": kind})

    async def set_boot(self, node: Node, target: str) -> None:
        boot = {"BootSourceOverrideTarget": target, "BootSourceOverrideEnabled": "Once"}
        await self.redfish(node, "PATCH", "/redfish/v1/Systems/1", {"Boot": boot})

    async def power_is(self, node: Node, wanted: str, timeout: float = 10) -> None:
        async with asyncio.timeout(timeout):
            while True:
                system = await self.redfish(node, "GET", "/redfish/v1/Systems/1")
                if system["PowerState"] == wanted:
                    return
                await asyncio.sleep(0.02)

    async def next_beat(self, node: Node, timeout: float = 10) -> None:
        await asyncio.wait_for(node.beat.wait(), timeout)
        node.beat.clear()

    def trust(self, node: Node) -> ssl.SSLContext | bool:
        if not node.certificate:
            return True
        return ssl.create_default_context(cadata=node.certificate)

    async def ask_agent(
        self, node: Node, method: str, path: str, body: object = None, **query: str
    ) -> tuple[int, Any]:
        params = {"agent_token": node.token} | query
        async with self.http.request(
            method, node.callback + path, json=body, params=params, ssl=self.trust(node)
        ) as reply:
            return reply.status, await reply.json()

    async def command(self, at: Node, name: str, wait: bool = False, **params: Any) -> Any:
        query = {"wait": "true"} if wait else {}
        body = {"name": name, "params": params}
        status, answer = await self.ask_agent(at, "POST", "/v1/commands/", body, **query)
        assert status == 200, (status, answer)
        return answer

    async def finished(self, node: Node, command: dict[str, Any], timeout: float = 10) -> Any:
        """Wait as a conductor does: at heartbeats, ask for the last command."""
        async with asyncio.timeout(timeout):
            while True:
                await self.next_beat(node, timeout)
                _, answer = await self.ask_agent(node, "GET", "/v1/commands/")
                last = answer["commands"][-1]
                assert last["id"] == command["id"]
                if last["command_status"] != "RUNNING":
                    return last

    def image_info(self, **more: Any) -> dict[str, Any]:
        return {
            "id": "image-1",
            "urls": [f"{self.url}/files/image.raw"],
            "disk_format": "raw",
            "os_hash_algo": "sha512",
            "os_hash_value": DIGEST,
            "stream_raw_images": True,
        } | more

    async def boot_agent(self, node: Node, intent: str = "agent") -> None:
        node.new_boot(intent)
        await self.set_boot(node, "Pxe")
        await self.reset(node, "On")
        await self.next_beat(node)

    async def write(self, node: Node, info: dict[str, Any] | None = None, **more: Any) -> Any:
        args = {"image_info": info or self.image_info()} | more
        step = {"interface": "deploy", "step": "write_image", "args": args}
        command = await self.command(
            node, "deploy.execute_deploy_step", step=step, node={"uuid": node.uuid}, ports=[]
        )
        return await self.finished(node, command)

    async def deploy(self, node: Node) -> None:
        """All of it; ends when the instance has been told to boot."""
        await self.boot_agent(node)
        who = {"node": {"uuid": node.uuid}, "ports": []}
        steps = await self.command(node, "deploy.get_deploy_steps", **who)
        listed = steps["command_result"]["deploy_steps"]["generic_hardware_manager"]
        assert "write_image" in [row["step"] for row in listed]
        written = await self.write(node, configdrive="aGVsbG8=")
        assert written["command_status"] == "SUCCEEDED", written
        loader = await self.command(node, "image.install_bootloader", root_uuid="x")
        assert (await self.finished(node, loader))["command_status"] == "SUCCEEDED"
        node.intent = "disk"
        await self.command(node, "standby.sync")
        await self.command(node, "standby.power_off")
        await self.power_is(node, "Off")
        await self.reset(node, "On")
