"""Websockets beside the table of operations: a path, and who serves those that connect to it.

A handler gets a `Socket`. A fault before `accept` refuses the client (403, the reason in our log); afterwards
it closes the socket with its text as the reason. Binary frames go out; text that comes in counts as its UTF-8
bytes. A client that offers the subprotocol `binary` (websockify's, which clients of Nova's serial proxy ask
for) gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ingot.kit import log
from ingot.kit.faults import Fault, Missing

Event = MutableMapping[str, Any]

GOING_AWAY = 1001
POLICY = 1008
INTERNAL = 1011
_OFFERED = "binary"
#: A control frame holds 125 bytes, two of them the code.
_LONGEST_REASON = 123

_log = log.get("web")


@dataclass(frozen=True, slots=True)
class Channel:
    """What answers websockets at one path."""

    path: str
    handler: Callable[[Socket], Awaitable[None]]


class Socket:
    """One client. args: the query string."""

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.accepted = False
        self.gone = False
        text = bytes(scope.get("query_string") or b"").decode("latin-1")
        self.args = dict(parse_qsl(text, keep_blank_values=True))

    async def accept(self) -> None:
        chosen = _OFFERED if _OFFERED in self._scope.get("subprotocols", ()) else None
        await self._send({"type": "websocket.accept", "subprotocol": chosen})
        self.accepted = True

    async def receive(self) -> bytes | None:
        """The next message; None once the client is gone."""
        while not self.gone:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                self.gone = True
            elif event["type"] == "websocket.receive":
                text = event.get("text")
                return text.encode() if text is not None else bytes(event.get("bytes") or b"")
        return None

    async def send(self, data: bytes) -> None:
        """Waits while the client does not read; nothing once it is gone."""
        if not self.gone:
            try:
                await self._send({"type": "websocket.send", "bytes": data})
            except OSError:
                self.gone = True

    async def close(self, code: int, reason: str = "") -> None:
        if self.accepted and not self.gone:
            self.gone = True
            short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": short})
            except OSError:
                pass

    async def refuse(self) -> None:
        """No websocket: servers answer 403."""
        await self._send({"type": "websocket.close", "code": POLICY, "reason": ""})


async def serve(
    channels: Sequence[Channel],
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[Event]],
    send: Callable[[Event], Awaitable[None]],
) -> None:
    """One websocket from its first event to its last."""
    socket = Socket(scope, receive, send)
    if (await receive())["type"] != "websocket.connect":
        return
    path = str(scope["path"]).rstrip("/")
    try:
        for channel in channels:
            if channel.path == path:
                await channel.handler(socket)
                await socket.close(GOING_AWAY)
                return
        raise Missing("There is no websocket at this address.")
    except Fault as fault:
        await _tell(socket, path, fault, POLICY)
    except asyncio.CancelledError:
        await socket.close(GOING_AWAY, "The server is being stopped.")
    except Exception as error:
        _log.error("websocket failed", path=path, error=repr(error), exc_info=error)
        await _tell(socket, path, Fault("An unexpected error ended the connection."), INTERNAL)


async def _tell(socket: Socket, path: str, fault: Fault, code: int) -> None:
    if socket.accepted:
        await socket.close(code, fault.text)
        return
    _log.info("websocket refused", path=path, fault=fault.text)
    await socket.refuse()
