"""Serial consoles: one session for each machine, shared by all who listen.

A controller gives one session at a time. So a `SharedSession` holds it while anybody is attached, hands what the machine
says to everybody, and types what any of them sends. These attach: the console log of a server
(Compute), the TCP ports (`tcp.py`) and the websockets (`websockets.py`).

In a cluster each process with the role `console` holds the sessions of the machines that it cares for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import sqlalchemy as sa

from ingot.drivers.machine.base import ConsoleSession
from ingot.drivers.machine.types import Access
from ingot.kit import log
from ingot.kit.faults import Fault, Kind
from ingot.kit.tasks.cancellation import cancel_and_wait
from ingot.services.baremetal import store
from ingot.services.baremetal.consoles import holders as console_holders
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.types import Node

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: A session that lasted so long was a good one: the next pause is short again.
GOOD_SECONDS = 30.0
#: What one listener may fall behind, in chunks; then it loses the oldest.
BEHIND = 1024

_log = log.get("consoles")


class Attachment:
    """One listener: iterate for what the machine says, `send` to type.

    trouble: why there is no session just now, "" while there is one. dropped: chunks lost by being slow.
    """

    def __init__(self, shared: SharedSession) -> None:
        self._shared = shared
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.dropped = 0

    @property
    def trouble(self) -> str:
        return self._shared.trouble

    @property
    def online(self) -> bool:
        """Whether the session is up."""
        return self._shared.session is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def send(self, data: bytes) -> None:
        """Type at the machine; Fault (unreachable) while there is no session."""
        session = self._shared.session
        if session is None:
            raise Fault(
                f"The console has no session: {self.trouble or 'it is being opened'}.",
                kind=Kind.UNREACHABLE,
            )
        await session.send(data)

    def hear(self, chunk: bytes | None) -> None:
        if self._chunks.qsize() >= BEHIND:
            self._chunks.get_nowait()
            self.dropped += 1
        self._chunks.put_nowait(chunk)


class SharedSession:
    """The session of one machine, opened anew while it breaks."""

    def __init__(self, ctx: Context, node_uuid: str) -> None:
        self._ctx = ctx
        self._uuid = node_uuid
        self.listeners: set[Attachment] = set()
        self.session: ConsoleSession | None = None
        self.trouble = ""
        self._dropping: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._keep())

    def drop(self) -> None:
        """Let the session go, which may be another's by now and say nothing any more."""
        session = self.session
        if session is not None and self._dropping is None:
            self._dropping = asyncio.create_task(session.aclose())
            self._dropping.add_done_callback(self._dropped)

    def _dropped(self, done: asyncio.Task[None]) -> None:
        self._dropping = None
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.warning("console session broke", node=self._uuid, error=repr(error))

    async def end(self) -> None:
        await cancel_and_wait([self._task])
        for listener in self.listeners:
            listener.hear(None)

    async def _keep(self) -> None:
        """Sessions one after the other, until nobody listens or the console is gone."""
        pause = FIRST_PAUSE
        clock = self._ctx.clock
        while True:
            began = clock.monotonic()
            try:
                found = await self._ctx.db.read(self._access)
                if found is None:
                    self.trouble = "the machine has no console here"
                else:
                    await self._one_session(*found)
                    self.trouble = "the session was ended by the other side"
            except Fault as fault:
                self.trouble = fault.text
            except Exception as error:
                _log.error("console session broke", node=self._uuid, error=repr(error))
                self.trouble = "an internal error"
            if clock.monotonic() - began > GOOD_SECONDS:
                pause = FIRST_PAUSE
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _access(self, conn: sa.Connection) -> tuple[Node, Access] | None:
        node = store.find_node(conn, self._uuid)
        if node is None or not console_kind(self._ctx, node):
            return None
        # Who stood still, or is told late, would break the session of who took it over.
        if not console_holders.here(self._ctx, conn, [node.uuid]):
            return None
        return node, self._ctx.access(conn, node, "console")

    async def _one_session(self, node: Node, access: Access) -> None:
        console = self._ctx.registry.console(node.driver, node.interfaces.get("console"))
        session = await console.open(access)
        self.session, self.trouble = session, ""
        try:
            for listener in self.listeners:
                listener.hear(b"")
            async for chunk in session:
                for listener in self.listeners:
                    listener.hear(chunk)
        finally:
            self.session = None
            await session.aclose()


class ConsoleSessions:
    """The console sessions of this process. `attach` to listen; `aclose` at the end."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._shared_sessions: dict[str, SharedSession] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def attach(self, node_uuid: str) -> AsyncGenerator[Attachment]:
        """Listen to a machine's console; the session ends when the last one leaves.

        An empty chunk tells that a session begins.
        """
        # The controller must be rid of the last session before a new one is opened.
        while (ending := self._ending.get(node_uuid)) is not None:
            await asyncio.wait([ending])
        shared = self._shared_sessions.get(node_uuid)
        if shared is None:
            shared = self._shared_sessions[node_uuid] = SharedSession(self.ctx, node_uuid)
        attachment = Attachment(shared)
        shared.listeners.add(attachment)
        try:
            yield attachment
        finally:
            shared.listeners.discard(attachment)
            if not shared.listeners and self._shared_sessions.get(node_uuid) is shared:
                del self._shared_sessions[node_uuid]
                ending = self._ending[node_uuid] = asyncio.create_task(shared.end())
                ending.add_done_callback(lambda _done: self._ending.pop(node_uuid, None))
                await asyncio.shield(ending)

    def drop(self) -> None:
        """Others have taken the consoles over, while this process stood still: look anew whose they are."""
        for shared in self._shared_sessions.values():
            shared.drop()

    async def aclose(self) -> None:
        sessions = list(self._shared_sessions.values())
        self._shared_sessions.clear()
        await asyncio.gather(*(shared.end() for shared in sessions), *self._ending.values())


def console_kind(ctx: Context, node: Node) -> str:
    """What the node's console is: "socat", or "" when it has none."""
    return ctx.registry.console(node.driver, node.interfaces.get("console")).kind
