"""/metrics is made in turns with the requests, once for all who ask, and nobody's words make rows of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

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

    shown = metrics.Metrics(metrics.RequestTimes(), more)
    texts = await asyncio.gather(*(shown.text() for _ in range(200)))
    assert len(made) == 1 and len(set(texts)) == 1
    assert b"ingot_database_statements_total" in texts[0] and texts[0].endswith(b"more 1\n")


async def test_others_have_their_turns_while_it_is_made() -> None:
    times = metrics.RequestTimes()
    for number in range(3000):
        times.observe("test", f"/{number}", "GET", 200, 0.1)
    turns, done = 0, False

    async def other() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    await metrics.Metrics(times, lambda: b"").text()
    done = True
    await beside
    assert turns > 50
    # No part of it is long.
    assert all(part.count("\n") < 1000 for part in times.slices())


def _samples(times: metrics.RequestTimes) -> list[Sample]:
    text = "".join(times.slices())
    families = list(text_string_to_metric_families(text))
    assert {family.type for family in families} == {"histogram", "counter"}
    return [sample for family in families for sample in family.samples]


async def test_lines_do_not_multiply_by_status() -> None:
    """A hostile client sees each operation fail in all ways: that costs one line a way, not a histogram."""
    times = metrics.RequestTimes()
    times.observe("test", "/a", "GET", 200, 0.1)
    before = len(_samples(times))
    statuses = range(400, 450)
    for status in statuses:
        times.observe("test", "/a", "GET", status, 0.1)
    assert len(_samples(times)) == before + len(statuses)


async def test_requests_are_counted_by_operation_status_and_time() -> None:
    times = metrics.RequestTimes()
    for status, seconds in ((200, 0.001), (200, 0.02), (404, 0.3), (500, 60.0)):
        times.observe("compute", "/servers/{id}", "GET", status, seconds)
    times.observe("compute", "/servers", "POST", 202, 1.0)
    labels = {"service": "compute", "path": "/servers/{id}", "method": "GET"}
    found = {
        (sample.name.removeprefix("ingot_request"), *sorted(extra.values())): sample.value
        for sample in _samples(times)
        if labels.items() <= sample.labels.items()
        for extra in [{k: v for k, v in sample.labels.items() if k not in labels}]
    }
    assert found == {
        ("_seconds_bucket", "0.005"): 1, ("_seconds_bucket", "0.02"): 2, ("_seconds_bucket", "0.1"): 2,
        ("_seconds_bucket", "0.5"): 3, ("_seconds_bucket", "2.5"): 3, ("_seconds_bucket", "10.0"): 3,
        ("_seconds_bucket", "+Inf"): 4, ("_seconds_count",): 4, ("_seconds_sum",): pytest.approx(60.321),
        ("s_total", "200"): 2, ("s_total", "404"): 1, ("s_total", "500"): 1,
    }  # fmt: skip


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
    shown = metrics.Metrics(
        metrics.RequestTimes(), lambda: b"named 1\n", ["127.0.0.0/8", "192.0.2.7/32"]
    )
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
