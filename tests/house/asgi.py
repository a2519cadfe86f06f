"""One request to an ASGI application, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


async def ask(
    app: Any, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body of the reply; of one without an end (an event stream) what comes first."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (name.lower().encode(), value.encode())
            for name, value in {"host": "cloud", **(headers or {})}.items()
        ],
        "server": ("cloud", 80),
        "client": ("192.0.2.1", 1024),
    }
    status = 0
    parts: list[bytes] = []
    requests = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(requests, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        parts.append(message.get("body", b""))

    task = asyncio.ensure_future(app(scope, receive, send))
    if not path.endswith("/stream"):
        await task
        return status, b"".join(parts)
    while not task.done() and not any(parts):
        await asyncio.wait({task}, timeout=0.01)
    task.cancel()
    await asyncio.wait({task})
    return status, b"".join(parts)


async def enter(app: Any, path: str, headers: Mapping[str, str]) -> int:
    """Greet as a websocket: 101 where it is accepted, else the status of the refusal."""
    path, _, query = path.partition("?")
    pairs = {"host": "cloud", **headers}.items()
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        "server": ("cloud", 80),
        "client": ("192.0.2.1", 1024),
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }
    said: list[dict[str, Any]] = []
    coming = iter([{"type": "websocket.connect"}])

    async def receive() -> dict[str, Any]:
        return next(coming, {"type": "websocket.disconnect", "code": 1000})

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    first = said[0] if said else {"type": "websocket.close"}
    if first["type"] == "websocket.accept":
        return 101
    return int(first.get("status", 403))
