"""The server's HTTP protocol with one system call less an answer, and within the bounds of its listener."""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ingot.app.crowd import Crowd

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


class SuspendDetector:
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


#: Requests that a client may send ahead, before the answer to its first.
_MOST_AHEAD = 16
_MOST_HEADERS = 256
#: Octets that carry one octet of a body in chunks of one octet each; more is only said to keep us busy.
_AROUND_A_BODY = 8


class _Named(logging.LoggerAdapter[logging.Logger]):
    """uvicorn's words about a connection, with the address of whoever is at its other end."""

    level = logging.WARNING  # uvicorn looks at it before it tells of every byte

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{msg} ({self.extra and self.extra['client']})", kwargs


class HttpProtocol(HttpToolsProtocol):
    """One connection. `crowd` is asked for it, and told what it waits for."""

    #: Set in processes that are not alone: there old requests are dropped.
    stillness: SuspendDetector | None = None

    def __init__(self, crowd: Crowd, **given: Any) -> None:
        super().__init__(**given)
        self.peer: str | None = ""
        self._crowd = crowd
        self._ours = True
        #: Octets of a head that has not ended; of a request's rest; of its body.
        self._head = 0
        self._rest = 0
        self._body = 0
        self._stalled: asyncio.TimerHandle | None = None

    # -- connections -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joining(transport, self.loop))  # pyright: ignore[reportArgumentType]
        client = self.client[0] if self.client else "a peer that has gone"
        self.logger = cast("logging.Logger", _Named(self.logger, {"client": client}))
        self.peer = self._crowd.peer_of((transport.get_extra_info("peername") or ("",))[0])
        still = self.stillness is not None and self.stillness.just_now()
        if still or not self._crowd.enter(self):
            transport.abort()
            return
        self._crowd.expect_head(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._forget_stall()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        # From here on it is another protocol's; who has no ticket is sent away by that.
        self._ours = False
        super().handle_websocket_upgrade()
        self._crowd.leave(self)
        # It says nothing to a handshake that it cannot read (no GET, a long line, many headers), and waits for ever.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", False):
            self._refuse(400, "This is no handshake of a websocket.")

    def give_way(self) -> None:
        """Nobody waits for an answer here, and others need the place."""
        self.transport.abort()

    def too_slow(self) -> None:
        if self._head:
            self._refuse(408, "The request did not come in time.")
        else:
            self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        # Who has not even taken the last answer would keep a closing connection for ever.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _refuse(self, status: int, text: str) -> None:
        """Answer before there is a request that could be."""
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nconnection: close\r\n"
            kind = "content-type: text/plain; charset=utf-8\r\n"
            self.transport.write(f"{head}{kind}content-length: {len(text)}\r\n\r\n{text}".encode())
            self.transport.close()

    # -- requests ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.stillness is not None and self.stillness.just_now():
            self.transport.abort()
            return
        super().data_received(data)
        if not self._ours:
            return
        crowd, cycle = self._crowd, self._under_way()
        if cycle is None or cycle.response_complete:
            crowd.wait(self)
            crowd.expect_head(self)
            self._head += len(data)
            if self._head > crowd.bounds.head_bytes:
                self._refuse(431, "The request's head is too long.")
            return
        crowd.has_head(self)
        self._head = 0
        if cycle.more_body:
            crowd.wait(self)
        self._rest += len(data)
        if self._rest > 4 * crowd.bounds.head_bytes + _AROUND_A_BODY * self._body:
            self.transport.abort()

    def _under_way(self) -> RequestResponseCycle | None:
        """The newest request; there is none at first, and none for a websocket."""
        return self.cycle

    def on_headers_complete(self) -> None:
        # What is raised here is answered with 400.
        if cast("Any", self.parser).get_http_version() not in ("1.0", "1.1"):
            raise ValueError("an unknown version of HTTP")
        if len(self.headers) > _MOST_HEADERS or len(self.pipeline) >= _MOST_AHEAD:
            raise ValueError("too many headers, or requests ahead")
        self._rest = self._body = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        cycle = self._under_way()
        if cycle is not None and not cycle.response_complete:
            self._crowd.work(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.loop.call_later(self._crowd.bounds.stall_seconds, self.transport.abort)
        elif self.cycle.response_complete:
            self._crowd.wait(self)

    # -- clients that take nothing -----------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_stall(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._forget_stall()
        super().resume_writing()

    def _watch_stall(self, left: int) -> None:
        self._forget_stall()
        seconds = self._crowd.bounds.stall_seconds
        self._stalled = self.loop.call_later(seconds, self._has_stalled, left)

    def _has_stalled(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._watch_stall(left)
        else:
            self.transport.abort()

    def _forget_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
