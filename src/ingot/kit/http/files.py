"""Sending a file with ranges, without ever stopping the loop for a cold disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Fault, Kind, Missing

CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


#: Octets read and their offset in the file -> octets to send, as many.
Patch = Callable[[bytes, int], bytes]


async def send_file(
    call: Call,
    path: Path,
    *,
    content_type: str = "application/octet-stream",
    patch: Patch | None = None,
) -> Reply:
    """The file, or the one range that the client asked for (RFC 9110, section 14).

    patch: gives what is sent instead of what the file has.
    """
    try:
        size = (await asyncio.to_thread(path.stat)).st_size
    except OSError:
        raise Missing("The file is not there.") from None
    first, last, partial = byte_range(call.header("Range"), size)
    return Reply(
        status=206 if partial else 200,
        headers=range_headers(first, last, size, partial),
        stream=_chunks(path, first, last, patch),
        content_type=content_type,
    )


def send_bytes(
    call: Call, content: bytes, *, content_type: str = "application/octet-stream"
) -> Reply:
    """As `send_file`, for what is in memory."""
    first, last, partial = byte_range(call.header("Range"), len(content))
    return Reply(
        content[first : last + 1],
        status=206 if partial else 200,
        headers=range_headers(first, last, len(content), partial),
        content_type=content_type,
    )


async def _chunks(
    path: Path, first: int, last: int, patch: Patch | None = None
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
            offset = last + 1 - left
            left -= len(block)
            yield block if patch is None else patch(block, offset)
    finally:
        file.close()


def byte_range(header: str | None, size: int) -> tuple[int, int, bool]:
    """First and last octet that a Range header asks for, and whether that is only a part.

    None and several ranges get the whole; one that is malformed or outside of the content is 416, as Glance
    answers it (RFC 9110, section 14.2 allows both).
    """
    if header is None or "," in header:
        return 0, size - 1, False
    found = _RANGE.match(header.strip())
    if found is None or found.groups() == ("", ""):
        raise Fault(f"Invalid Range: {header[:80]!r}.", kind=Kind.RANGE)
    begin, end = found.groups()
    if not begin:
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(begin), min(int(end), size - 1) if end else size - 1
    if first > last or first >= size:
        raise Fault(f"Range {header[:80]!r} is outside of the {size} bytes.", kind=Kind.RANGE)
    return first, last, True


def range_headers(first: int, last: int, size: int, partial: bool) -> dict[str, str]:
    """What a reply with these octets says of itself."""
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(last - first + 1)}
    if partial:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return headers
