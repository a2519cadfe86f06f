"""What we ask others over HTTP with (aiohttp): loaded when it is first needed, and read within bounds.

It is 60 modules, 6 MiB and 0.15 s of the processor, and a server whose machines are not asked over HTTP never
needs it. Who needs it awaits `ready` and imports it after that, inside the function: then it costs nothing.

A reply's length is in the hands of who gives it. `session` leaves packed replies packed, and `whole` reads and
unpacks them up to a bound: aiohttp itself would unpack a thousandfold before anybody could say stop, and its
`read(n)` is what has arrived, not the body.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import zlib
from typing import TYPE_CHECKING, Any

from ingot.kit.http.untrusted import Unreadable

if TYPE_CHECKING:
    import aiohttp

#: Parts (members of gzip) of one reply: each costs a look at all that follows it.
_MOST_PARTS = 64
#: Window bits of zlib: with a zlib or gzip head, and without any (some say deflate and mean that).
_HEADED, _BARE = 47, -15


class ReplyTooLarge(Unreadable):
    """A reply beyond its bound."""


async def ready() -> None:
    """Load aiohttp unless it is there. In a thread, so that requests are answered meanwhile."""
    there = sys.modules.get("aiohttp")
    # A module stands in the table from the beginning of its import; another thread may be at it.
    if there is None or getattr(there.__spec__, "_initializing", False):
        await asyncio.to_thread(importlib.import_module, "aiohttp")


def session(**options: Any) -> aiohttp.ClientSession:
    """A client session, with aiohttp's own options, whose replies `whole` can read. Await `ready` before."""
    import aiohttp  # loaded by then

    return aiohttp.ClientSession(auto_decompress=False, **options)


async def whole(reply: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of a reply (of a `session` made here), unpacked, however it was cut on its way.

    Raises ReplyTooLarge beyond `most` bytes, packed or unpacked, and gives the connection up; Unreadable for what
    cannot be unpacked; what aiohttp raises when the connection ends too early.
    """
    try:
        if (reply.content_length or 0) > most:
            raise ReplyTooLarge(
                f"a reply of {reply.content_length} bytes, where at most {most} are read"
            )
        unpack = _unpacker(reply.headers.get("Content-Encoding", ""), most)
        packed = 0
        async for part in reply.content.iter_any():
            packed += len(part)
            if packed > most:
                raise _too_much(most)
            unpack.take(part)
        return unpack.end()
    except Unreadable:
        reply.close()
        raise


def why(error: BaseException) -> str:
    """What went wrong with a request, in our words and the kernel's.

    aiohttp's texts quote who answered: a line of what speaks no HTTP, the place that a redirect names. Whoever chose
    the URL need not be somebody who may read that.
    """
    import aiohttp  # it raised the error

    match error:
        case Unreadable():
            return str(error)
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            # Its own words hold our TLS settings.
            return str(error.os_error) or type(error.os_error).__name__
        case aiohttp.TooManyRedirects():
            return "it redirects too often"
        case aiohttp.RedirectClientError() | aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "it leads to what is no http or https URL"
        case aiohttp.ClientResponseError():
            return "what answers there does not speak HTTP as it should"
        case aiohttp.ClientPayloadError():
            return "the answer breaks off or cannot be read"
        case aiohttp.ClientConnectionError():
            return "the connection was closed without an answer"
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return type(error).__name__


def _too_much(most: int) -> ReplyTooLarge:
    return ReplyTooLarge(f"a reply of more than {most} bytes")


def _unpacker(encoding: str, most: int) -> _Collector:
    match encoding.strip().lower():
        case "" | "identity":
            return _Collector(most)
        case "gzip" | "x-gzip" | "deflate":
            return _Decompressor(most)
        case unknown:
            raise Unreadable(f"a reply packed as {unknown[:40]!r}, which was not asked for")


class _Collector:
    """Collects the parts of a reply up to the bound."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._body = bytearray()

    def take(self, part: bytes) -> None:
        self._body += part
        if len(self._body) > self._most:
            raise _too_much(self._most)

    def end(self) -> bytes:
        return bytes(self._body)


class _Decompressor(_Collector):
    """The same for gzip (also in several members) and deflate; never unpacks more than the bound and one byte."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._zip = zlib.decompressobj()
        self._between = True
        self._parts = 0

    def take(self, part: bytes) -> None:
        try:
            while part:
                if self._between:
                    self._parts += 1
                    if self._parts > _MOST_PARTS:
                        raise Unreadable(f"a reply packed in more than {_MOST_PARTS} parts")
                    self._zip = zlib.decompressobj(_HEADED if part[0] & 15 in (8, 15) else _BARE)
                room = self._most - len(self._body) + 1
                super().take(self._zip.decompress(part, room))
                part = self._zip.unconsumed_tail or self._zip.unused_data
                self._between = self._zip.eof
        except zlib.error as wrong:
            raise Unreadable(f"a reply that cannot be unpacked: {wrong}") from None

    def end(self) -> bytes:
        if not self._between:
            raise Unreadable("a packed reply without its end")
        return super().end()
