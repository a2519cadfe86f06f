"""A serial port with any number of listeners and a short memory."""

from __future__ import annotations

from collections.abc import Callable

KEEP_BYTES = 16_384


class SerialPort:
    """Machines print to it; a BMC's serial-over-LAN listens and types."""

    def __init__(self) -> None:
        self._sinks: list[Callable[[bytes], None]] = []
        self._kept = bytearray()
        self.typed = bytearray()

    def print(self, text: str) -> None:
        data = text.replace("\n", "\r\n").encode()
        self._kept += data
        if len(self._kept) > KEEP_BYTES:
            del self._kept[: len(self._kept) - KEEP_BYTES]
        for sink in list(self._sinks):
            sink(data)

    @property
    def listeners(self) -> int:
        return len(self._sinks)

    def text(self) -> str:
        """What was printed lately (at most 16 KiB)."""
        return self._kept.decode(errors="replace")

    def open(self, sink: Callable[[bytes], None]) -> SerialLine:
        self._sinks.append(sink)
        return SerialLine(self, sink)

    def drop(self, sink: Callable[[bytes], None]) -> None:
        if sink in self._sinks:
            self._sinks.remove(sink)

    def receive(self, data: bytes) -> None:
        """Take keys from a listener; a login prompt echoes them as a tty does."""
        self.typed += data
        if len(self.typed) > KEEP_BYTES:
            del self.typed[: len(self.typed) - KEEP_BYTES]
        self.print(data.decode(errors="replace").replace("\r", "\n"))


class SerialLine:
    def __init__(self, port: SerialPort, sink: Callable[[bytes], None]) -> None:
        self._port = port
        self._sink = sink

    def write(self, data: bytes) -> None:
        self._port.receive(data)

    def close(self) -> None:
        self._port.drop(self._sink)
