"""Many watchers of the event stream as a process of their own: `python -m bench.watchers PORT COUNT < token`.

Says "ready" when all have their first line; at the end of standard input it prints one line of JSON: delays from
an event's own time to its arrival, in milliseconds, and how many came. A few watchers read every event; the
others only take their octets, since a hundred readers in Python would measure themselves.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime

#: Watchers that read what they get.
READERS = 5
READY_SECONDS = 60.0
_AT = re.compile(rb'^data: .*?"at":"([^"]+)"', re.MULTILINE)


@dataclass
class Watched:
    """delays: seconds. events: read by one watcher, at the median. octets: by all."""

    delays: list[float] = field(default_factory=list[float])
    events: list[int] = field(default_factory=list[int])
    octets: int = 0
    lost: int = 0


async def _watch(port: int, token: str, reads: bool, ready: asyncio.Event, told: Watched) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    head = f"GET /timeline/v1/stream HTTP/1.1\r\nHost: bench\r\nX-Auth-Token: {token}\r\n\r\n"
    writer.write(head.encode())
    try:
        first = await reader.readuntil(b"ingot timeline")
        if not first.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the stream is refused: {first[:200]!r}")
        ready.set()
        if reads:
            told.events.append(0)
            await _read(reader, told, len(told.events) - 1)
        else:
            while octets := await reader.read(1 << 18):
                told.octets += len(octets)
        told.lost += 1
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, told: Watched, place: int) -> None:
    rest = b""
    while octets := await reader.read(1 << 18):
        now = time.time()
        told.octets += len(octets)
        whole, mark, rest = (rest + octets).rpartition(b"\n\n")
        for at in _AT.findall(whole + mark):
            told.delays.append(now - datetime.fromisoformat(at.decode()).timestamp())
            told.events[place] += 1


def _share(ordered: list[float], share: float) -> float:
    """Milliseconds below which this share lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


async def _run(port: int, count: int, token: str) -> None:
    told = Watched()
    gates = [asyncio.Event() for _ in range(count)]
    tasks = [
        asyncio.ensure_future(_watch(port, token, number < READERS, gate, told))
        for number, gate in enumerate(gates)
    ]
    opened = asyncio.gather(*(gate.wait() for gate in gates))
    await asyncio.wait([opened, *tasks], timeout=READY_SECONDS, return_when="FIRST_COMPLETED")
    if not opened.done():
        broken = next((task for task in tasks if task.done()), None)
        raise RuntimeError(f"not all watchers could begin: {broken}")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    ordered = sorted(told.delays)
    print(
        json.dumps(
            {
                "p50": _share(ordered, 0.5),
                "p95": _share(ordered, 0.95),
                "p99": _share(ordered, 0.99),
                "most": ordered[-1] * 1000 if ordered else 0.0,
                "events": min(told.events, default=0),
                "octets": told.octets,
                "lost": told.lost,
            }
        ),
        flush=True,
    )


def main() -> int:
    import uvloop

    token = sys.stdin.readline().strip()
    uvloop.run(_run(int(sys.argv[1]), int(sys.argv[2]), token))
    return 0


if __name__ == "__main__":
    sys.exit(main())
