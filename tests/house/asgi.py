"""One request to an ASGI application, without a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


async def ask(
    app: Any, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body of the reply."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
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

    await app(scope, receive, send)
    return status, b"".join(parts)
