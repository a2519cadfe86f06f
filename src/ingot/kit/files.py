"""Sending a file with ranges, without ever stopping the loop for a cold disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ingot.kit.faults import Fault, Kind, Missing
from ingot.kit.web import Call, Reply

CHUNK = 1 << 20


async def send_file(
    call: Call,
    path: Path,
    *,
    content_type: str = "application/octet-stream",
    sent: Callable[[int], None] | None = None,
) -> Reply:
    """The file, or the one range that the client asked for (RFC 9110, section 14).

    sent: told how many bytes went out, chunk by chunk.
    """
    try:
        size = (await asyncio.to_thread(path.stat)).st_size
    except OSError:
        raise Missing("The file is not there.") from None
    first, last, partial = _range(call.header("Range"), size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
    if partial:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Reply(
        status=206 if partial else 200,
        headers=headers,
        stream=chunks(path, first, last, sent),
        content_type=content_type,
    )


async def chunks(
    path: Path, first: int, last: int, sent: Callable[[int], None] | None = None
) -> AsyncIterator[bytes]:
    """The bytes from `first` to `last` inclusive."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, first)
        left = last - first + 1
        while left > 0:
            block = await asyncio.to_thread(file.read, min(CHUNK, left))
            if not block:
                return
            left -= len(block)
            yield block
            if sent is not None:
                sent(len(block))
    finally:
        file.close()


def _range(header: str | None, size: int) -> tuple[int, int, bool]:
    """First and last byte, and whether that is only a part. Several ranges are answered as a whole."""
    whole = (0, size - 1, False)
    if not header or not header.startswith("bytes=") or "," in header:
        return whole
    start, dash, end = header.removeprefix("bytes=").strip().partition("-")
    if not dash or not (start or end) or not (start + end).isdecimal():
        return whole
    if not start:
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(start), min(int(end), size - 1) if end else size - 1
    if first >= size or first > last:
        raise Fault(f"The range lies outside of the {size} bytes.", kind=Kind.RANGE)
    return first, last, True
