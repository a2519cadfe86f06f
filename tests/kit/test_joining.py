"""The server's transport: who writes to a client that has gone meets no error."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from ingot.app.wire import _Joining


async def _write_to_nobody() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.close()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.abort()
    await asyncio.sleep(0.05)
    joined = _Joining(transport, loop)
    joined.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joined.write(b"late")
    await asyncio.sleep(0)


def test_a_client_that_has_gone() -> None:
    uvloop.run(_write_to_nobody())
