"""Requests that are not sent when this process has lost its lease (`kit.lease`)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ingot.kit.tasks import fencing

if TYPE_CHECKING:
    import aiohttp


def fenced() -> aiohttp.TraceConfig:
    """For a client session: asks when the connection stands, before the request and its body are written.

    What goes out as one write is asked for twice, for a request with a body leaves one turn of the loop after
    its head was made.
    """
    import aiohttp  # loaded by then (`outgoing`)

    trace = aiohttp.TraceConfig()

    async def head(*_: object) -> None:
        fencing.check()

    async def body(*_: object) -> None:
        try:
            fencing.check()
        except BaseException as over:
            # In the client's own writing task: it hands on only what is an error of the connection.
            raise OSError(errno.ECONNABORTED, "the lease is over") from over

    trace.on_request_headers_sent.append(head)
    trace.on_request_chunk_sent.append(body)
    return trace
