"""Serial consoles, kept: one open session per server's machine, written to a bounded file.

A server's log is its own: it begins with the server and ends with it, so that nobody reads what an earlier
tenant's system said on the same machine. Machines whose driver has no console are told as such.

Left out: sharing the sessions among several conductors. A controller gives one session at a time, so
start the keeper in one process of a cluster only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import sqlalchemy as sa

from ingot.baremetal import Baremetal, Node
from ingot.compute import store
from ingot.drivers.types import Access
from ingot.kit import log
from ingot.kit.clock import Clock
from ingot.kit.db import Database
from ingot.kit.faults import Fault, Kind
from ingot.workflow import Loop

MOST_BYTES = 1 << 20
EVERY = 2.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
#: A session that lasted so long was a good one: the next pause is short again.
GOOD_SECONDS = 30.0

_log = log.get("consoles")


class ConsoleKeeper:
    """Holds the sessions; `start` and `stop`. folder: where the logs are (`<server>.log`, mode 0600)."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        baremetal: Baremetal,
        folder: Path,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._db = db
        self._clock = clock
        self._baremetal = baremetal
        self._folder = folder
        self._most = most_bytes
        self._sessions: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._troubles: dict[str, str] = {}
        self._loop = Loop("consoles", EVERY, self.reconcile, clock=clock)

    async def start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        await self._end(list(self._sessions))

    async def reconcile(self) -> None:
        """Open what is missing, end what has no server any more."""
        wanted = set(await self._db.read(store.consoles))
        await self._end([pair for pair in self._sessions if pair not in wanted])
        for pair in sorted(wanted - set(self._sessions)):
            self._sessions[pair] = asyncio.create_task(self._keep(*pair))
        servers = {server for server, _ in wanted}
        for file in self._folder.glob("*.log"):
            if file.stem not in servers:
                file.unlink(missing_ok=True)

    async def tail(self, server: str, node: str, lines: int | None) -> str:
        """The last lines of a server's log, all that is kept for None."""
        if not await self._db.read(lambda conn: self._can(conn, node)):
            raise Fault(
                "The requested functionality is not supported: the machine's driver has no console.",
                kind=Kind.UNIMPLEMENTED,
            )
        file = self._file(server)
        if not file.exists():
            trouble = self._troubles.get(server)
            if trouble is not None:
                raise Fault(
                    f"Guest does not have a console available: {trouble}.", kind=Kind.MISSING
                )
            return ""
        text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        if lines is None:
            return text
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    # -- inside ------------------------------------------------------------------------------

    def _file(self, server: str) -> Path:
        return self._folder / f"{server}.log"

    def _can(self, conn: sa.Connection, node_uuid: str) -> bool:
        node = self._baremetal.find_node(conn, node_uuid)
        return node is not None and self._supports(node)

    def _supports(self, node: Node) -> bool:
        registry = self._baremetal.ctx.registry
        spec = registry.spec(node.driver, "console", node.interfaces.get("console"))
        return not spec.name.startswith("no-")

    async def _end(self, pairs: list[tuple[str, str]]) -> None:
        tasks = [self._sessions.pop(pair) for pair in pairs]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for server, _ in pairs:
            self._troubles.pop(server, None)

    async def _keep(self, server: str, node_uuid: str) -> None:
        """Sessions one after the other, until the server is gone."""
        pause = FIRST_PAUSE
        while True:
            began = self._clock.monotonic()
            try:
                found = await self._db.read(lambda conn: self._access(conn, node_uuid))
                if found is None:
                    return
                await self._session(server, *found)
                trouble = "the session was ended by the other side"
            except Fault as fault:
                trouble = fault.text
            except Exception as error:
                _log.error("console session broke", server=server, error=repr(error))
                trouble = "an internal error"
            self._troubles[server] = trouble
            if self._clock.monotonic() - began > GOOD_SECONDS:
                pause = FIRST_PAUSE
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _access(self, conn: sa.Connection, node_uuid: str) -> tuple[Node, Access] | None:
        """How to reach the console; None where there is none."""
        node = self._baremetal.find_node(conn, node_uuid)
        if node is None or not self._supports(node):
            return None
        return node, self._baremetal.ctx.access(conn, node, "console")

    async def _session(self, server: str, node: Node, access: Access) -> None:
        console = self._baremetal.ctx.registry.console(node.driver, node.interfaces.get("console"))
        session = await console.open(access)
        self._troubles.pop(server, None)
        try:
            self._append(server, b"")
            async for chunk in session:
                self._append(server, chunk)
        finally:
            await session.aclose()

    def _append(self, server: str, chunk: bytes) -> None:
        file = self._file(server)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as out:
            out.write(chunk)
            size = out.tell()
        if size > self._most:
            # Half is dropped at once, so that this happens once per half and not per chunk.
            kept = file.read_bytes()[-self._most // 2 :]
            file.write_bytes(kept)
