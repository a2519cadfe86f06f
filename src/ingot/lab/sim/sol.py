"""Serial over LAN: characters both ways, acknowledged, sent again when not (chapter 15)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ingot.lab.sim.types import PowerBackend, SerialSession

CHUNK = 200
RETRIES = 7
RETRY_SECONDS = 0.5
KEEP = 64 * 1024


class SolChannel:
    """One console. `send` puts a SOL payload on the wire; `session` is whose console it is."""

    def __init__(self, session: object, send: Callable[[bytes], None]) -> None:
        self.session = session
        self._send = send
        self._line: SerialSession | None = None
        self._waiting = bytearray()
        self._flying = b""
        self._sequence = 0
        self._tries = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, backend: PowerBackend) -> None:
        self._line = backend.open_serial(self._printed)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def receive(self, payload: bytes) -> None:
        """A packet of the console: sequence, what it acknowledges, count, operation, keys."""
        if len(payload) < 4:
            return
        sequence, acknowledged, _count, _operation = payload[:4]
        keys = payload[4:]
        if acknowledged and acknowledged == self._sequence and self._flying:
            self._flying = b""
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if sequence:
            fresh = sequence != self._seen
            self._seen = sequence
            self._send(bytes([0, sequence, len(keys) & 0xFF, 0]))
            if fresh and keys and self._line is not None:
                self._line.write(keys)
        self._pump()

    def _printed(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) > KEEP:
            del self._waiting[: len(self._waiting) - KEEP]
        self._pump()

    def _pump(self) -> None:
        if self._flying or not self._waiting or self._line is None:
            return
        self._flying = bytes(self._waiting[:CHUNK])
        del self._waiting[:CHUNK]
        self._sequence = self._sequence % 15 + 1
        self._tries = 0
        self._transmit()

    def _transmit(self) -> None:
        self._tries += 1
        if self._tries > RETRIES:
            self.close()
            return
        self._send(bytes([self._sequence, 0, 0, 0]) + self._flying)
        self._timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._transmit)
