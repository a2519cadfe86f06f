"""A tree served over real HTTP: in small pieces, chunked, packed where that is allowed; writes change it."""

from __future__ import annotations

import asyncio
import base64
import copy
import gzip
import json
import random
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.trees.build import OK, V1, Json, Tree, link, refusal

USER, PASSWORD = "operator", "corr3ct-h0rse"
SESSIONS = f"{V1}/SessionService/Sessions"


class TreeServer:
    """One controller. on_count: how often the machine went on. updates: bodies of SimpleUpdate."""

    def __init__(self, tree: Tree, seed: int = 1) -> None:
        self.tree = tree
        self.docs = copy.deepcopy(tree.docs)
        self.random = random.Random(seed)
        self.on_count = 0
        self.version = 0
        self.updates: list[Json] = []
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.base = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> TreeServer:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def system(self) -> Json:
        return self.docs[self.tree.system]

    @property
    def etag(self) -> str:
        return self.tree.etags.format(self.version)

    def driver_info(self) -> dict[str, object]:
        info: dict[str, object] = {
            "redfish_address": self.base,
            "redfish_username": USER,
            "redfish_password": PASSWORD,
        }
        return {**info, "redfish_system_id": self.tree.system} if self.tree.named else info

    async def cycles(self) -> int:
        return self.on_count

    # -- the wire --------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        self.asked.append(f"{request.method} {path}")
        text = await request.text()
        body: Json = json.loads(text) if text else {}
        headers: dict[str, str] = {}
        if not self._known(request) and path not in (V1, SESSIONS):
            status, found = refusal(401, "Base.1.8.NoValidSession", "There is no valid session.")
        elif path == SESSIONS and request.method == "POST":
            status, found = self._login(body, headers)
        else:
            status, found = self._answer(request, path, body, headers)
        return await self._send(request, status, found, headers)

    async def _send(
        self, request: web.Request, status: int, body: Json | None, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """In pieces of any size, each in a segment of its own."""
        reply = web.StreamResponse(status=status, headers={"ETag": self.etag, **headers})
        if body is None:
            await reply.prepare(request)
            return reply
        octets = json.dumps(body).encode()
        reply.content_type = "application/json"
        # Some pack what nobody asked to be packed.
        asked = "gzip" in request.headers.get("Accept-Encoding", "")
        if self.random.random() < (0.9 if asked else 0.2):
            octets = gzip.compress(octets)
            reply.headers["Content-Encoding"] = "gzip"
        if self.random.random() < 0.5:
            reply.content_length = len(octets)
        else:
            reply.enable_chunked_encoding()
        await reply.prepare(request)
        while octets:
            size = self.random.choice((1, 40, 1400, 1400, 16000))
            await reply.write(octets[:size])
            await asyncio.sleep(0)
            octets = octets[size:]
        await reply.write_eof()
        return reply

    def _known(self, request: web.Request) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        token = request.headers.get("X-Auth-Token")
        return request.headers.get("Authorization") == basic or token in self.tokens

    def _login(self, body: Json, headers: dict[str, str]) -> tuple[int, Json]:
        if not self.tree.sessions:
            return refusal(404, "Base.1.8.ResourceMissingAtURI", "There is no such resource.")
        if (body.get("UserName"), body.get("Password")) != (USER, PASSWORD):
            return refusal(401, "Base.1.8.ResourceAtUriUnauthorized", "Wrong user or password.")
        token = f"t{len(self.tokens) + 1}"
        self.tokens.add(token)
        headers.update({"X-Auth-Token": token, "Location": f"{SESSIONS}/{token}"})
        return 201, link(f"{SESSIONS}/{token}")

    # -- what is asked ---------------------------------------------------------------------------

    def _answer(
        self, request: web.Request, path: str, body: Json, headers: dict[str, str]
    ) -> tuple[int, Json | None]:
        method = request.method
        for quirk in self.tree.quirks:
            answered = quirk(self, method, path, body, request.headers)
            if answered is not None:
                return answered
        if method == "DELETE":
            return self._delete(path)
        if method == "POST":
            return self._post(path, body, headers)
        if path not in self.docs:
            return refusal(404, "Base.1.8.ResourceMissingAtURI", f"{path} is not there.")
        if method == "PATCH":
            return self._patch(path, body)
        found = self.docs[path]
        if "$expand" in request.query and "Members" in found:
            members = [self.docs.get(one["@odata.id"], one) for one in found["Members"]]
            found = {**found, "Members": members}
        return 200, found

    def _delete(self, path: str) -> tuple[int, Json | None]:
        parent = self.docs.get(path.rsplit("/", 1)[0])
        if path.startswith(SESSIONS):
            self.tokens.discard(path.rsplit("/", 1)[-1])
            return 204, None
        if path not in self.docs or parent is None:
            return refusal(404, "Base.1.8.ResourceMissingAtURI", f"{path} is not there.")
        del self.docs[path]
        parent["Members"] = [one for one in parent["Members"] if one["@odata.id"] != path]
        return 204, None

    def _patch(self, path: str, body: Json) -> tuple[int, Json | None]:
        here = self.docs[path]
        for name, value in body.items():
            merged = isinstance(value, dict) and isinstance(here.get(name), dict)
            here[name] = {**here[name], **value} if merged else value
        if body.get("Image"):
            here["Inserted"] = True
        self.version += 1
        return 200, here

    def _post(self, path: str, body: Json, headers: dict[str, str]) -> tuple[int, Json | None]:
        verb = path.rsplit("/", 1)[-1]
        if verb == "ComputerSystem.Reset":
            return self._reset(str(body.get("ResetType")))
        if verb.startswith("VirtualMedia."):
            drive = self.docs[path.split("/Actions/")[0]]
            drive.update(Inserted="Insert" in verb, Image=body.get("Image"))
            return 204, None
        if verb == "UpdateService.SimpleUpdate":
            self.updates.append(body)
            return 202, self._task(headers)
        if verb.startswith(("Bios.", "SecureBoot.")):
            return 204, None
        if path in self.docs and "Members" in self.docs[path]:
            return self._add(path, body, headers)
        return refusal(404, "Base.1.8.ResourceMissingAtURI", f"{path} is not there.")

    def _task(self, headers: dict[str, str]) -> Json:
        path = f"{V1}/TaskService/Tasks/{len(self.updates)}"
        self.docs[path] = {**link(path), "TaskState": "Completed", "TaskStatus": "OK"}
        headers["Location"] = path
        return self.docs[path]

    def _add(self, path: str, body: Json, headers: dict[str, str]) -> tuple[int, Json]:
        """A new member of a collection: a volume, a subscription."""
        ident = str(len(self.docs[path]["Members"]) + 1)
        place = f"{path}/{ident}"
        self.docs[place] = {**link(place), "Id": ident, "Status": OK, **body}
        self.docs[path]["Members"].append(link(place))
        self.docs[path]["Members@odata.count"] = len(self.docs[path]["Members"])
        headers["Location"] = place
        return 201, self.docs[place]

    def _reset(self, kind: str) -> tuple[int, Json | None]:
        if kind in ("On", "ForceOn"):
            self.on_count += self.system["PowerState"] != "On"
            self.system["PowerState"] = "On"
            self._start()
        elif kind in ("ForceOff", "Off", "GracefulShutdown"):
            self.system["PowerState"] = "Off"
        elif "Restart" not in kind and kind != "Nmi":
            return refusal(400, "Base.1.8.ActionParameterNotSupported", f"{kind} is not supported.")
        return 204, None

    def _start(self) -> None:
        """Ordered settings take force; an override for one start is used up."""
        bios = self.docs.get(f"{self.tree.system}/Bios", {})
        target: Any = bios.get("@Redfish.Settings", {}).get("SettingsObject", {}).get("@odata.id")
        if target:
            bios["Attributes"].update(self.docs[target].get("Attributes", {}))
            self.docs[target]["Attributes"] = {}
        boot = self.system.get("Boot", {})
        if boot.get("BootSourceOverrideEnabled") == "Once":
            boot["BootSourceOverrideEnabled"] = "Disabled"
