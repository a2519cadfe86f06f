"""A Redfish service for one BMC on one loopback address.

Session tokens and basic authentication; ETag on the system with If-Match honoured; errors in
Redfish's own envelope. A BMC that has fallen silent sits on the request and then drops it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from ingot.lab.sim import redfish_docs as docs
from ingot.lab.sim.bmc import Bmc, BmcBusy, BmcRefused, BmcSilent, Caller
from ingot.lab.sim.bootscript import BootFailed
from ingot.lab.sim.delivery import Delivery
from ingot.lab.sim.jsonshape import as_object, read_object
from ingot.lab.sim.listeners import HttpListener, tcp_listener
from ingot.lab.sim.media import first_bytes
from ingot.lab.sim.redfish_board import (
    BIOS,
    EVENTS,
    REGISTRIES,
    SECURE_BOOT,
    STORAGE,
    UPDATES,
    Answer,
    BoardService,
    Refusal,
    root_links,
    system_links,
)
from ingot.lab.sim.redfish_events import EventSender
from ingot.lab.sim.types import BootDevice, BootMode, BootSetting

MAX_BODY = 1024 * 1024
MANAGER_RESET_SECONDS = 60.0
BOARD_PATHS = (
    BIOS,
    SECURE_BOOT,
    STORAGE,
    REGISTRIES,
    UPDATES,
    EVENTS,
    f"{docs.ROOT}/TaskService",
)


class _Fault(Exception):
    def __init__(self, status: int, key: str, text: str) -> None:
        self.status = status
        self.key = key
        super().__init__(text)


@dataclass(frozen=True)
class _Session:
    ident: str
    user: str


def _error(status: int, key: str, text: str) -> web.Response:
    body: docs.Doc = {
        "error": {
            "code": f"Base.1.16.{key}",
            "message": text,
            "@Message.ExtendedInfo": [
                {
                    "@odata.type": "#Message.v1_1_2.Message",
                    "MessageId": f"Base.1.16.{key}",
                    "Message": text,
                    "MessageArgs": [],
                    "Severity": "Critical",
                    "Resolution": "None.",
                }
            ],
        }
    }
    headers = {"OData-Version": "4.0"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="RedfishService"'
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        content_type="application/json",
        headers=headers,
    )


class RedfishService:
    """One BMC's listener; `open` binds it, `close` ends it."""

    def __init__(self, bmc: Bmc) -> None:
        self.bmc = bmc
        self.port = 0
        server = web.Server(self._handle, access_log=None, keepalive_timeout=30)
        self._http = HttpListener(server)
        self._delivery = Delivery(bmc.manner, bmc.chance.stream("delivery"))
        self._sessions: dict[str, _Session] = {}
        self._http_session: aiohttp.ClientSession | None = None
        self.board = bmc.board
        self._board = BoardService(self.board)
        self.events = EventSender(self.board)
        self._gets: dict[str, Callable[[], Awaitable[docs.Doc]]] = self._routes()

    async def open(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        sock = tcp_listener(address, port)
        self.port = sock.getsockname()[1]
        await self._http.open(sock, context)

    async def close(self) -> None:
        await self._http.close()
        await self.events.close()
        if self._http_session is not None:
            await self._http_session.close()

    def _routes(self) -> dict[str, Callable[[], Awaitable[docs.Doc]]]:
        bmc = self.bmc

        def plain(make: Callable[[], docs.Doc]) -> Callable[[], Awaitable[docs.Doc]]:
            async def get() -> docs.Doc:
                return make()

            return get

        def members(path: str, kind: str, paths: list[str]) -> None:
            routes[path] = plain(lambda: docs.collection(path, kind, paths))

        routes: dict[str, Callable[[], Awaitable[docs.Doc]]] = {
            docs.SYSTEM: self._system,
            docs.CHASSIS: lambda: docs.chassis(bmc),
            f"{docs.CHASSIS}/Power": lambda: docs.power_document(bmc),
            f"{docs.CHASSIS}/Thermal": lambda: docs.thermal_document(bmc),
            docs.MANAGER: plain(lambda: docs.manager(bmc)),
            docs.MEDIA: plain(lambda: docs.virtual_media(bmc)),
            docs.STICK: plain(lambda: docs.virtual_stick(self.board.drive)),
            f"{docs.ROOT}/SessionService": plain(docs.session_service),
            docs.SESSIONS: plain(self._session_list),
            f"{docs.SYSTEM}/EthernetInterfaces": plain(self._nic_list),
            f"{docs.SYSTEM}/SimpleStorage/1": plain(lambda: docs.simple_storage(bmc)),
        }
        members(f"{docs.ROOT}/Systems", "ComputerSystem", [docs.SYSTEM])
        members(f"{docs.ROOT}/Managers", "Manager", [docs.MANAGER])
        members(f"{docs.ROOT}/Chassis", "Chassis", [docs.CHASSIS])
        members(f"{docs.MANAGER}/VirtualMedia", "VirtualMedia", [docs.STICK, docs.MEDIA])
        members(f"{docs.SYSTEM}/SimpleStorage", "SimpleStorage", [f"{docs.SYSTEM}/SimpleStorage/1"])
        return routes

    async def _system(self) -> docs.Doc:
        self.board.settle()
        return {**await docs.system(self.bmc), **system_links(self.board)}

    def _session_list(self) -> docs.Doc:
        paths = [f"{docs.SESSIONS}/{one.ident}" for one in self._sessions.values()]
        return docs.collection(docs.SESSIONS, "Session", paths)

    def _nic_list(self) -> docs.Doc:
        path = f"{docs.SYSTEM}/EthernetInterfaces"
        names = [f"{path}/{nic.name}" for nic in self.bmc.backend.hardware.nics]
        return docs.collection(path, "EthernetInterface", names)

    # Requests -----------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        reply = await self._admitted(request)
        return await self._delivery.send(request, reply)

    async def _admitted(self, request: web.BaseRequest) -> web.Response:
        try:
            await self.bmc.admit()
            return await self._answer(request)
        except BmcBusy:
            reply = _error(503, "ServiceTemporarilyUnavailable", "Retry in a few seconds.")
            reply.headers["Retry-After"] = "5"
            return reply
        except BmcSilent:
            await self.bmc.hold()
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except BmcRefused as problem:
            return _error(409, "ActionNotSupported", f"Not possible now: {problem}.")
        except _Fault as fault:
            return _error(fault.status, fault.key, str(fault))

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path.rstrip("/")
        if path == "/redfish":
            return self._json({"v1": f"{docs.ROOT}/"})
        if path == docs.ROOT and request.method in ("GET", "HEAD"):
            return self._json({**docs.service_root(self.bmc), **root_links()})
        if path == docs.SESSIONS and request.method == "POST":
            return await self._log_in(request)
        caller = self._authenticate(request)
        match request.method:
            case "GET" | "HEAD":
                return await self._get(path)
            case "PATCH" if path == docs.SYSTEM:
                return await self._patch_system(request, caller)
            case "PATCH" | "DELETE" if path.startswith(BOARD_PATHS):
                return await self._change_board(path, request, caller)
            case "POST":
                return await self._post(path, request, caller)
            case "DELETE" if path.startswith(f"{docs.SESSIONS}/"):
                return self._log_out(path)
            case _:
                self._known(path)
                raise _Fault(405, "OperationNotAllowed", f"{request.method} is not allowed here.")

    def _json(self, doc: object, status: int = 200) -> web.Response:
        return web.Response(
            body=json.dumps(doc).encode(),
            status=status,
            content_type="application/json",
            headers={"OData-Version": "4.0"},
        )

    def _known(self, path: str) -> None:
        if path not in self._gets:
            raise _Fault(
                404, "ResourceMissingAtURI", f"The resource at the URI {path} was not found."
            )

    async def _change_board(
        self, path: str, request: web.BaseRequest, caller: Caller
    ) -> web.Response:
        body = await self._body(request)
        try:
            if request.method == "PATCH":
                answer = self._board.patch(path, body)
            elif request.method == "DELETE":
                answer = self._board.delete(path)
            else:
                answer = self._board.post(path, body)
        except Refusal as refused:
            raise _Fault(refused.status, refused.key, str(refused)) from refused
        if answer is None:
            self._known(path)
            text = f"{request.method} is not allowed here."
            raise _Fault(405, "OperationNotAllowed", text)
        self.bmc.record(caller, f"{request.method} {path}", "done")
        return self._answered(answer)

    def _answered(self, answer: Answer) -> web.Response:
        headers = {"OData-Version": "4.0", **answer.headers}
        if answer.body is None:
            return web.Response(status=answer.status, headers=headers)
        reply = self._json(answer.body, answer.status)
        reply.headers.update(headers)
        return reply

    async def _get(self, path: str) -> web.Response:
        if path.startswith(BOARD_PATHS):
            answer = self._board.get(path)
            if answer is not None:
                return self._answered(answer)
        for nic in self.bmc.backend.hardware.nics:
            if path == f"{docs.SYSTEM}/EthernetInterfaces/{nic.name}":
                return self._json(docs.ethernet_interface(nic))
        for one in self._sessions.values():
            if path == f"{docs.SESSIONS}/{one.ident}":
                return self._json(docs.session(one.ident, one.user))
        self._known(path)
        reply = self._json(await self._gets[path]())
        if path == docs.SYSTEM:
            reply.headers["ETag"] = await self._etag()
        return reply

    async def _etag(self) -> str:
        boot = docs.boot(await self.bmc.backend.boot_setting())
        return f'"{hashlib.sha1(json.dumps(boot).encode()).hexdigest()[:12]}"'

    # Who is it ----------------------------------------------------------------------------

    def _caller(self, request: web.BaseRequest, session: str) -> Caller:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        source = f"{peer[0]}:{peer[1]}" if peer else "?"
        return Caller("redfish", source, request.headers.get("User-Agent", ""), session)

    def _authenticate(self, request: web.BaseRequest) -> Caller:
        token = request.headers.get("X-Auth-Token")
        if token is not None:
            found = self._sessions.get(token)
            if found is not None:
                return self._caller(request, found.ident)
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(given).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                user = password = ""
            if self.bmc.log_in(user, password):
                return self._caller(request, "basic")
        raise _Fault(401, "InsufficientPrivilege", "Authentication failed or is missing.")

    async def _body(self, request: web.BaseRequest) -> dict[str, Any]:
        raw = await request.content.read(MAX_BODY + 1)
        if len(raw) > MAX_BODY:
            raise _Fault(413, "GeneralError", "The body is too large.")
        try:
            body = read_object(raw or b"{}")
        except ValueError:
            raise _Fault(400, "MalformedJSON", "The body is not valid JSON.") from None
        if body is None:
            raise _Fault(400, "UnrecognizedRequestBody", "The body must be an object.")
        return body

    async def _log_in(self, request: web.BaseRequest) -> web.Response:
        body = await self._body(request)
        user = str(body.get("UserName", ""))
        if not self.bmc.log_in(user, str(body.get("Password", ""))):
            raise _Fault(401, "InsufficientPrivilege", "Wrong user name or password.")
        limit = self.bmc.faults.session_limit
        if limit and len(self._sessions) >= limit:
            raise _Fault(503, "SessionLimitExceeded", "The maximum number of sessions is reached.")
        token = secrets.token_urlsafe(24)
        made = _Session(secrets.token_hex(4), user)
        self._sessions[token] = made
        reply = self._json(docs.session(made.ident, user), 201)
        reply.headers["X-Auth-Token"] = token
        reply.headers["Location"] = f"{docs.SESSIONS}/{made.ident}"
        return reply

    def _log_out(self, path: str) -> web.Response:
        ident = path.rpartition("/")[2]
        for token, one in list(self._sessions.items()):
            if one.ident == ident:
                del self._sessions[token]
                return web.Response(status=204)
        raise _Fault(404, "ResourceMissingAtURI", f"No session {ident}.")

    # Changes ------------------------------------------------------------------------------

    async def _patch_system(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        wanted = request.headers.get("If-Match")
        if wanted not in (None, "*", await self._etag()):
            raise _Fault(412, "PreconditionFailed", "The ETag does not match.")
        body = await self._body(request)
        boot = as_object(body.get("Boot"))
        if isinstance(body.get("IndicatorLED"), str):
            self.board.light = body["IndicatorLED"]
            boot = boot or {}
        if boot is None:
            raise _Fault(400, "PropertyUnknown", "Only Boot and IndicatorLED can be changed.")
        if self.bmc.faults.maker == "Supermicro" and "BootSourceOverrideTarget" in boot:
            # Without the mode it falls back to the old one.
            boot = {"BootSourceOverrideMode": "Legacy", **boot}
        await self.bmc.set_boot(self._merged(await self.bmc.backend.boot_setting(), boot), caller)
        return web.Response(status=204, headers={"OData-Version": "4.0"})

    def _merged(self, now: BootSetting, boot: dict[str, Any]) -> BootSetting:
        def choice(key: str, allowed: dict[str, Any], default: Any) -> Any:
            value = boot.get(key)
            if value is None:
                return default
            if value not in allowed:
                raise _Fault(400, "PropertyValueNotInList", f"{value!r} is no value of {key}.")
            return allowed[value]

        modes = {text: mode for mode, text in docs.MODES.items()}
        device: BootDevice = choice("BootSourceOverrideTarget", docs.DEVICES, now.device)
        mode: BootMode = choice("BootSourceOverrideMode", modes, now.mode)
        lengths = {"Once": "once", "Continuous": "always", "Disabled": "none"}
        length: str = choice("BootSourceOverrideEnabled", lengths, "once" if now.once else "always")
        if length == "none":
            device = BootDevice.NONE
        uri = boot.get("HttpBootUri", now.http_uri)
        if not isinstance(uri, str):
            raise _Fault(400, "PropertyValueTypeError", "HttpBootUri must be a string.")
        return BootSetting(device, length == "once", mode, uri)

    async def _post(self, path: str, request: web.BaseRequest, caller: Caller) -> web.Response:
        if path.startswith(BOARD_PATHS):
            return await self._change_board(path, request, caller)
        body = await self._body(request)
        if path == f"{docs.SYSTEM}/Actions/ComputerSystem.Reset":
            kind = body.get("ResetType")
            if kind not in docs.RESETS:
                raise _Fault(400, "ActionParameterValueNotInList", f"No ResetType {kind!r}.")
            await self._reset(str(kind), caller)
        elif path == f"{docs.MEDIA}/Actions/VirtualMedia.InsertMedia":
            image = body.get("Image")
            if not isinstance(image, str) or not image:
                raise _Fault(400, "ActionParameterMissing", "Image is required.")
            await self._insert(image, body)
            await self.bmc.set_media(image, caller)
        elif path == f"{docs.MEDIA}/Actions/VirtualMedia.EjectMedia":
            await self.bmc.set_media(None, caller)
            self.board.ejected()
        elif path == f"{docs.STICK}/Actions/VirtualMedia.InsertMedia":
            await self._insert(str(body.get("Image")), body)
            self.board.drive = str(body.get("Image"))
        elif path == f"{docs.STICK}/Actions/VirtualMedia.EjectMedia":
            self.board.drive = None
        elif path == f"{docs.MANAGER}/Actions/Manager.Reset":
            self.bmc.restart(caller, MANAGER_RESET_SECONDS)
        else:
            self._known(path)
            raise _Fault(405, "OperationNotAllowed", "POST is not allowed here.")
        return web.Response(status=204, headers={"OData-Version": "4.0"})

    async def _insert(self, image: str, body: dict[str, Any]) -> None:
        """What is wrong with an order to insert; fetches the image's first bytes, as controllers do."""
        faults = self.bmc.faults
        if self.board.eject_goes_on:
            raise _Fault(500, "InternalError", "The request failed due to an internal error.")
        if faults.media_strict:
            for name in ("Inserted", "WriteProtected"):
                if name in body:
                    text = f"The property {name} is not in the list of valid properties."
                    raise _Fault(400, "PropertyUnknown", text)
            if "TransferProtocolType" not in body:
                text = "The action requires the parameter TransferProtocolType to be present."
                raise _Fault(400, "ActionParameterMissing", text)
        if self._http_session is None:
            self._http_session = aiohttp.ClientSession()
        try:
            await first_bytes(self._http_session, image)
        except BootFailed as problem:
            text = f"The image cannot be fetched: {problem}"
            raise _Fault(400, "ResourceAtUriUnauthorized", text) from problem

    async def _reset(self, kind: str, caller: Caller) -> None:
        await self.bmc.power(docs.RESETS[kind], caller)
