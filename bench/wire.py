"""A keep-alive HTTP/1.1 client that costs little itself, and load from many of them.

The measuring side shares the machine with the server, so it must be light: it writes prepared octets and
reads the status line, Content-Length and the body, nothing more. It is no client for anything else.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

#: A long answer is taken in large pieces: what is measured is the server.
_BUFFER = 1 << 22
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ANSWER_SECONDS = 60.0
#: Servers close lines that were idle for some seconds; ours goes first.
IDLE_SECONDS = 2.0


@dataclass(frozen=True)
class Ask:
    """One request, ready to be sent. expect: the status that counts as done."""

    octets: bytes
    expect: int = 200


def prepare(
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    expect: int = 200,
) -> Ask:
    """A request as octets; a body that is no octets goes as JSON."""
    told = {"Host": "bench", **(headers or {})}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        told.setdefault("Content-Type", "application/json")
        told["Content-Length"] = str(len(data))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return Ask("\r\n".join(lines).encode() + b"\r\n\r\n" + data, expect)


@dataclass
class Answer:
    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str:
        found = re.search(rb"^" + name.encode() + rb": *(.*?)\r$", self.head, re.I | re.M)
        return found.group(1).decode() if found else ""


class Line:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = 0.0
        self._idle = IDLE_SECONDS

    async def ask(self, ask: Ask) -> Answer:
        """Raises OSError, EOFError or TimeoutError for a lost answer; the next call connects anew."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(ask)
        except (OSError, EOFError, TimeoutError):
            self.close()
            raise

    @classmethod
    async def over(cls, sock: socket.socket) -> Line:
        """A line over a connection that is there; it is never closed for having been idle."""
        line = cls(sock.getpeername()[1])
        sock.setblocking(False)
        line._streams = await asyncio.open_connection(sock=sock, limit=_BUFFER)
        line._idle = float("inf")
        return line

    async def _ask(self, ask: Ask) -> Answer:
        if time.monotonic() - self._used > self._idle:
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=_BUFFER)
        reader, writer = self._streams
        writer.write(ask.octets)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length.group(1))) if length else b""
        self._used = time.monotonic()
        return Answer(int(head[9:12]), head, body)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Outcome:
    """What a round of load gave."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    failed: int = 0
    first_failure: str = ""

    @property
    def done(self) -> int:
        return len(self.latencies)

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    @property
    def p99(self) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000 if ordered else 0.0


async def load(
    port: int, clients: int, asks: Callable[[int], Iterator[Ask]], seconds: float | None = None
) -> Outcome:
    """Every client asks one after the other what its iterator gives, until it ends or time is up."""
    outcome = Outcome()
    lines = [Line(port) for _ in range(clients)]
    began = time.perf_counter()
    ends = began + seconds if seconds is not None else None

    async def one(number: int) -> None:
        line = lines[number]
        for ask in asks(number):
            started = time.perf_counter()
            if ends is not None and started > ends:
                return
            await _count(line, ask, outcome, started)

    try:
        await asyncio.gather(*(one(number) for number in range(clients)))
        outcome.seconds = time.perf_counter() - began
    finally:
        for line in lines:
            line.close()
    return outcome


async def _count(line: Line, ask: Ask, outcome: Outcome, started: float) -> None:
    try:
        answer = await line.ask(ask)
        fault = "" if answer.status == ask.expect else f"{answer.status} {answer.body[:300]!r}"
    except (OSError, EOFError, TimeoutError) as error:
        fault = f"lost: {error!r}"
    if fault:
        outcome.failed += 1
        outcome.first_failure = outcome.first_failure or fault
        if outcome.failed > 1000:
            raise RuntimeError(f"more than a thousand failures, the first: {fault}")
    else:
        outcome.latencies.append(time.perf_counter() - started)


def shared(asks: Iterable[Ask]) -> Callable[[int], Iterator[Ask]]:
    """All clients draw from one list, which ends."""
    drawn = iter(asks)
    return lambda _number: drawn


def repeated(asks: Iterable[Ask]) -> Callable[[int], Iterator[Ask]]:
    """All clients draw from one list, which begins again."""
    drawn = itertools.cycle(list(asks))
    return lambda _number: drawn
