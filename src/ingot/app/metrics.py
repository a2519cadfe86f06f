"""What /metrics tells, and to whom. Scrapers ask often, so it is made once a second and beside the requests.

It names machines and what they are used for, and scrapers have no tokens: it is told to addresses that the operator
names (`monitoring.metrics_from`), and to nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import prometheus_client

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Forbidden
from ingot.kit.http.peers import Networks
from ingot.kit.http.proxies import PASSED_ON

#: Seconds for which what was made is told again.
_FRESH = 1.0
_REQUESTS = prometheus_client.Histogram(
    "ingot_request_seconds",
    "Time per request.",
    ("service", "path", "method", "status"),
    # Each costs a line for every operation and status that was ever seen.
    buckets=(0.005, 0.02, 0.1, 0.5, 2.5, 10, float("inf")),
)
_STATEMENTS = prometheus_client.Counter(
    "ingot_database_statements_total", "SQL statements that were run."
)


def observe(service: str, path: str, method: str, status: int, seconds: float) -> None:
    """A request of a method that the path has, or "other"."""
    _REQUESTS.labels(service, path, method, status).observe(seconds)


def count_statement(_text: str) -> None:
    _STATEMENTS.inc()


class Metrics:
    """The text, made by one at a time.

    more: further lines, made in the event loop's own thread. of: networks in CIDR to which it is told.
    """

    def __init__(self, more: Callable[[], bytes], of: Iterable[str] = ()) -> None:
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
                own = await asyncio.to_thread(prometheus_client.generate_latest)
                self._text = own + self._more()
                self._until = time.monotonic() + _FRESH
            return self._text
