"""An agent is whatever a machine runs: its replies are bounded, and only an agent's own words are kept."""

from __future__ import annotations

import gzip
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ingot.drivers.faults import DriverFault
from ingot.drivers.machine.agent.client import AgentAddress, AgentClient
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import SystemClock

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def agent(answer: Answer) -> AsyncIterator[tuple[AgentClient, AgentAddress]]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    client = AgentClient(SystemClock(), egress=Egress.of(LOOPBACK))
    try:
        yield client, AgentAddress(f"http://127.0.0.1:{port}", "t" * 40)
    finally:
        await client.aclose()
        await runner.cleanup()


async def fault_of(answer: Answer) -> DriverFault:
    async with agent(answer) as (client, address):
        with pytest.raises(DriverFault) as caught:
            await client.status(address)
        return caught.value


def _peak() -> int:
    """MiB that this process held at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


async def test_a_small_reply_that_unpacks_to_700_megabytes() -> None:
    bomb = gzip.compress(bytes(64 << 20), 9) * 11

    async def answer(_request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
        return web.Response(body=bomb, headers=headers)

    before = _peak()
    fault = await fault_of(answer)
    assert "more than" in fault.text
    assert _peak() - before < 100


async def test_a_reply_without_an_end() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        for _ in range(5000):
            await reply.write(b"x" * (1 << 20))
        return reply

    before = _peak()
    assert "more than" in (await fault_of(answer)).text
    assert _peak() - before < 150


async def test_a_reply_nested_5000_deep() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"[" * 5000 + b"]" * 5000, content_type="application/json")

    assert "nested" in (await fault_of(answer)).text


@pytest.mark.parametrize("status", [200, 403, 500, 503])
async def test_words_of_who_is_no_agent_are_not_kept(status: int) -> None:
    """The callback may be any host that the machine names; what that says must not come to light here."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="instance-secret of an inner service\x1b[2J")

    assert "instance-secret" not in (await fault_of(answer)).text


async def test_an_agents_own_words_are_kept_and_harmless() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"faultstring": "\x1b[2Jno such disk" + "x" * 9000}, status=500)

    text = (await fault_of(answer)).text
    assert "no such disk" in text and len(text) <= 600 and text.isprintable()


async def test_words_that_only_look_like_an_agents_are_not_kept() -> None:
    """Other services' documents of errors have such a member, too."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        inner = {"faultstring": "instance-secret", "status": 500, "title": "Internal"}
        return web.json_response(inner, status=500)

    assert "instance-secret" not in (await fault_of(answer)).text
