"""Calls that inspection rules want made: where a machine has a say in whom they ask, it is judged as by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingot.kit.faults import Failed
from ingot.kit.http.egress import LOOPBACK, Egress
from ingot.kit.tasks.clock import VirtualClock
from ingot.services.baremetal.inspection.rules.actions import ApiCall
from ingot.services.baremetal.inspection.rules.api_call import make_api_call

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _inner(answer: bytes, met: list[bytes]) -> AsyncIterator[int]:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


_GOOD = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_that_the_machine_named(host: str) -> None:
    met: list[bytes] = []
    async with _inner(_GOOD, met) as port:
        call = ApiCall(f"http://{host}:{port}/x", retries=0, judged=True)
        with pytest.raises(Failed, match="not asked for others"):
            await make_api_call(call, VirtualClock(), Egress())
        assert not met
        assert await make_api_call(call, VirtualClock(), Egress.of(LOOPBACK)) == 204


async def test_a_host_that_the_rule_names() -> None:
    met: list[bytes] = []
    async with _inner(_GOOD, met) as port:
        call = ApiCall(f"http://127.0.0.1:{port}/x", headers={"X-Key": "k"}, retries=0)
        assert await make_api_call(call, VirtualClock(), Egress()) == 204
    assert b"X-Key: k" in met[0]


async def test_who_answers_is_not_quoted() -> None:
    async with _inner(b"SSH-2.0-OpenSSH inner-secret\r\n", []) as port:
        with pytest.raises(Failed) as caught:
            call = ApiCall(f"http://127.0.0.1:{port}/x?key=1", retries=0)
            await make_api_call(call, VirtualClock(), Egress())
    assert "inner-secret" not in caught.value.text and "key=1" not in caught.value.text
