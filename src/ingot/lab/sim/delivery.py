"""How the web server of a BMC hands its answers over: whole, in pieces, in chunks, packed, on several pages, by detours.

All of it is allowed, all of it is met in the field, and a client that reads only what comes first breaks on it. So the
machines of every fleet take turns at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from aiohttp import web

from ingot.lab.sim.jsonshape import read_object

#: plain: as one. segments: cut, with a length, each piece a moment after the other. chunked: cut, without a length,
#: collections one member a page. packed: gzip whatever the client prefers, collections by way of a redirect.
MANNERS = ("plain", "segments", "chunked", "packed")
PIECES = 6
PAUSE_SECONDS = 0.001
#: Attributes that make a registry as large as those of real controllers: 1.2 MB.
FILLERS = 3000


class Delivery:
    """One BMC's manner; `rng` cuts."""

    def __init__(self, manner: str, rng: Random) -> None:
        if manner not in MANNERS:
            raise ValueError(f"a manner must be one of {MANNERS}, not {manner!r}")
        self._manner = manner
        self._rng = rng

    async def send(self, request: web.BaseRequest, reply: web.Response) -> web.StreamResponse:
        """Hand `reply` over to who asked."""
        body = reply.body
        if self._manner == "plain" or request.method == "HEAD" or not isinstance(body, bytes):
            return reply
        if request.method == "GET" and reply.status == 200:
            if self._manner == "packed" and b'"Members"' in body and not request.path.endswith("/"):
                return web.Response(status=308, headers={"Location": f"{request.path}/"})
            body = self._dressed(request, body)
        headers = reply.headers.copy()
        headers.pop("Content-Length", None)
        if self._manner == "packed":
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=gzip.compress(body, 1), status=reply.status, headers=headers)
        return await self._in_pieces(request, reply.status, headers, body)

    async def _in_pieces(
        self, request: web.BaseRequest, status: int, headers: Any, body: bytes
    ) -> web.StreamResponse:
        reply = web.StreamResponse(status=status, headers=headers)
        if self._manner == "chunked":
            reply.enable_chunked_encoding()
        else:
            reply.content_length = len(body)
        with contextlib.suppress(ConnectionError):
            await reply.prepare(request)
            for start, end in self._cuts(len(body)):
                await reply.write(body[start:end])
                await asyncio.sleep(PAUSE_SECONDS)
            await reply.write_eof()
        return reply

    def _cuts(self, size: int) -> list[tuple[int, int]]:
        places = sorted({0, size, *(self._rng.randint(0, size) for _ in range(PIECES - 1))})
        return list(pairwise(places))

    def _dressed(self, request: web.BaseRequest, body: bytes) -> bytes:
        """A registry in its real size; a collection's page."""
        if b'"RegistryEntries"' in body:
            doc = read_object(body) or {}
            doc["RegistryEntries"]["Attributes"] += _fillers()
            return json.dumps(doc).encode()
        if self._manner == "chunked" and b'"Members"' in body:
            return _page(read_object(body) or {}, request)
        return body


def _page(doc: dict[str, Any], request: web.BaseRequest) -> bytes:
    asked = request.query.get("$skip", "0")
    skip = int(asked) if asked.isascii() and asked.isdigit() else 0
    members = doc["Members"]
    doc["Members"] = members[skip : skip + 1]
    if skip + 1 < len(members):
        doc["Members@odata.nextLink"] = f"{request.path}?$skip={skip + 1}"
    return json.dumps(doc).encode()


@cache
def _fillers() -> list[dict[str, Any]]:
    return [
        {
            "AttributeName": f"SlotBifurcation{number}",
            "DisplayName": f"Bifurcation of slot {number}",
            "HelpText": "Says how the lanes of this slot are shared among what is plugged into it. "
            * 3,
            "Type": "Enumeration",
            "Value": [{"ValueName": "Auto"}, {"ValueName": "x8x8"}, {"ValueName": "x4x4x4x4"}],
            "DefaultValue": "Auto",
            "ReadOnly": True,
        }
        for number in range(FILLERS)
    ]
