"""Consoles by websocket: `ws://…/console?token=…`, as many guests at a machine as like to.

Who has a token of ours comes in (`consoletickets.py`). While he is there, his grant is looked at again every
few seconds: a console that is switched off, a server that is deleted, or a user who may not be here any more (token
revoked or over, role, project or owner gone) ends the connection.

Any controller may be asked. One that does not hold the console passes its guest on to the one that does
(`consolepeers.py`), and to the next one when the console changes hands: the guest stays.

Origins are not compared as Nova's proxies do: nothing here is decided by a cookie, so no other site can make a
browser's user come in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Fault, Forbidden
from ingot.kit.http.websockets import GOING_AWAY, POLICY, Socket
from ingot.services.baremetal.consoles import holders as console_holders
from ingot.services.baremetal.consoles.peers import NoPeerConsole, PeerConsole, Peers
from ingot.services.baremetal.consoles.relay import ConsoleStream, RelayEnd, relay
from ingot.services.baremetal.consoles.rights import Grant, by_now
from ingot.services.baremetal.consoles.sessions import ConsoleSessions
from ingot.services.baremetal.consoles.tickets import Ticket, read, seal
from ingot.services.baremetal.context import Context
from ingot.workflow import ConductorRow, Loop

EVERY = 2.0
#: Guests at one machine.
MOST = 32
#: Guests of one project (or of one user without one) that a process serves.
MOST_OF_PROJECT = 200
TRY_AGAIN_LATER = 1013
#: One of those that applications may choose: said to a controller that asks who holds a console no more.
MOVED = 4000
#: A ticket from one controller to another is used at once.
PASS_SECONDS = 60
#: Between two looks for a controller that serves the console.
PAUSE = 1.0

_log = log.get("consoles")


class _Guest:
    """over: his grant is. turn: set when what serves him is to be left, as he or the console is elsewhere now."""

    def __init__(self, socket: Socket, ticket: Ticket, caller: Caller) -> None:
        self._socket = socket
        self.ticket = ticket
        #: As of the last look.
        self.caller = caller
        self.over = False
        self.turn = asyncio.Event()
        #: The host that serves him, once one was found.
        self.host = ""
        self._logged = ""

    async def read(self) -> bytes | None:
        while (data := await self._socket.receive()) is not None:
            if data:  # an empty message says nothing, and no more
                return data
        return None

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def tell(self, why: str) -> None:
        """A line of ours among the machine's, once for each reason."""
        if why and why != self._logged:
            await self.write(f"\r\n[{why}.]\r\n".encode())
        self._logged = why


#: Code and reason with which a guest is sent away; None: look again who holds the console.
_Close = tuple[int, str] | None
_CLOSED = (POLICY, "The console was closed.")


class WebsocketConsoles:
    """grants: by a ticket's kind, who says whether it is (still) good. most: guests of one project."""

    def __init__(
        self,
        ctx: Context,
        consoles: ConsoleSessions,
        grants: Mapping[str, Grant],
        most: int = MOST_OF_PROJECT,
    ) -> None:
        self._most = most
        self._ctx = ctx
        self._consoles = consoles
        self._grants = grants
        self._peers = Peers()
        self._guests: set[_Guest] = set()
        self._stopped = False
        self._loop = Loop("console websockets", EVERY, self.reconcile, clock=ctx.clock)

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        self._stopped = True
        for guest in self._guests:
            guest.turn.set()
        await self._peers.aclose()

    def kick(self) -> None:
        """Look now whether all may still be there, and where."""
        self._loop.kick()

    async def reconcile(self) -> None:
        guests = list(self._guests)
        if not guests:
            return
        callers = await asyncio.gather(*(self._who(g.ticket, g.caller) for g in guests))

        def query(conn: sa.Connection) -> list[tuple[bool, str]]:
            holders = console_holders.holders(self._ctx, conn, {g.ticket.node for g in guests})
            return [
                (self._good(conn, guest.ticket, who), self._host(holders.get(guest.ticket.node)))
                for guest, who in zip(guests, callers, strict=True)
            ]

        for guest, (stays, host) in zip(guests, await self._ctx.db.read(query), strict=True):
            guest.over = guest.over or not stays
            if guest.over or (guest.host and guest.host != host):
                guest.turn.set()

    async def enter(self, socket: Socket) -> None:
        """The handler of the channel."""
        ticket = read(self._ctx.vault, socket.args.get("token", ""), self._ctx.clock.now())
        caller = await self._who(ticket, None)
        if caller is None or not await self._ctx.db.read(
            lambda conn: self._good(conn, ticket, caller)
        ):
            raise Forbidden("The console that this token opened is closed.")
        await socket.accept()
        if sum(guest.ticket.node == ticket.node for guest in self._guests) >= MOST:
            await socket.close(TRY_AGAIN_LATER, f"{MOST} others are at this console already.")
            return
        if sum(_whose(guest.caller) == _whose(caller) for guest in self._guests) >= self._most:
            await socket.close(
                TRY_AGAIN_LATER, f"{self._most} of this project are at consoles already."
            )
            return
        guest = _Guest(socket, ticket, caller)
        self._guests.add(guest)
        _log.info("console guest", node=ticket.node, grant=ticket.kind, passed=ticket.passed)
        try:
            code, reason = await self._serve(guest)
        except TimeoutError:
            _log.info("console guest does not read", node=ticket.node)
            return
        finally:
            self._guests.discard(guest)
        await socket.close(code, reason)

    # -- a guest ---------------------------------------------------------------------------------

    async def _serve(self, guest: _Guest) -> tuple[int, str]:
        """At whoever holds the console, until there is a reason to send him away."""
        while True:
            guest.turn.clear()
            close = await self._at_holder(guest)
            if guest.over:
                return _CLOSED
            if close is not None:
                return close
            if self._stopped:
                return GOING_AWAY, "The server is being stopped."

    async def _at_holder(self, guest: _Guest) -> _Close:
        node = guest.ticket.node
        try:
            holder = await self._ctx.db.read(
                lambda conn: console_holders.holders(self._ctx, conn, [node]).get(node)
            )
        except Fault as fault:  # the database is away
            return await self._wait(guest, fault.text.rstrip("."))
        guest.host = self._host(holder)
        if guest.host == self._ctx.host:
            if not self._ctx.settings.console_websockets:
                return await self._wait(guest, "No controller with the role console is alive")
            async with self._consoles.attach(node) as stream:
                return await self._relayed(stream, guest)
        if guest.ticket.passed or holder is None:
            return MOVED, "This controller holds the console no more."
        try:
            async with self._peers.attach(holder, lambda: self._pass(guest.ticket)) as stream:
                await guest.tell("")
                close = await self._relayed(stream, guest)
        except Fault as fault:
            return await self._wait(guest, fault.text)
        if close is None and not (guest.over or self._stopped):
            why = f"{holder.host} holds this console no more; another controller takes it over"
            return await self._wait(guest, why)
        return close

    async def _relayed(self, stream: ConsoleStream, guest: _Guest) -> _Close:
        # Who passes a guest on counts the time in which he says nothing.
        idle = 0 if guest.ticket.passed else self._ctx.settings.console_idle
        end = await relay(stream, guest, idle, guest.turn)
        if end is RelayEnd.LINE and isinstance(stream, PeerConsole):
            if stream.code == POLICY:
                return _CLOSED
            return (stream.code, stream.reason) if stream.code == TRY_AGAIN_LATER else None
        return None if end is RelayEnd.TOLD else (GOING_AWAY, "")

    async def _wait(self, guest: _Guest, why: str) -> _Close:
        """A moment without a console, for a reason that he is told."""
        await guest.tell(why)
        guest.host = ""
        try:
            async with asyncio.timeout(PAUSE):
                end = await relay(NoPeerConsole(why), guest, 0, guest.turn)
        except TimeoutError:
            return None
        return (GOING_AWAY, "") if end is RelayEnd.LEFT else None

    def _pass(self, ticket: Ticket) -> str:
        until = int(self._ctx.clock.now().timestamp() + PASS_SECONDS)
        return seal(self._ctx.vault, msgspec.structs.replace(ticket, until=until, passed=True))

    def _host(self, holder: ConductorRow | None) -> str:
        return self._ctx.host if holder is None else holder.host

    async def _who(self, ticket: Ticket, last: Caller | None) -> Caller | None:
        """Who the ticket's caller is by now; None once he may not be here."""
        grant = self._grants.get(ticket.kind)
        return None if grant is None else await by_now(grant.still, ticket.caller, last)

    def _good(self, conn: sa.Connection, ticket: Ticket, caller: Caller | None) -> bool:
        return caller is not None and self._grants[ticket.kind].good(conn, ticket, caller)


def _whose(caller: Caller) -> str | None:
    """Whose share of the guests somebody takes."""
    return caller.project_id or caller.user_id
