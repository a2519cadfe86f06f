"""A small Redfish service on loopback with payloads like those of real controllers, and quirks."""

import asyncio
import base64
import copy
import json
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

USER, PASSWORD = "operator", "corr3ct-h0rse"
SYSTEM = "/redfish/v1/Systems/1"
SESSIONS = "/redfish/v1/SessionService/Sessions"
PAYLOADS = Path(__file__).parent / "payloads" / "rack.json"

# A quirk looks at a request and answers it itself, or gives None.
Quirk = Callable[["Service", str, str, dict[str, Any]], web.Response | None]


def error(status: int, message: str, message_id: str = "Base.1.0.GeneralError") -> web.Response:
    info = [{"MessageId": message_id, "Message": message, "Resolution": "None"}]
    body = {"error": {"code": message_id, "@Message.ExtendedInfo": info}}
    return web.json_response(body, status=status)


class Service:
    """One controller. `asked` lists every request; `quirks` may answer first."""

    def __init__(self, *, sessions: bool = True, need_etag: bool = False) -> None:
        self.resources: dict[str, Any] = json.loads(PAYLOADS.read_text())
        self.sessions = sessions
        self.need_etag = need_etag
        self.tokens: set[str] = set()
        self.asked: list[str] = []
        self.quirks: list[Quirk] = []
        #: Whether `$expand` puts members into their collection.
        self.expands = False
        self.on_count = 0
        self.logins = 0
        self.version = 0
        self.base = ""
        self.segments: random.Random | None = None
        self._runner: web.AppRunner | None = None

    @property
    def system(self) -> dict[str, Any]:
        return self.resources[SYSTEM]

    async def start(self, tls: ssl.SSLContext | None = None) -> "Service":
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._deliver)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def driver_info(self) -> dict[str, object]:
        return {
            "redfish_address": self.base,
            "redfish_username": USER,
            "redfish_password": PASSWORD,
        }

    async def cycles(self) -> int:
        return self.on_count

    async def _deliver(self, request: web.Request) -> web.StreamResponse:
        """The answer; with `segments`, in pieces of random size that arrive one after the other."""
        whole = await self._answer(request)
        if self.segments is None:
            return whole
        body = whole.body if isinstance(whole.body, bytes) else b""
        reply = web.StreamResponse(status=whole.status, headers=whole.headers)
        reply.content_length = len(body)
        await reply.prepare(request)
        while body:
            size = self.segments.randint(1, max(2, len(body) // 2))
            await reply.write(body[:size])
            await asyncio.sleep(0.001)
            body = body[size:]
        return reply

    async def _answer(self, request: web.Request) -> web.Response:
        method, path = request.method, request.path
        self.asked.append(f"{method} {path}")
        text = await request.text()
        body: dict[str, Any] = json.loads(text) if text else {}
        for quirk in self.quirks:
            answered = quirk(self, method, path, body)
            if answered is not None:
                return answered
        if path == SESSIONS and method == "POST":
            return self._login(body)
        if path != "/redfish/v1/" and not self._known(request):
            return error(401, "Authentication required", "Base.1.0.InsufficientPrivilege")
        if method == "DELETE" and path.startswith(SESSIONS):
            self.tokens.discard(path.rsplit("/", 1)[-1])
            return web.Response(status=204)
        if method == "POST" and path.endswith("ComputerSystem.Reset"):
            return self._reset(str(body.get("ResetType")))
        if method == "POST" and "/Actions/VirtualMedia." in path:
            return self._media(path, body)
        if path not in self.resources:
            return error(404, f"{path} does not exist")
        if method == "PATCH":
            return self._patch(request, path, body)
        found = self.resources[path]
        if self.expands and "$expand" in request.query:
            members = [self.resources.get(m["@odata.id"], m) for m in found["Members"]]
            found = {**found, "Members": members}
        return web.json_response(found, headers={"ETag": self._etag()})

    def _etag(self) -> str:
        return f'W/"{self.version}"'

    def _login(self, body: dict[str, Any]) -> web.Response:
        if not self.sessions:
            return error(404, "no session service")
        if (body.get("UserName"), body.get("Password")) != (USER, PASSWORD):
            return error(401, "Invalid username or password")
        self.logins += 1
        token = f"token{self.logins}"
        self.tokens.add(token)
        headers = {"X-Auth-Token": token, "Location": f"{SESSIONS}/{token}"}
        return web.json_response({"@odata.id": f"{SESSIONS}/{token}"}, status=201, headers=headers)

    def _known(self, request: web.Request) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        token = request.headers.get("X-Auth-Token")
        return request.headers.get("Authorization") == basic or token in self.tokens

    def _reset(self, kind: str) -> web.Response:
        action = self.system["Actions"]["#ComputerSystem.Reset"]
        if kind not in action["ResetType@Redfish.AllowableValues"]:
            return error(400, f"ResetType {kind} is not supported")
        on = self.system["PowerState"] == "On"
        if kind in ("On", "ForceOn"):
            if on:
                return error(400, "The system is already powered on")
            self.on_count += 1
            self.system["PowerState"] = "On"
        elif kind in ("ForceOff", "GracefulShutdown"):
            self.system["PowerState"] = "Off"
        return web.Response(status=204)

    def _media(self, path: str, body: dict[str, Any]) -> web.Response:
        drive = self.resources[path.split("/Actions/")[0]]
        drive["Inserted"] = path.endswith("InsertMedia")
        drive["Image"] = body.get("Image")
        return web.Response(status=204)

    def _patch(self, request: web.Request, path: str, body: dict[str, Any]) -> web.Response:
        match = request.headers.get("If-Match")
        if self.need_etag and match is None:
            return error(428, "If-Match is required")
        if match not in (None, "*", f'"{self.version}"'):  # refuses its own weak ETag
            return error(412, "ETag does not match")
        for name, value in copy.deepcopy(body).items():
            here = self.resources[path]
            here[name] = {**here[name], **value} if isinstance(value, dict) else value
        self.version += 1
        return web.Response(status=204)
