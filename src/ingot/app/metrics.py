"""What /metrics tells, and to whom. Scrapers ask often, so it is made once a second, in turns with the requests.

It names machines and what they are used for, and scrapers have no tokens: it is told to addresses that the operator
names (`monitoring.metrics_from`), and to nobody else.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator

import prometheus_client

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Forbidden
from ingot.kit.http.peers import Networks
from ingot.kit.http.proxies import PASSED_ON

#: Seconds for which what was made is told again.
_FRESH = 1.0
#: Operations whose lines are written before others have their turn: some 2 ms.
_SLICE = 64
#: Upper bounds of the buckets, in seconds, without the last (infinite). Each is a line for every operation.
_BOUNDS = (0.005, 0.02, 0.1, 0.5, 2.5, 10.0)
_STATEMENTS = prometheus_client.Counter(
    "ingot_database_statements_total", "SQL statements that were run."
)


def count_statement(_text: str) -> None:
    _STATEMENTS.inc()


class _Operation:
    """Requests of one method of one path. counts: by bucket, not added up. statuses: counts by HTTP status."""

    __slots__ = ("counts", "labels", "seconds", "statuses")

    def __init__(self, service: str, path: str, method: str) -> None:
        # In the order of their names, as prometheus-client has them.
        self.labels = f'method="{method}",path="{path}",service="{service}"'
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}


class RequestTimes:
    """How many requests there were and how long they took, by operation; how they ended, by operation and status.

    A histogram for each status too would be ten lines for each of thousands of pairs. The objects of
    prometheus-client's own (and what it makes of them for each scrape) cost the garbage collector pauses in which
    nobody was answered; here an operation is two lists and a dictionary of numbers.
    """

    def __init__(self) -> None:
        self._operations: dict[tuple[str, str, str], _Operation] = {}

    def observe(self, service: str, path: str, method: str, status: int, seconds: float) -> None:
        """Note a request. path: as in the table of operations. method: one that the path has, or "other"."""
        key = (service, path, method)
        operation = self._operations.get(key)
        if operation is None:
            operation = self._operations[key] = _Operation(service, path, method)
        operation.counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        operation.seconds += seconds
        operation.statuses[status] = operation.statuses.get(status, 0) + 1

    def slices(self) -> Iterator[str]:
        """The text in Prometheus's format, in parts that each take some milliseconds to make."""
        operations = list(self._operations.values())
        for title, lines in (
            (_TIMES, _time_lines),
            (_COUNTS, _status_lines),
        ):
            yield title
            for first in range(0, len(operations), _SLICE):
                yield "".join(map(lines, operations[first : first + _SLICE]))


_TIMES = "# HELP ingot_request_seconds Time per request.\n# TYPE ingot_request_seconds histogram\n"
_COUNTS = "# HELP ingot_requests_total Requests by status.\n# TYPE ingot_requests_total counter\n"


def _time_lines(operation: _Operation) -> str:
    name, labels = "ingot_request_seconds", operation.labels
    sums = list(itertools.accumulate(operation.counts))
    lines = [
        f'{name}_bucket{{le="{bound}",{labels}}} {count}\n'
        for bound, count in zip((*_BOUNDS, "+Inf"), sums, strict=True)
    ]
    lines.append(f"{name}_count{{{labels}}} {sums[-1]}\n")
    lines.append(f"{name}_sum{{{labels}}} {operation.seconds!r}\n")
    return "".join(lines)


def _status_lines(operation: _Operation) -> str:
    return "".join(
        f'ingot_requests_total{{{operation.labels},status="{status}"}} {count}\n'
        for status, count in operation.statuses.items()
    )


class Metrics:
    """The text, made by one at a time.

    more: further lines. of: networks in CIDR to which it is told.
    """

    def __init__(
        self, requests: RequestTimes, more: Callable[[], bytes], of: Iterable[str] = ()
    ) -> None:
        self._requests = requests
        self._more = more
        self._told_to = Networks(of)
        self._lock = asyncio.Lock()
        self._text = b""
        self._until = 0.0

    async def show(self, call: Call) -> Reply:
        if call.header(PASSED_ON) or not self._told_to.hold(call.remote):
            raise Forbidden(
                "Metrics are not told to this address.",
                next_action="An operator may name it in [monitoring] metrics_from.",
            )
        return Reply(await self.text(), content_type="text/plain; version=0.0.4")

    async def text(self) -> bytes:
        async with self._lock:
            if time.monotonic() >= self._until:
                # Not in a thread: it and the loop would wait for the interpreter's lock by turns of 5 ms.
                parts = [prometheus_client.generate_latest()]
                for part in self._requests.slices():
                    parts.append(part.encode())
                    await asyncio.sleep(0)
                self._text = b"".join((*parts, self._more()))
                self._until = time.monotonic() + _FRESH
            return self._text
