"""The websocket door of consoles: `ws://…/console?token=…`, as many guests at a machine as like to.

Who has a token of ours comes in (`consoletickets.py`). While he is there, his grant is looked at again every
few seconds: a console that is switched off, or a server that is deleted, ends the connection.

Origins are not compared as Nova's proxies do: nothing here is decided by a cookie, so no other site can make a
browser's user come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import sqlalchemy as sa

from ingot.baremetal.consolerelay import relay
from ingot.baremetal.consoles import Consoles
from ingot.baremetal.consoletickets import Grant, Ticket, read
from ingot.baremetal.context import Context
from ingot.kit import log
from ingot.kit.channels import POLICY, Socket
from ingot.kit.faults import Forbidden
from ingot.workflow import Loop

EVERY = 2.0
#: Guests at one machine.
MOST = 32
TRY_AGAIN_LATER = 1013

_log = log.get("consoles")


class _Guest:
    """over: set once his grant is."""

    def __init__(self, socket: Socket, ticket: Ticket) -> None:
        self._socket = socket
        self.ticket = ticket
        self.over = asyncio.Event()

    async def read(self) -> bytes | None:
        while (data := await self._socket.receive()) is not None:
            if data:  # an empty message says nothing, and no more
                return data
        return None

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)


class WebDoors:
    """grants: by a ticket's kind, who says whether it is (still) good."""

    def __init__(self, ctx: Context, consoles: Consoles, grants: Mapping[str, Grant]) -> None:
        self._ctx = ctx
        self._consoles = consoles
        self._grants = grants
        self._guests: set[_Guest] = set()
        self._loop = Loop("console websockets", EVERY, self.reconcile, clock=ctx.clock)

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        for guest in self._guests:
            guest.over.set()

    def kick(self) -> None:
        """Look now whether all may still be there."""
        self._loop.kick()

    async def reconcile(self) -> None:
        guests = list(self._guests)
        if not guests:
            return
        good = await self._ctx.db.read(
            lambda conn: [self._good(conn, guest.ticket) for guest in guests]
        )
        for guest, stays in zip(guests, good, strict=True):
            if not stays:
                guest.over.set()

    async def enter(self, socket: Socket) -> None:
        """The handler of the channel."""
        ticket = read(self._ctx.vault, socket.args.get("token", ""), self._ctx.clock.now())
        if not await self._ctx.db.read(lambda conn: self._good(conn, ticket)):
            raise Forbidden("The console that this token opened is closed.")
        await socket.accept()
        if sum(guest.ticket.node == ticket.node for guest in self._guests) >= MOST:
            await socket.close(TRY_AGAIN_LATER, f"{MOST} others are at this console already.")
            return
        guest = _Guest(socket, ticket)
        self._guests.add(guest)
        _log.info("console guest", node=ticket.node, grant=ticket.kind)
        try:
            await self._serve(guest)
        finally:
            self._guests.discard(guest)
        if guest.over.is_set():
            await socket.close(POLICY, "The console was closed.")

    async def _serve(self, guest: _Guest) -> None:
        node = guest.ticket.node
        async with self._consoles.attach(node) as line:
            try:
                await relay(line, guest, self._ctx.settings.console_idle, guest.over)
            except TimeoutError:
                _log.info("console guest does not read", node=node)

    def _good(self, conn: sa.Connection, ticket: Ticket) -> bool:
        grant = self._grants.get(ticket.kind)
        return grant is not None and grant(conn, ticket)
