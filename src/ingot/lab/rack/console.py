"""Serial consoles: one hub per machine between its UART and everybody who reads or types.

QEMU connects to the hub's machine socket (again after each power cycle); people attach to the
watcher socket, the BMC's serial-over-LAN to a TCP port on the namespace's loopback. The hub also
writes the log file, so that the log holds every boot whoever was looking.
"""

import asyncio
from pathlib import Path

_SLOW_READER = 1 << 20


class Console:
    """The hub of one machine's serial line."""

    def __init__(self, name: str, runtime: Path, log: Path) -> None:
        self.machine_socket = runtime / f"{name}.uart"
        self.watch_socket = runtime / f"{name}.console"
        self.log = log
        self.port = 0
        self._machine: asyncio.StreamWriter | None = None
        self._watchers: set[asyncio.StreamWriter] = set()
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen on both sockets and on a free TCP port of the loopback (`port`)."""
        for path in (self.machine_socket, self.watch_socket):
            path.unlink(missing_ok=True)
        self._servers = [
            await asyncio.start_unix_server(self._serve_machine, self.machine_socket),
            await asyncio.start_unix_server(self._serve_watcher, self.watch_socket),
            await asyncio.start_server(self._serve_watcher, "127.0.0.1", 0),
        ]
        self.port = self._servers[-1].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and listener."""
        for server in self._servers:
            server.close()
        for writer in [*self._watchers, *([self._machine] if self._machine else [])]:
            writer.close()
        for path in (self.machine_socket, self.watch_socket):
            path.unlink(missing_ok=True)

    async def _serve_machine(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._machine = writer
        try:
            with self.log.open("ab", buffering=0) as log:
                while data := await reader.read(65536):
                    log.write(data)
                    self._show(data)
        except ConnectionError:
            pass
        finally:
            if self._machine is writer:
                self._machine = None
            writer.close()

    def _show(self, data: bytes) -> None:
        for watcher in list(self._watchers):
            if watcher.transport.get_write_buffer_size() > _SLOW_READER:
                watcher.transport.abort()  # a reader that sleeps must not fill our memory
            else:
                watcher.write(data)

    async def _serve_watcher(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._watchers.add(writer)
        try:
            while data := await reader.read(4096):
                if self._machine is not None:
                    self._machine.write(data)
                    await self._machine.drain()
        except ConnectionError:
            pass
        finally:
            self._watchers.discard(writer)
            writer.close()
