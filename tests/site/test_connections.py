"""What clients may hold of a listener: connections, half-sent requests, bodies that do not come, answers not taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ingot.app.crowd import Bounds, Crowd, peer_of, share
from ingot.app.serving import _server
from ingot.kit.api.operations import Call, Operation, Reply, Service
from ingot.kit.auth.policy import Policy
from ingot.kit.http.proxies import Proxies
from ingot.kit.http.server import RequestTimeouts, WebApp, plain_envelope
from tests.site.server import site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ASK = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
UPLOAD = POST.replace(b"/body", b"/upload")


class Listener:
    def __init__(self, port: int, crowd: Crowd, release: asyncio.Event) -> None:
        self.port, self.crowd, self.release = port, crowd, release
        self._lines: list[asyncio.StreamWriter] = []

    async def connect(self) -> Line:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._lines.append(writer)
        return Line(reader, writer)

    async def ask(self, sent: bytes = ASK) -> bytes:
        """The whole answer to what is sent on a connection of its own, until it is closed or one answer is there."""
        line = await self.connect()
        await line.send(sent)
        return await line.answer()

    def close(self) -> None:
        for line in self._lines:
            line.close()


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def answer(self) -> bytes:
        """A head and a body of its length; what came if it ends before."""
        with contextlib.suppress(ConnectionError):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as early:
                return early.partial
            size = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            return head + await self.reader.readexactly(size)
        return b""

    async def end(self) -> bytes:
        """What comes until the other side closes."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while part := await self.reader.read(1 << 16):
                said += part
        return said


@asynccontextmanager
async def listener(
    patience: RequestTimeouts | None = None, trusts: Any = None, **bounds: Any
) -> AsyncIterator[Listener]:
    release = asyncio.Event()

    async def fast(_call: Call) -> Reply:
        return Reply({"fast": True})

    async def slow(_call: Call) -> Reply:
        await release.wait()
        return Reply({"slow": True})

    async def body(call: Call) -> Reply:
        return Reply(call.body)

    async def upload(call: Call) -> Reply:
        size = 0
        async for part in call.stream():
            size += len(part)
        return Reply({"size": size})

    async def large(_call: Call) -> Reply:
        return Reply(b"x" * (64 << 20), content_type="text/plain")

    operations = [
        Operation("GET", "/fast", fast, rule=None),
        Operation("GET", "/slow", slow, rule=None),
        Operation("GET", "/large", large, rule=None),
        Operation("POST", "/body", body, rule=None, body=dict[str, Any]),
        Operation("POST", "/upload", upload, rule=None, stream=True),
    ]
    service = Service("test", "", operations, plain_envelope, Policy({}))
    app = WebApp([service], patience=patience or RequestTimeouts())
    crowd = Crowd(Bounds(**bounds), *([trusts] if trusts else []))
    server = _server(app.asgi, crowd)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    running = asyncio.ensure_future(server.serve(sockets=[sock]))
    await server.answering.wait()
    here = Listener(sock.getsockname()[1], crowd, release)
    try:
        yield here
    finally:
        here.close()
        release.set()
        server.should_exit = True
        await running
        crowd.close()


async def until(what: Any) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


async def test_half_sent_requests_end() -> None:
    async with listener(head_seconds=0.3) as here:
        silent, half = [await here.connect() for _ in range(2)]
        await half.send(b"GET /fast HTTP/1.1\r\nHost: x\r\nX-A: b")
        assert (await half.end()).startswith(b"HTTP/1.1 408 ")
        assert await silent.end() == b""
        # What is no request at all does not count as one.
        crlf = await here.connect()
        await crlf.send(ASK)
        assert b"200" in (await crlf.answer())[:20]
        for _ in range(3):
            await crlf.send(b"\r\n")
        assert b" 408 " in await crlf.end()
        await until(lambda: len(here.crowd) == 0)


async def test_a_head_that_trickles_ends_in_time_too() -> None:
    async with listener(head_seconds=0.5) as here:
        line = await here.connect()
        await line.send(b"GET /fast HTTP/1.1\r\n")

        async def trickle() -> None:
            while True:
                await line.send(b"X-A: b\r\n")
                await asyncio.sleep(0.05)

        task = asyncio.ensure_future(trickle())
        assert b" 408 " in await line.end()
        task.cancel()


async def test_a_request_under_way_may_take_longer_than_its_head() -> None:
    async with listener(head_seconds=0.2, idle_seconds=1) as here:
        line = await here.connect()
        await line.send(ASK.replace(b"fast", b"slow"))
        await asyncio.sleep(0.6)
        here.release.set()
        assert b" 200 " in await line.answer()
        await asyncio.sleep(0.5)
        await line.send(ASK)  # idle for less than idle_seconds
        assert b" 200 " in await line.answer()
        assert await line.end() == b""  # and for more


async def test_bodies_that_do_not_come() -> None:
    async with listener(RequestTimeouts(whole=0.3, silence=0.3)) as here:
        for sent in (POST, UPLOAD):
            line = await here.connect()
            await line.send(sent + b"{")
            said = await line.end()
            assert said.startswith(b"HTTP/1.1 408 ") and b"Send the request again" in said
        # In pieces, each in time, is well.
        line = await here.connect()
        await line.send(UPLOAD)
        for _ in range(20):
            await line.send(b"x")
            await asyncio.sleep(0.05)
        assert b'{"size":20}' in await line.answer()


async def test_a_crowd_of_half_sent_requests_keeps_nobody_out() -> None:
    async with listener(connections=30, head_seconds=30) as here:
        lines = [await here.connect() for _ in range(200)]
        for line in lines:
            await line.send(b"GET /fast HT")
        for _ in range(20):
            assert b" 200 " in await here.ask()
        await until(lambda: len(here.crowd) <= 30)
        ended = await asyncio.wait_for(lines[0].end(), 10)
        assert ended == b"", "the oldest gave way"


async def test_requests_under_way_never_give_way() -> None:
    async with listener(connections=5, head_seconds=30) as here:
        lines = [await here.connect() for _ in range(5)]
        for line in lines:
            await line.send(ASK.replace(b"fast", b"slow"))
        await until(lambda: len(here.crowd) == 5 and not here.crowd._waiting)
        assert await here.ask() == b"", "no room, and all are at work"
        here.release.set()
        for line in lines:
            assert b" 200 " in await line.answer()
        assert b" 200 " in await here.ask()


async def test_one_address_has_a_share() -> None:
    async with listener(connections=100, of_peer=8, head_seconds=30) as here:
        lines = [await here.connect() for _ in range(40)]
        await until(lambda: len(here.crowd) == 8)
        assert b" 200 " in await here.ask()
        for line in lines:
            line.writer.close()
        await until(lambda: len(here.crowd) <= 1)


async def test_a_proxy_is_not_one_client() -> None:
    trusted = Proxies(["127.0.0.1"]).trusts
    async with listener(trusts=trusted, connections=20, of_peer=8, head_seconds=30) as here:
        lines = [await here.connect() for _ in range(12)]
        for line in lines:
            await line.send(ASK.replace(b"fast", b"slow"))
        await until(lambda: len(here.crowd) == 12 and not here.crowd._waiting)
        assert b" 200 " in await here.ask()
        here.release.set()
        for line in lines:
            assert b" 200 " in await line.answer()
        # The listener's bound is for it too.
        more = [await here.connect() for _ in range(30)]
        assert b" 200 " in await here.ask()
        assert len(here.crowd) <= 20
        for line in more:
            line.writer.close()
        await until(lambda: len(here.crowd) <= 13)


async def test_who_is_no_proxy_has_a_share_beside_one() -> None:
    trusted = Proxies(["192.0.2.0/24", "fd00::1"]).trusts
    async with listener(trusts=trusted, connections=100, of_peer=8, head_seconds=30) as here:
        for _ in range(40):
            await here.connect()
        await until(lambda: len(here.crowd) == 8)
        # Neighbours of a proxy do not take its places, nor are its connections theirs.
        assert here.crowd.peer_of("fd00::1") is None is here.crowd.peer_of("192.0.2.9")
        assert here.crowd.peer_of("::ffff:192.0.2.9") is None
        assert here.crowd.peer_of("fd00::2") == peer_of("fd00::2")
        assert here.crowd.peer_of(None) == ""


async def test_long_heads_and_requests_ahead_end() -> None:
    async with listener() as here:
        assert b" 431 " in await here.ask(b"GET /fast HTTP/1.1\r\nX: " + b"x" * 300_000)
        many = b"".join(b"X-%d: y\r\n" % n for n in range(1000))
        assert b" 400 " in await here.ask(b"GET /fast HTTP/1.1\r\n" + many + b"\r\n")
        line = await here.connect()
        await line.send(ASK.replace(b"fast", b"slow") + ASK * 5000)
        here.release.set()
        assert (await line.end()).count(b" 200 ") < 30
        ahead = await here.connect()
        await ahead.send(ASK * 10)
        for _ in range(10):
            assert b" 200 " in await ahead.answer()


UPGRADE = b"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize(
    "handshake",
    [
        b"POST /fast HTTP/1.1\r\n" + UPGRADE + b"\r\n",
        b"GET /fast HTTP/1.1\r\n" + UPGRADE + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n",
        b"GET /fast HTTP/1.1\r\n" + UPGRADE + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["post", "a long line", "many lines"],
)
async def test_what_is_no_handshake_of_a_websocket_ends(handshake: bytes) -> None:
    """The protocol of websockets would neither answer nor end it, and it had left its listener's count."""
    async with listener() as here:
        line = await here.connect()
        await line.send(handshake)
        async with asyncio.timeout(10):
            assert (await line.end()).startswith(b"HTTP/1.1 40")
        assert (await here.ask()).startswith(b"HTTP/1.1 200 ")


async def test_old_http_is_refused_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with listener() as here:
        for sent in (
            b"GET /\r\n\r\n",
            b"GET /fast HTTP/0.9\r\n\r\n",
            b"GET /fast HTTP/2.0\r\n\r\n",
            b"GET /fast HTTP/9.9\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET \xff HTTP/1.1\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ):
            said = await here.ask(sent)
            assert said[9:12] in (b"400", b"404", b"405"), (sent, said)
        assert b" 200 " in await here.ask(b"GET /fast HTTP/1.0\r\n\r\n")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_nobody_takes() -> None:
    async with listener(stall_seconds=1.5) as here:
        line = await here.connect()
        await line.send(ASK.replace(b"fast", b"large"))
        await until(lambda: len(here.crowd) == 1)
        await until(lambda: len(here.crowd) == 0)
        # Who takes it slowly gets all of it.
        slow = await here.connect()
        await slow.send(ASK.replace(b"fast", b"large"))
        size = 0
        while size < 64 << 20:
            part = await slow.reader.read(1 << 20)
            assert part, size
            size += len(part)
            await asyncio.sleep(0.002)


def test_shares_leave_files_for_the_rest() -> None:
    for files in (1024, 20_000, 1 << 20):
        shares = [share(name, files) for name in ("api", "provisioning")]
        assert sum(shares) <= files * 3 // 4
    assert share("provisioning", 1024) == 256


def test_who_counts_as_one() -> None:
    assert peer_of("10.0.0.7") == "10.0.0.7" == peer_of("::ffff:10.0.0.7")
    assert peer_of("fd00::1") == peer_of("fd00::ffff:1") != peer_of("fd00:0:0:1::1")
    assert peer_of("fe80::1%eth0") == "fe80::/64"
    assert peer_of(None) == ""


async def test_half_open_connections_of_machines_do_not_reach_the_api(tmp_path: Path) -> None:
    async with site(tmp_path, http={"provisioning_connections": 40, "head_seconds": 60}) as here:
        assert here.child is not None
        files = Path(f"/proc/{here.child.pid}/fd")
        before = _entries(files)
        lines: list[asyncio.StreamWriter] = []
        for _ in range(600):
            _, writer = await asyncio.open_connection("127.0.0.1", here.boot)
            lines.append(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(b"POST /v1/continue_inspection HTTP/1.1\r\nHost: x\r\nContent-")
                await writer.drain()
        async with asyncio.timeout(20):
            while _entries(files) > before + 60:
                await asyncio.sleep(0.05)
        for _ in range(20):
            assert (await here.ask("baremetal", "GET", "/v1/nodes")).status == 200
            async with here.http.get(f"http://127.0.0.1:{here.boot}/healthz") as reply:
                assert reply.status == 200
        for writer in lines:
            writer.close()


def _entries(folder: Path) -> int:
    return len(list(folder.iterdir()))
