"""Consoles by TCP, as clients know them from socat: connect, read and type, one client at a time.

Which ports are open is in the database, so that they open again after a restart, at the same port if it is
free, and at another process of the cluster when theirs is gone. Nobody is asked for a password: bind them where
only those reach them who may (`console.address`). A port is closed once whoever opened it may not have it any more,
or the machine has another owner or lessee than then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from ingot.kit import log
from ingot.kit.faults import Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.consoles import store as console_store
from ingot.services.baremetal.consoles import switch as console_switch
from ingot.services.baremetal.consoles.relay import relay
from ingot.services.baremetal.consoles.rights import NodeGrant
from ingot.services.baremetal.consoles.sessions import ConsoleSessions
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import history_store
from ingot.workflow import Loop

EVERY = 2.0
CHUNK = 4096
#: Bytes that a client may leave unread before it is waited for.
UNREAD = 1 << 18

_log = log.get("consoles")


# -- listening ports -----------------------------------------------------------------------------


@dataclass
class TcpConsole:
    """One listening port. guests: connections that are served."""

    server: asyncio.Server
    port: int
    busy: bool = False
    guests: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def close(self) -> None:
        self.server.close()
        for guest in list(self.guests):
            guest.cancel()
        await asyncio.gather(*self.guests, return_exceptions=True)
        await self.server.wait_closed()


class TcpConsoles:
    """Keeps the ports open that the database asks for; `start` and `stop`."""

    def __init__(self, ctx: Context, sessions: ConsoleSessions, grant: NodeGrant) -> None:
        self._ctx = ctx
        self._sessions = sessions
        self._grant = grant
        self._listening: dict[str, TcpConsole] = {}
        self._loop = Loop("console ports", EVERY, self.reconcile, clock=ctx.clock)

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        consoles = [self._listening.pop(uuid) for uuid in list(self._listening)]
        await asyncio.gather(*(console.close() for console in consoles))

    def kick(self) -> None:
        """Look now."""
        self._loop.kick()

    async def reconcile(self) -> None:
        wanted = await self._ctx.db.read(lambda conn: console_switch.wanted(self._ctx, conn))
        lost = await self._grant.lost(list(wanted)) if wanted else {}
        for uuid, since in lost.items():
            await self._ctx.db.write(
                lambda conn, uuid=uuid, since=since: console_switch.close_lost(conn, uuid, since)
            )
            del wanted[uuid]
        over = [self._listening.pop(uuid) for uuid in list(self._listening) if uuid not in wanted]
        await asyncio.gather(*(console.close() for console in over))
        for uuid, last in wanted.items():
            if uuid not in self._listening:
                await self._open(uuid, last)

    async def _open(self, uuid: str, last: int | None) -> None:
        settings = self._ctx.settings
        try:
            fixed = await self._ctx.db.read(lambda conn: self._fixed(conn, uuid))
            console = await self._listen(uuid, [fixed] if fixed else self._candidates(last))
        except Fault as fault:
            text = f"Error enabling the console on node {uuid}. Reason: {fault.sentence()}"
            _log.warning("no console port", node=uuid, error=fault.text)
            await self._ctx.db.write(lambda conn: self._failed(conn, uuid, text))
            return
        self._listening[uuid] = console
        host = f"[{settings.console_address}]" if ":" in settings.console_address else ""
        url = f"tcp://{host or settings.console_address}:{console.port}"
        await self._ctx.db.write(lambda conn: console_store.set_open(conn, uuid, console.port, url))

    def _fixed(self, conn: sa.Connection, uuid: str) -> int:
        node = store.get_node(conn, uuid)
        return self._ctx.access(conn, node, "console").number("ipmi_terminal_port", 0)

    def _failed(self, conn: sa.Connection, uuid: str, text: str) -> None:
        console_store.remove(conn, uuid)
        store.update_node(conn, uuid, last_error=text)
        history_store.add(
            conn,
            uuid,
            self._ctx.now(),
            text,
            severity="ERROR",
            event_type="console",
            conductor=self._ctx.host,
        )

    def _candidates(self, last: int | None) -> Iterator[int]:
        """Ports to try: the one of last time, then those of the ranges that we have not given away."""
        if last:
            yield last
        taken = {console.port for console in self._listening.values()}
        for first, end in self._ctx.settings.console_ports:
            yield from (port for port in range(first, end) if port not in taken and port != last)

    async def _listen(self, uuid: str, ports: Iterator[int] | list[int]) -> TcpConsole:
        address = self._ctx.settings.console_address
        trouble = "no port range is configured (console.ports)"
        for port in ports:
            try:
                server = await asyncio.start_server(
                    lambda reader, writer: self._enter(uuid, reader, writer),
                    address,
                    port,
                    limit=CHUNK,
                )
            except OSError as error:
                trouble = f"port {port} of {address}: {error.strerror}"
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    break
                continue
            return TcpConsole(server, port)
        raise Fault(f"No TCP port for the console is free ({trouble}).")

    # -- a client ----------------------------------------------------------------------------

    async def _enter(
        self, uuid: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        console = self._listening.get(uuid)
        task = asyncio.current_task()
        assert task is not None
        try:
            if console is None or console.busy:
                writer.write(b"The console is in use.\r\n")
                return
            console.busy = True
            console.guests.add(task)
            try:
                await self._serve(uuid, reader, writer)
            finally:
                console.busy = False
                console.guests.discard(task)
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not read
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(
        self, uuid: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the client leaves or nothing was said for as long as the settings allow."""
        writer.transport.set_write_buffer_limits(UNREAD)
        async with self._sessions.attach(uuid) as stream:
            await relay(stream, _Guest(reader, writer), self._ctx.settings.console_idle)


class _Guest:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(CHUNK)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
