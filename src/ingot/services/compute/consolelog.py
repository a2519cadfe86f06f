"""What servers say on their serial consoles, kept: written to a bounded file each.

A server's log is its own: it begins with the server and ends with it, so that nobody reads what an earlier
tenant's system said on the same machine. Machines whose driver has no console are told as such. The session
with the machine is shared with whoever else listens (`baremetal.ConsoleSessions`). The processes of a cluster write to
one shared folder, each the logs of the machines that it cares for.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from ingot.kit.db.database import Database, timestamp
from ingot.kit.faults import Conflict, Fault, Kind
from ingot.kit.tasks.cancellation import cancel_and_wait
from ingot.kit.tasks.clock import Clock
from ingot.services.baremetal import Attachment, Baremetal, ConsoleSessions, console_kind
from ingot.services.compute import store
from ingot.workflow import Loop

MOST_BYTES = 1 << 20
EVERY = 2.0
#: All servers are looked at when controllers come or go, and once in so many seconds; between that those that changed.
WHOLE_EVERY = 120.0
OVERLAP = 60.0


class ConsoleKeeper:
    """Holds the sessions; `start` and `stop`. folder: where the logs are (`<server>.log`, mode 0600)."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        baremetal: Baremetal,
        consoles: ConsoleSessions,
        folder: Path,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._db = db
        self._baremetal = baremetal
        self._consoles = consoles
        self._folder = folder
        self._most = most_bytes
        self._sessions: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._lines: dict[str, Attachment] = {}
        self._clock = clock
        self._hosts: frozenset[str] | None = None
        self._whole_at = clock.now()
        self._since = ""
        self._loop = Loop("consoles", EVERY, self.reconcile, clock=clock)

    async def start(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        await self._end(list(self._sessions))

    async def reconcile(self) -> None:
        """Open what is missing, end what has no server any more: of the servers that have changed."""
        begun = self._clock.now()
        hosts = await self._db.read(self._baremetal.console_hosts)
        whole = hosts != self._hosts or begun >= self._whole_at
        changed = await self._db.scan(self._all if whole else self._changed)
        nodes = {node for node in changed.values() if node}
        mine = await self._db.read(lambda conn: self._baremetal.consoles_here(conn, nodes))
        if whole:
            changed |= dict.fromkeys({server for server, _ in self._sessions} - set(changed))
            await asyncio.to_thread(self._clear, set(changed))
            self._hosts, self._whole_at = hosts, begun + timedelta(seconds=WHOLE_EVERY)
        wanted = {(server, node) for server, node in changed.items() if node and node in mine}
        have = {server: (server, node) for server, node in self._sessions if server in changed}
        await self._end([pair for pair in have.values() if pair not in wanted])
        for pair in sorted(wanted - set(self._sessions)):
            self._sessions[pair] = asyncio.create_task(self._keep(*pair))
        for server, node in changed.items():
            if node is None:
                self._file(server).unlink(missing_ok=True)
        # Clocks differ a little, and what is written now may be committed later.
        self._since = timestamp(begun - timedelta(seconds=OVERLAP))

    async def tail(self, server: str, node: str, lines: int | None) -> str:
        """The last lines of a server's log, all that is kept for None."""
        held = self._baremetal.held()
        if not await self._db.read(lambda conn: store.holds(conn, held, server, node)):
            raise Conflict(
                f"Instance {server} is not ready: its machine was taken away.",
                next_action="Delete the server and create it again.",
            )
        if not await self._db.read(lambda conn: self._can(conn, node)):
            raise Fault(
                "The requested functionality is not supported: the machine's driver has no console.",
                kind=Kind.UNIMPLEMENTED,
            )
        file = self._file(server)
        if not file.exists():
            line = self._lines.get(server)
            if line is not None and (trouble := line.trouble):
                raise Fault(
                    f"Guest does not have a console available: {trouble}.", kind=Kind.MISSING
                )
            return ""
        text = file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        if lines is None:
            return text
        return "".join(text.splitlines(keepends=True)[-lines:]) if lines > 0 else ""

    def _all(self, conn: sa.Connection) -> dict[str, str | None]:
        return store.consoles(conn, self._baremetal.held())

    def _changed(self, conn: sa.Connection) -> dict[str, str | None]:
        held, changes = self._baremetal.held(), self._baremetal.unreported_changes()
        return store.consoles_since(conn, held, changes, self._since)

    def _clear(self, servers: set[str]) -> None:
        """Logs of servers that are not there any more."""
        for file in self._folder.glob("*.log"):
            if file.stem not in servers:
                file.unlink(missing_ok=True)

    # -- inside ------------------------------------------------------------------------------

    def _file(self, server: str) -> Path:
        return self._folder / f"{server}.log"

    def _can(self, conn: sa.Connection, node_uuid: str) -> bool:
        node = self._baremetal.find_node(conn, node_uuid)
        return node is not None and bool(console_kind(self._baremetal.ctx, node))

    async def _end(self, pairs: list[tuple[str, str]]) -> None:
        tasks = [self._sessions.pop(pair) for pair in pairs]
        await cancel_and_wait(tasks)
        for server, _ in pairs:
            self._lines.pop(server, None)

    async def _keep(self, server: str, node_uuid: str) -> None:
        """Write what the machine says until the server is gone."""
        async with self._consoles.attach(node_uuid) as line:
            self._lines[server] = line
            if line.online:
                self._append(server, b"")
            async for chunk in line:
                self._append(server, chunk)

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
