"""The server's HTTP protocol with one system call less an answer."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Above it, joining head and body costs more than it saves.
_JOINED = 1 << 16


class _Joining:
    """A transport that sends an answer's head together with what follows it.

    uvicorn writes them one after the other, and each write goes out at once: a tenth of a small request's cost.
    A head that nothing follows goes at the end of the loop's turn.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        head, self._head = self._head, None
        # uvloop, other than asyncio, raises where the peer has gone; uvicorn learns of that by itself.
        if self._transport.is_closing():
            return
        if head is not None:
            if len(data) > _JOINED:
                self._transport.write(head)
                self._transport.write(data)
            else:
                self._transport.write(head + data)
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


#: A pause in the loop that no work explains, seconds; and for how long afterwards old requests may turn up.
_LONGEST_PAUSE = 5.0
_AFTERWARDS = 1.0


class Stillness:
    """Whether this process stood still just now (a signal, a suspended virtual machine).

    What then lies in its sockets was sent to it long ago: whoever asked has gone, and has asked another process.
    To act on it now would do harm, as for a machine whose boot script is asked for once more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._until = 0.0
        self._last = time.monotonic()
        self._beat()

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last > _LONGEST_PAUSE:
            self._until = now + _AFTERWARDS
        self._last = now
        self._timer = self._loop.call_later(0.5, self._beat)

    def just_now(self) -> bool:
        now = time.monotonic()
        return now - self._last > _LONGEST_PAUSE or now < self._until

    def close(self) -> None:
        self._timer.cancel()


class HttpProtocol(HttpToolsProtocol):
    #: Set in processes that are not alone: there old requests are dropped.
    stillness: Stillness | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joining(transport, self.loop))  # pyright: ignore[reportArgumentType]
        if self.stillness is not None and self.stillness.just_now():
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.stillness is not None and self.stillness.just_now():
            self.transport.abort()
            return
        super().data_received(data)
