"""Replies of others: whole in any segmentation, and never more of them than was agreed."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from ingot.kit.faults import Fault
from ingot.kit.http import client as http_client
from ingot.kit.http import untrusted
from ingot.kit.http.client import ReplyTooLarge
from ingot.kit.http.untrusted import Unreadable

pytestmark = pytest.mark.anyio
MOST = 1 << 20
Writes = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(write: Writes) -> AsyncIterator[str]:
    """A server that reads a request's head and lets `write` answer; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await write(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
    finally:
        running.close()
        await running.wait_closed()


def pieces(head: str, parts: Sequence[bytes]) -> Writes:
    """The head and the parts, each a segment of its own."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        for part in parts:
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(part)

    return write


def cut(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    parts: list[bytes] = []
    while data:
        size = rng.randint(1, max(2, len(data) // 2))
        parts.append(data[:size])
        data = data[size:]
    return parts


def chunked(data: bytes, seed: int) -> list[bytes]:
    wire = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in cut(data, seed))
    return cut(wire + b"0\r\n\r\n", seed + 1)


async def fetched(write: Writes, most: int = MOST) -> bytes:
    await http_client.ready()
    async with (
        server(write) as url,
        http_client.session() as http,
        http.get(url) as reply,
    ):
        return await http_client.whole(reply, most)


def document(size: int) -> bytes:
    rng = random.Random(size)
    return bytes(rng.choice(b'{}[]",:abc 0123') for _ in range(size))


@pytest.mark.parametrize("size", [0, 1, 3000, 70_000, 400_000])
@pytest.mark.parametrize("packed", ["", "gzip", "deflate", "raw"])
@pytest.mark.parametrize("ends", ["length", "chunks", "close"])
async def test_a_reply_is_read_whole(size: int, packed: str, ends: str) -> None:
    data = document(size)
    raw = zlib.compressobj(wbits=-15)
    wire = {
        "": data,
        "gzip": gzip.compress(data[: size // 2], mtime=0)
        + gzip.compress(data[size // 2 :], mtime=0),
        "deflate": zlib.compress(data),
        "raw": raw.compress(data) + raw.flush(),
    }[packed]
    word = "deflate" if packed == "raw" else packed
    head = f"Content-Encoding: {word}\r\n" if word else ""
    head += {
        "length": f"Content-Length: {len(wire)}\r\n",
        "chunks": "Transfer-Encoding: chunked\r\n",
        "close": "Connection: close\r\n",
    }[ends]
    parts = chunked(wire, size) if ends == "chunks" else cut(wire, size)
    assert await fetched(pieces(head, parts)) == data


async def test_the_bound_is_exact() -> None:
    data = document(5000)
    head = "Content-Length: 5000\r\n"
    assert await fetched(pieces(head, [data]), 5000) == data
    with pytest.raises(ReplyTooLarge, match=r"5000 bytes.*4999"):
        await fetched(pieces(head, [data]), 4999)


async def test_a_length_beyond_the_bound_is_not_waited_for() -> None:
    async def promise(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    with pytest.raises(ReplyTooLarge, match="99999999999"):
        async with asyncio.timeout(20):
            await fetched(promise)


@pytest.mark.parametrize("head", ["Transfer-Encoding: chunked\r\n", "Connection: close\r\n"])
async def test_a_reply_without_end_ends(head: str) -> None:
    sent = 0
    block = b"a" * 65536
    piece = b"10000\r\n" + block + b"\r\n" if "chunked" in head else block

    async def write(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        while True:
            writer.write(piece)
            await writer.drain()
            sent += len(block)

    with pytest.raises(ReplyTooLarge, match="more than 1048576 bytes"):
        await fetched(write)
    assert sent < 64 * MOST, "the rest was read too"


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
async def test_a_bomb_ends_early(packed: str) -> None:
    pack = zlib.compressobj(9, wbits=31 if packed == "gzip" else 15)
    wire = b"".join(pack.compress(b"A" * MOST) for _ in range(300)) + pack.flush()
    head = f"Content-Encoding: {packed}\r\nContent-Length: {len(wire)}\r\n"
    assert len(wire) < MOST
    with pytest.raises(ReplyTooLarge, match="more than 1048576 bytes"):
        await fetched(pieces(head, [wire]))


@pytest.mark.parametrize(
    ("encoding", "wire"),
    [
        ("gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9]),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(b"x", mtime=0) + b"trailing"),
        ("deflate", b"\xff\xff\xff"),
        ("br", b"whatever"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0)),
    ],
)
async def test_what_cannot_be_unpacked_is_told(encoding: str, wire: bytes) -> None:
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(wire)}\r\n"
    with pytest.raises(Unreadable):
        await fetched(pieces(head, [wire]))


@pytest.mark.parametrize(
    "part", [b"\x03\x00", gzip.compress(b"", mtime=0)], ids=["deflate", "gzip"]
)
async def test_a_reply_in_many_parts_is_refused_at_once(part: bytes) -> None:
    """Each part cost a copy of all that followed it: 512 KB took nine seconds of the event loop."""
    wire = part * ((256 << 10) // len(part))
    encoding = "deflate" if len(part) == 2 else "gzip"
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(wire)}\r\n"
    with pytest.raises(Unreadable, match="more than 64 parts"):
        await fetched(pieces(head, [wire]))


# -- documents ---------------------------------------------------------------------------------


def test_documents() -> None:
    assert untrusted.document(b' {"a": [1, {"b": null}]} ') == {"a": [1, {"b": None}]}
    assert untrusted.document(b'"{[{[{["', depth=1) == "{[{[{["


@pytest.mark.parametrize("deep", [65, 900, 5000, 200_000])
def test_a_nested_document_is_refused(deep: int) -> None:
    assert untrusted.document(b"[" * 64 + b"]" * 64) is not None
    with pytest.raises(Unreadable, match="nested"):
        untrusted.document(b"[" * deep + b"]" * deep)
    with pytest.raises(Unreadable, match="nested"):
        untrusted.document(b'{"a":' * deep + b"1" + b"}" * deep)


def test_a_document_of_too_many_values_is_refused() -> None:
    many = b"[" + b"0," * 2000 + b"0]"
    assert len(untrusted.document(many, most_values=2002)) == 2001  # pyright: ignore[reportArgumentType]
    with pytest.raises(Unreadable, match="values"):
        untrusted.document(many, most_values=2000)


@pytest.mark.parametrize(
    "wrong", [b"", b"{", b"\xff", b'"\xff"', b'"\\ud800"', b"1" * 5000, b"1e999"]
)
def test_what_is_no_json_is_unreadable(wrong: bytes) -> None:
    with pytest.raises(Unreadable):
        untrusted.document(wrong)


# -- words -------------------------------------------------------------------------------------


def test_words_of_others_are_made_harmless() -> None:
    assert untrusted.words("plain  words\n of \t a board") == "plain words of a board"
    assert untrusted.words("a\x1b[2Jb\x9b31m\x00\x7f") == "a\\x1b[2Jb\\x9b31m\\x00\\x7f"
    assert untrusted.words("turned \u202egnorw\u202c \ufeffx\ud800") == (
        "turned \\u202egnorw\\u202c \\ufeffx\\ud800"
    )
    assert untrusted.words("é 電源 😀") == "é 電源 😀"


def test_words_of_others_are_cut() -> None:
    assert untrusted.words("x" * 700, most=600) == "x" * 599 + "…"
    assert untrusted.words("x" * 600, most=600) == "x" * 600
    assert len(untrusted.words("\x1b" * 10_000_000, most=600)) <= 600


def test_faults_hold_harmless_words_only() -> None:
    fault = Fault("The agent says:\n\x1b]0;owned\x07 \u202eoops", next_action="Look.")
    assert fault.sentence() == "The agent says:\n\\x1b]0;owned\\x07 \\u202eoops. Look."
    assert len(Fault("\x1b" * 500_000).text) <= 8000
    assert Fault("Größe 電源").text == "Größe 電源"


#: What may answer at a URL that somebody chose; "secret" is what they must not read.
FOREIGN = {
    "a banner": b"SSH-2.0-OpenSSH_9.2 secret\r\n",
    "an error of another protocol": b"-ERR secret\r\n",
    "a head that is none": b"HTTP/1.1 200 OK\r\nsecret secret\r\n\r\n",
    "a long head": b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 9000 + b"\r\n\r\n",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
    "a redirect to another scheme": b"HTTP/1.1 302 F\r\nLocation: gopher://secret/\r\n\r\n",
    "a redirect to no URL": b"HTTP/1.1 302 F\r\nLocation: http://[secret/\r\n\r\n",
    "a redirect to a name": b"HTTP/1.1 302 F\r\nLocation: http://secret.invalid/\r\n\r\n",
    "redirects": b"HTTP/1.1 302 F\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsecret",
    "a body that is not packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret",
    "a status alone": b"HTTP/1.1 secret secret\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_what_went_wrong_quotes_nobody(kind: str) -> None:
    import aiohttp

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(FOREIGN[kind])

    await http_client.ready()
    async with server(write) as url, http_client.session() as http:
        with pytest.raises((aiohttp.ClientError, OSError, ValueError)) as caught:
            async with http.get(url, max_redirects=3) as reply:
                await http_client.whole(reply, MOST)
    told = http_client.why(caught.value)
    assert len(told) > 10 and "secret" not in told
