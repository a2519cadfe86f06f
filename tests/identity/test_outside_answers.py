"""What an outside Keystone may answer, or whoever answers in its place: never more than was agreed is read."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ingot.kit.faults import Unavailable
from ingot.kit.tasks.clock import SystemClock
from ingot.services.identity.outside import LONGEST_REPLY, OutsideIdentity, OutsideSettings

pytestmark = pytest.mark.anyio
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def _keystone(answer: Answer) -> AsyncIterator[OutsideIdentity]:
    async def log_in(request: web.Request) -> web.StreamResponse:
        await request.read()
        # A catalogue that nobody needs here, of any size.
        text = json.dumps({"token": {"catalog": ["x" * 1000] * 3000}})
        headers = {"X-Subject-Token": "ours", "Content-Type": "application/json"}
        return web.Response(status=201, text=text, headers=headers)

    app = web.Application()
    app.router.add_post("/v3/auth/tokens", log_in)
    app.router.add_get("/v3/auth/tokens", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    outside = OutsideIdentity(SystemClock(), OutsideSettings(url, "ironic", "secret-of-ours"))
    try:
        yield outside
    finally:
        await outside.close()
        await runner.cleanup()


def _document(**more: object) -> bytes:
    token = {"user": {"id": "u1", "name": "u"}, "expires_at": "2099-01-01T00:00:00.000000Z", **more}
    return json.dumps({"token": token}).encode()


async def _told(answer: Answer) -> Unavailable:
    async with _keystone(answer) as outside:
        with pytest.raises(Unavailable, match=r"does not answer|cannot be read") as caught:
            await outside.caller_for("t" * 32)
    assert caught.value.retry_after == 5 or "cannot be read" in caught.value.text
    return caught.value


@pytest.mark.parametrize("packed", [False, True])
async def test_a_good_answer(packed: bool) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        body = _document(roles=[{"id": "1", "name": "Member"}])
        headers = {"Content-Type": "application/json"} | (
            {"Content-Encoding": "gzip"} if packed else {}
        )
        return web.Response(body=gzip.compress(body) if packed else body, headers=headers)

    async with _keystone(answer) as outside:
        caller = await outside.caller_for("t" * 32)
    assert caller.user_id == "u1" and caller.roles == {"member"}


async def test_a_small_answer_that_unpacks_to_700_megabytes() -> None:
    bomb = gzip.compress(b" " * (700 << 20), 9)

    async def answer(_request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=bomb, headers=headers)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fault = await _told(answer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert str(LONGEST_REPLY) in fault.internal


async def test_an_answer_without_an_end() -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        await reply.prepare(request)
        while sent < 64 << 20:
            await reply.write(b" " * 65536)
            sent += 65536
        return reply

    assert str(LONGEST_REPLY) in (await _told(answer)).internal
    assert sent < 32 << 20


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"secret of somebody else, no JSON",
        b"\xff\xfe",
        b"[]",
        b'{"token": {}}',
        _document(roles="none"),
    ],
    ids=["deep", "text", "octets", "list", "empty", "roles"],
)
async def test_answers_that_are_none(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": "application/json"})

    assert "secret" not in (await _told(answer)).sentence()


async def test_no_token_goes_where_an_answer_leads() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        raise web.HTTPFound("/v3/auth/tokens?elsewhere=1")

    async with _keystone(answer) as outside:
        with pytest.raises(Unavailable, match="HTTP 302"):
            await outside.caller_for("t" * 32)
    assert len(asked) == 1
