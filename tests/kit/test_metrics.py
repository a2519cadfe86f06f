"""/metrics is made beside the requests, once for all who ask, and nobody's words make rows of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ingot.app import metrics
from ingot.kit.api.operations import Call, Handler, Operation, Reply, Service
from ingot.kit.auth.policy import Policy
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.server import WebApp, plain_envelope

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


def _app(show: Handler, **options: Any) -> WebApp:
    service = Service(
        "t", "", [Operation("GET", "/a", show, rule=None)], plain_envelope, Policy({})
    )
    return WebApp([service], **options)


async def _ask(
    app: WebApp, method: str = "GET", peer: str = "x", **headers: str
) -> tuple[int, bytes]:
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "path": "/a", "raw_path": b"/a", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"x"), *told], "server": ("x", 80), "client": (peer, 1), "root_path": "",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app.asgi(scope, receive, send)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent)


async def test_strange_methods_are_one() -> None:
    seen: list[str] = []

    async def show(_call: Call) -> Reply:
        return Reply({})

    app = _app(show, observe=lambda _s, _p, method, _status, _took: seen.append(method))
    for method in ("GET", "LINK", "MKCOL", "PUT"):
        await _ask(app, method)
    assert "LINK" not in seen and "MKCOL" not in seen and "GET" in seen


async def test_machines_are_named_to_named_scrapers_only() -> None:
    """Sensors carry the names of machines, and there is no token: anybody who reached the API's port was told."""
    shown = metrics.Metrics(lambda: b"named 1\n", ["127.0.0.0/8", "192.0.2.7/32"])
    app = _app(shown.show, proxies=Proxies(["192.0.2.1"]))
    for peer, status in (
        ("127.0.0.1", 200), ("192.0.2.7", 200), ("::ffff:192.0.2.7", 200),
        ("192.0.2.8", 403), ("2001:db8::1", 403), ("gone", 403),
    ):  # fmt: skip
        code, text = await _ask(app, peer=peer)
        assert (code, b"named" in text) == (status, status == 200), peer
    # A proxy of ours stands for whoever asks; another one's word is nothing, and neither is its own address.
    assert (await _ask(app, peer="192.0.2.1", x_forwarded_for="192.0.2.7"))[0] == 200
    assert (await _ask(app, peer="192.0.2.1", x_forwarded_for="192.0.2.8"))[0] == 403
    assert (await _ask(app, peer="127.0.0.1", x_forwarded_for="192.0.2.7"))[0] == 403
    assert (await _ask(app, peer="192.0.2.8", x_forwarded_for="127.0.0.1"))[0] == 403
