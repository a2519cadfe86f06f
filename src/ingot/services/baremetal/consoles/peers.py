"""A console that another controller holds: its websocket there, as a line for our guest.

Controllers reach each other's API; a ticket of a minute, sealed with the key that all share, lets us in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Never

from ingot.kit.faults import Fault, Kind
from ingot.kit.http import client as http_client
from ingot.services.baremetal.consoles.holders import ADDRESS
from ingot.services.baremetal.consoles.tickets import PATH
from ingot.workflow import ConductorRow

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
#: A peer that has not answered a ping for half of it is gone.
PING_SECONDS = 10.0
#: A peer that stands still does not answer that we leave.
CLOSE_SECONDS = 1.0


class PeerConsole:
    """What a peer's console says, and where to type. code, reason: with which the peer closed."""

    def __init__(self, peer: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._peer = peer
        self._socket = socket
        self.reason = ""

    @property
    def code(self) -> int:
        return self._socket.close_code or 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        import aiohttp  # loaded by then (`outgoing`)

        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                yield message.data
            elif message.type is not aiohttp.WSMsgType.TEXT:
                self.reason = str(message.extra or "")
                return

    async def send(self, data: bytes) -> None:
        import aiohttp  # loaded by then (`outgoing`)

        try:
            await self._socket.send_bytes(data)
        except (ConnectionError, aiohttp.ClientError):
            raise Fault(f"{self._peer} is gone", kind=Kind.UNREACHABLE) from None


class NoPeerConsole:
    """While there is none: what is typed is answered with the reason."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def send(self, data: bytes) -> Never:
        raise Fault(self._why, kind=Kind.UNREACHABLE)


class Peers:
    """Ways to the other controllers; `aclose` at the end."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @contextlib.asynccontextmanager
    async def attach(
        self, peer: ConductorRow, token: Callable[[], str]
    ) -> AsyncGenerator[PeerConsole]:
        """A console that it holds; Fault (unreachable) when it cannot be had there. token: one for it."""
        address = str(peer.info.get(ADDRESS) or "")
        if not address:
            raise Fault(
                f"{peer.host}, which holds this console, serves no API to other controllers",
                kind=Kind.UNREACHABLE,
            )
        await http_client.ready()
        import aiohttp  # loaded by then (`outgoing`)

        if self._http is None:
            self._http = aiohttp.ClientSession()
        url = f"ws://{address}{PATH}?token={token()}"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                socket = await self._http.ws_connect(url, heartbeat=PING_SECONDS)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Its own text would tell the URL, with the token.
            raise Fault(
                f"{peer.host}, which holds this console, does not answer at {address}"
                f" ({type(error).__name__})",
                kind=Kind.UNREACHABLE,
            ) from None
        try:
            yield PeerConsole(peer.host, socket)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close()
