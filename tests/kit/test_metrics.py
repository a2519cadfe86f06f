"""/metrics is made beside the requests, once for all who ask, and nobody's words make rows of it."""

from __future__ import annotations

import asyncio

import pytest

from ingot.app import metrics
from ingot.kit.asgi import WebApp, plain_envelope
from ingot.kit.policy import Policy
from ingot.kit.web import Call, Operation, Reply, Service

pytestmark = pytest.mark.anyio


async def test_it_is_made_once_for_all_who_ask() -> None:
    made: list[int] = []

    def more() -> bytes:
        made.append(1)
        return b"more 1\n"

    shown = metrics.Metrics(more)
    texts = await asyncio.gather(*(shown.text() for _ in range(200)))
    assert len(made) == 1 and len(set(texts)) == 1
    assert b"ingot_database_statements_total" in texts[0] and texts[0].endswith(b"more 1\n")


async def test_it_is_made_in_another_thread() -> None:
    """So many rows as there may be take a second, in which others are answered."""
    for number in range(3000):
        metrics.observe("test", f"/{number}", "GET", 200, 0.1)
    longest, done = 0.0, False
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        nonlocal longest
        last = loop.time()
        while not done:
            await asyncio.sleep(0)
            longest, last = max(longest, loop.time() - last), loop.time()

    beating = asyncio.ensure_future(beat())
    began = loop.time()
    await metrics.Metrics(lambda: b"").text()
    took, done = loop.time() - began, True
    await beating
    assert longest < took / 2, "the loop stood still"


async def test_strange_methods_are_one() -> None:
    seen: list[str] = []

    async def show(_call: Call) -> Reply:
        return Reply({})

    service = Service(
        "t", "", [Operation("GET", "/a", show, rule=None)], plain_envelope, Policy({})
    )
    app = WebApp([service], lambda _s, _p, method, _status, _took: seen.append(method))
    for method in ("GET", "LINK", "MKCOL", "PUT"):
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "path": "/a", "raw_path": b"/a", "query_string": b"", "scheme": "http",
            "headers": [(b"host", b"x")], "server": ("x", 80), "client": ("x", 1), "root_path": "",
        }  # fmt: skip

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_message: object) -> None:
            return None

        await app.asgi(scope, receive, send)
    assert "LINK" not in seen and "MKCOL" not in seen and "GET" in seen
