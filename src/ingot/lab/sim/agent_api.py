"""The agent's REST API, on a listener that exists only while that agent runs.

Paths, status codes and the `{faultcode, faultstring}` errors are those of ironic-python-agent 13.
"""

from __future__ import annotations

import json
import ssl
import time

from aiohttp import web

from ingot.lab.sim.agent_commands import CommandTable
from ingot.lab.sim.agent_errors import AgentError
from ingot.lab.sim.agent_state import AgentState
from ingot.lab.sim.inventory import AGENT_VERSION
from ingot.lab.sim.jsonshape import as_object, read_object
from ingot.lab.sim.listeners import HttpListener, tcp_listener

_MEDIA = "application/vnd.openstack.ironic-python-agent.v1+json"
_DOCS = "https://docs.openstack.org/ironic-python-agent"


def _reply(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), status=status, content_type="application/json"
    )


def _fault(status: int, text: str) -> web.Response:
    code = "Server" if status >= 500 else "Client"
    return _reply({"faultcode": code, "faultstring": text}, status)


class AgentListener:
    """One agent's socket. `url` is the callback URL that its heartbeats announce."""

    def __init__(self, agent: AgentState, commands: CommandTable) -> None:
        self._agent = agent
        self._table = commands
        self._started = time.time()
        server = web.Server(self._handle, access_log=None, keepalive_timeout=5)
        self._http = HttpListener(server)
        self.url = ""

    @classmethod
    async def open(
        cls,
        agent: AgentState,
        commands: CommandTable,
        address: str,
        port: int,
        context: ssl.SSLContext | None,
    ) -> AgentListener:
        listener = cls(agent, commands)
        sock = tcp_listener(address, port)
        await listener._http.open(sock, context)
        scheme = "https" if context else "http"
        listener.url = f"{scheme}://{address}:{sock.getsockname()[1]}"
        return listener

    async def close(self) -> None:
        await self._http.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/v1/"):
            path = path[3:]
        if path == "/" and request.method == "GET":
            return self._root(request)
        if path == "/status" and request.method == "GET":
            return _reply({"started_at": self._started, "version": AGENT_VERSION})
        if path.rstrip("/") == "/commands":
            return await self._commands(request)
        if path.startswith("/commands/") and request.method == "GET":
            return await self._command(request, path.removeprefix("/commands/"))
        return _fault(404, "404 Not Found: The requested URL was not found on the server.")

    def _root(self, request: web.BaseRequest) -> web.Response:
        root = self.url
        version = {
            "id": "v1",
            "links": [
                {"href": f"{root}/v1", "rel": "self"},
                {"href": _DOCS, "rel": "describedby", "type": "text/html"},
            ],
        }
        if request.path == "/v1/":
            links = {
                kind: [
                    {"href": f"{root}/v1/{kind}", "rel": "self"},
                    {"href": f"{root}/{kind}", "rel": "bookmark"},
                ]
                for kind in ("commands", "status")
            }
            media = [{"base": "application/json", "type": _MEDIA}]
            return _reply({**links, "media_types": media, **version})
        return _reply(
            {
                "name": "OpenStack Ironic Python Agent API",
                "description": "Ironic Python Agent is a provisioning agent for OpenStack Ironic",
                "versions": [version],
                "default_version": version,
            }
        )

    def _token_wrong(self, request: web.BaseRequest) -> bool:
        given = request.query.get("agent_token", "")
        return not given or not self._agent.token or given != self._agent.token

    async def _commands(self, request: web.BaseRequest) -> web.Response:
        if self._token_wrong(request):
            return _fault(401, "401 Unauthorized: Token invalid.")
        table = self._table
        if request.method == "GET":
            return _reply({"commands": [one.as_dict() for one in table.all()]})
        if request.method != "POST":
            return _fault(405, "405 Method Not Allowed: The method is not allowed.")
        try:
            body = read_object(await request.read())
        except ValueError as problem:
            return _fault(400, f"400 Bad Request: {problem}")
        params = as_object(body.get("params")) if body else None
        if body is None or "name" not in body or params is None:
            return _fault(400, "400 Bad Request: Missing or invalid name or params")
        peer = request.transport.get_extra_info("peername") if request.transport else None
        source = f"{peer[0]}:{peer[1]}" if peer else "?"
        try:
            command = table.start(str(body["name"]), params, source)
        except AgentError as error:
            return _fault(error.code, str(error))
        if request.query.get("wait", "").lower() == "true":
            await command.done.wait()
        return _reply(command.as_dict())

    async def _command(self, request: web.BaseRequest, ident: str) -> web.Response:
        if self._token_wrong(request):
            return _fault(401, "401 Unauthorized: Token invalid.")
        command = self._table.get(ident)
        if command is None:
            return _fault(404, f"Not found: Command Result with id {ident} not found.")
        if request.query.get("wait", "").lower() == "true":
            await command.done.wait()
        return _reply(command.as_dict())
