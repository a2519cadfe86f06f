"""Serial consoles by websocket: the token, bytes both ways, several guests, and who is sent away when."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
import sqlalchemy as sa
import uvicorn
from api_support import World, project, system, world
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ingot.app.crowd import Bounds, Crowd
from ingot.app.wire import HttpProtocol
from ingot.drivers.machine.types import PowerTarget
from ingot.kit.http.server import WebApp
from ingot.kit.http.websockets import Channel
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.services.baremetal import (
    CONSOLE_PATH,
    BaremetalSettings,
    ConsoleSessions,
    TcpConsoles,
    WebsocketConsoles,
)
from ingot.services.baremetal.nodes.hash_ring import HashRing
from ingot.workflow import ConductorRow
from ingot.workflow.tables import conductors

pytestmark = pytest.mark.anyio
PATH = "/v1/nodes/n1/states/console"


class Later(SystemClock):
    """The system's clock, put forward by hand."""

    ahead = 0.0

    def now(self) -> Any:
        from datetime import timedelta

        return super().now() + timedelta(seconds=self.ahead)


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
async def api(tmp_path: Path, clock: Later) -> AsyncIterator[World]:
    async with world(tmp_path, clock, BaremetalSettings(console_websockets=True)) as made:
        yield made


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def door(
    api: World, host: str = "", **more: int
) -> AsyncIterator[tuple[WebsocketConsoles, int]]:
    """The door behind the server that `ingot serve` uses; its port. host: of another process than the API's."""
    ctx = api.baremetal.ctx
    ctx = replace(ctx, host=host, memory={}) if host else ctx
    consoles = ConsoleSessions(ctx)
    grants = {"node": api.baremetal.console_grant(api.still)}
    made = WebsocketConsoles(ctx, consoles, grants, **more)
    app = WebApp(api.app.services, channels=[Channel(CONSOLE_PATH, made.enter)])
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(  # as `ingot serve` has it
        app.asgi,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=None,
        ws="websockets-sansio",
        http=cast("Any", functools.partial(HttpProtocol, Crowd(Bounds()))),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    await made.start()
    try:
        yield made, sock.getsockname()[1]
    finally:
        await made.stop()
        server.should_exit = True
        await serving
        await consoles.aclose()


async def address(api: World, port: int, name: str = "n1") -> str:
    """The console's URL as it is told, at the port of this test's server."""
    shown = (await api.ask("GET", f"/v1/nodes/{name}/states/console")).json
    assert shown["console_enabled"] is True
    told = shown["console_info"]
    assert told["type"] == "websocket" and told["url"].startswith("ws://"), told
    _, _, query = told["url"].partition(f"{CONSOLE_PATH}?")
    assert query.startswith("token=")
    return f"ws://127.0.0.1:{port}{CONSOLE_PATH}?{query}"


async def enabled(api: World, port: int) -> str:
    assert (await api.ask("PUT", PATH, {"enabled": True})).status == 202
    return await address(api, port)


async def heard(client: Any, words: bytes) -> None:
    """Until the machine's words have come; only bytes come."""
    said = b""
    async with asyncio.timeout(30):
        while words not in said:
            said += await client.recv()


async def closed(client: Any) -> int:
    """The code with which the other side closed."""
    async with asyncio.timeout(30):
        await client.wait_closed()
    return client.close_code


async def refused(url: str) -> int:
    with pytest.raises(InvalidStatus) as told:
        async with connect(url):
            pass
    return told.value.response.status_code


async def test_two_readers_share_a_console_and_both_type(api: World) -> None:
    node = await api.node(name="n1", console_interface="fake-websocket")
    async with door(api) as (_made, port):
        url = await enabled(api, port)
        async with connect(url, subprotocols=["binary"]) as one, connect(url) as two:  # type: ignore[list-item]
            assert (one.subprotocol, two.subprotocol) == ("binary", None)
            await heard(one, f"imaginary console of {node['uuid']}".encode())
            await one.send(b"from one\r")
            await heard(two, b"from one\r")
            await two.send("text counts as its bytes: ä\r")
            await heard(one, "its bytes: ä\r".encode())
        # Whoever left can come back while the token is good.
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as third:
            message = await third.receive(timeout=30)
            assert message.type is aiohttp.WSMsgType.BINARY and b"imaginary" in message.data


async def test_who_is_not_let_in(api: World, clock: Later) -> None:
    await api.node(name="n1", console_interface="fake-websocket")
    async with door(api) as (_made, port):
        url = await enabled(api, port)
        base = url.partition("?")[0]
        other = api.baremetal.ctx.vault.seal('{"kind":"node","what":"other"}').rstrip("=")
        for token in ("", "x", "ä", url.partition("token=")[2][:-3], "A" * 3000, other):
            assert await refused(f"{base}?token={token}") == 403, token
        assert await refused(base) == 403
        assert await refused(f"ws://127.0.0.1:{port}/baremetal/v1/nodes") == 403
        clock.ahead = 601
        assert await refused(url) == 403, "its time is over"
        async with connect(await address(api, port)) as client:
            await heard(client, b"imaginary")
            clock.ahead += 601
            await client.send(b"still here")
            await heard(client, b"still here")  # the time is that of coming, not of staying


async def test_a_console_that_is_closed_sends_its_guests_away(api: World) -> None:
    await api.node(name="n1", console_interface="fake-websocket")
    async with door(api) as (made, port):
        url = await enabled(api, port)
        async with connect(url) as client:
            await heard(client, b"imaginary")
            assert (await api.ask("PUT", PATH, {"enabled": False})).status == 202
            made.kick()
            assert await closed(client) == 1008
        nothing = {"console_enabled": False, "console_info": None}
        assert (await api.ask("GET", PATH)).json == nothing
        assert await refused(url) == 403
        again = await enabled(api, port)
        assert await refused(url) == 403, "a token of the time before"
        async with connect(again) as client:
            await heard(client, b"imaginary")
            assert (await api.ask("DELETE", "/v1/nodes/n1")).status == 204
            made.kick()
            assert await closed(client) == 1008


async def test_the_server_ends_with_guests_inside(api: World) -> None:
    await api.node(name="n1", console_interface="fake-websocket")
    async with contextlib.AsyncExitStack() as stack:
        async with door(api) as (_made, port):
            client = await stack.enter_async_context(connect(await enabled(api, port)))
            await heard(client, b"imaginary")
        assert await closed(client) in (1001, 1008, 1012)


async def test_no_tcp_door_is_opened_and_who_may_ask(api: World) -> None:
    await api.node(name="n1", console_interface="fake-websocket", owner="p1")
    tcp = TcpConsoles(
        api.baremetal.ctx,
        ConsoleSessions(api.baremetal.ctx),
        api.baremetal.console_grant(api.still),
    )
    async with door(api) as (_made, port):
        await enabled(api, port)
        await tcp.reconcile()
        await address(api, port)
        node = (await api.ask("GET", "/v1/nodes/n1")).json
        assert (node["console_enabled"], node["last_error"]) == (True, None)
        body = [{"op": "replace", "path": "/console_interface", "value": "fake"}]
        assert (await api.ask("PATCH", "/v1/nodes/n1", body)).status == 409
        api.become(project("reader"))
        assert (await api.ask("GET", PATH)).status == 403, "a URL to type at is no reader's"
        api.become(system("reader"))
        assert (await api.ask("GET", PATH)).status == 403
        api.become(project("member", "p2"))
        assert (await api.ask("GET", PATH)).status == 404


async def test_a_process_without_websockets_says_so(tmp_path: Path) -> None:
    async with world(tmp_path, SystemClock()) as api:
        await api.node(name="n1", console_interface="fake-websocket")
        reply = await api.ask("PUT", PATH, {"enabled": True})
        assert reply.status == 400 and "console.websocket_url" in reply.error
        assert (await api.ask("GET", PATH)).json["console_enabled"] is False
    settings = BaremetalSettings(console_url="wss://consoles.example/c/")
    (tmp_path / "b").mkdir()
    async with world(tmp_path / "b", SystemClock(), settings) as api:
        await api.node(name="n1", console_interface="fake-websocket")
        await api.ask("PUT", PATH, {"enabled": True})
        told = (await api.ask("GET", PATH)).json["console_info"]["url"]
        assert told.startswith("wss://consoles.example/c?token=")


async def alive(api: World, **addresses: str) -> None:
    """These controllers and no others live: by name, where each is reached."""
    row = {"group_name": "", "beat": 1, "roles": '["api","conductor","console"]'}
    moment = api.baremetal.ctx.now()
    rows = [
        {
            **row,
            "incarnation": name,
            "host": name.replace("_", "-"),
            "info": msgspec.json.encode({"address": address}).decode(),
            "beat_at": moment,
            "started_at": moment,
        }
        for name, address in addresses.items()
    ]

    def change(conn: sa.Connection) -> None:
        conn.execute(sa.delete(conductors))
        conn.execute(sa.insert(conductors), rows)

    await api.db.write(change)


async def told(client: Any, words: bytes) -> bytes:
    """All that was said until the words came."""
    said = b""
    async with asyncio.timeout(30):
        while words not in said:
            said += await client.recv()
    return said


async def test_a_guest_is_passed_on_to_the_controller_that_holds_the_console(api: World) -> None:
    """Also when it changes hands; the grant counts everywhere."""
    node = await api.node(name="n1", console_interface="fake-websocket")
    async with door(api) as (made, port), door(api, "host-2") as (second, other):
        await alive(api, host_2=f"127.0.0.1:{other}")
        url = await enabled(api, port)
        async with connect(url) as guest, connect(await address(api, other)) as there:
            await heard(guest, f"imaginary console of {node['uuid']}".encode())
            await guest.send(b"typed here\r")
            await heard(there, b"typed here\r")  # one line for both
            await alive(api, host_1=f"127.0.0.1:{port}")
            made.kick()
            second.kick()
            await told(guest, b"host-2 holds this console no more")
            await heard(guest, b"imaginary console")
            await guest.send(b"held here now\r")
            await heard(there, b"held here now\r")  # he was passed on in his turn
            assert (await api.ask("PUT", PATH, {"enabled": False})).status == 202
            second.kick()
            assert await closed(there) == 1008
            made.kick()
            assert await closed(guest) == 1008


async def test_a_holder_that_cannot_be_reached_is_told(api: World) -> None:
    await api.node(name="n1", console_interface="fake-websocket")
    async with door(api) as (made, port):
        await alive(api, host_2="")
        url = await enabled(api, port)
        async with connect(url) as guest:
            await told(guest, b"host-2, which holds this console, serves no API")
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                await alive(api, host_2=f"127.0.0.1:{nobody.getsockname()[1]}")
                said = await told(guest, b"which holds this console, does not answer")
                assert b"token" not in said
            await guest.send(b"x")
            await told(guest, b"does not answer")  # what is typed is answered with the reason
            await alive(api, host_1="")
            made.kick()
            await heard(guest, b"imaginary console")


def test_who_holds_what_changes_little_when_one_goes() -> None:
    def row(host: str) -> ConductorRow:
        return ConductorRow(host, host, "", 1, "", "", [], {})

    names = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))) for number in range(3000)]
    three = HashRing([row("c1"), row("c2"), row("c3")])
    two = HashRing([row("c3"), row("c1")])
    before = {name: three.of(name, "") for name in names}
    after = {name: two.of(name, "") for name in names}
    assert all(after[name] == host for name, host in before.items() if host != "c2")
    counts = Counter(before.values())
    assert min(counts.values()) > 800, counts
    assert min(Counter(after.values()).values()) > 1300
    assert three.of(names[0], "rack7") is None


@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool")
async def test_ipmitool_websocket_against_a_simulated_controller(api: World) -> None:
    """The machine's serial port by SOL, and trouble told in the same place."""
    options = FleetOptions(count=1, protocols=("ipmi",), speed=50)
    async with Fleet(options) as fleet, door(api) as (_made, port):
        (found,) = fleet.enrolment()["nodes"]
        info = found["driver_info"]
        await api.node(
            name="n1", driver="ipmi", driver_info=info, console_interface="ipmitool-websocket"
        )
        async with connect(await enabled(api, port)) as client:
            await heard_session(client)
            ctx = api.baremetal.ctx
            access = ctx.registry.access("ipmi", info, key="n1")
            await ctx.registry.power("ipmi").set(access, PowerTarget.ON)
            async with asyncio.timeout(30):
                assert await client.recv(), "the machine said nothing while it started"


async def heard_session(client: Any) -> None:
    """Until the session is up: what is typed before is answered with the reason."""
    async with asyncio.timeout(60):
        while True:
            await client.send(b"\r")
            try:
                async with asyncio.timeout(0.5):
                    if b"no session" not in await client.recv():
                        return  # what was typed, come back
            except TimeoutError:
                return


def gone(api: World) -> None:
    del api.people["u-p1"]


def demoted(api: World) -> None:
    api.people["u-p1"] = project("reader")


@pytest.mark.parametrize("end", [gone, demoted])
async def test_a_guest_whose_right_is_gone_is_sent_away(
    api: World, end: Callable[[World], None]
) -> None:
    await api.node(name="n1", console_interface="fake-websocket", owner="p1")
    async with door(api) as (made, port):
        operator = await enabled(api, port)
        api.become(project("member"))
        url = await address(api, port)
        async with connect(url) as guest, connect(operator) as other:
            await heard(guest, b"imaginary")
            made.kick()
            await guest.send(b"still here")
            await heard(other, b"still here")
            end(api)
            assert await closed(guest) == 1008
            assert await refused(url) == 403, "the ticket is his, not the bearer's"
            await other.send(b"goes on")
            await heard(other, b"goes on")


async def test_a_guest_leaves_with_the_machine_that_was_his(api: World) -> None:
    await api.node(name="n1", console_interface="fake-websocket", owner="p1")
    async with door(api) as (_made, port):
        await enabled(api, port)
        api.become(project("admin"))
        url = await address(api, port)
        async with connect(url) as guest:
            await heard(guest, b"imaginary")
            api.become(system())
            body = [{"op": "replace", "path": "/owner", "value": "p2"}]
            assert (await api.ask("PATCH", "/v1/nodes/n1", body)).status == 200
            assert await closed(guest) == 1008
        assert await refused(url) == 403


async def test_a_project_has_so_many_guests_and_hinders_no_other(api: World) -> None:
    for name, owner in (("n1", "p1"), ("n2", "p2")):
        await api.node(name=name, console_interface="fake-websocket", owner=owner)
    async with door(api, most=2) as (_made, port):
        for name in ("n1", "n2"):
            path = f"/v1/nodes/{name}/states/console"
            assert (await api.ask("PUT", path, {"enabled": True})).status == 202
        api.become(project("member"))
        own = await address(api, port)
        api.become(project("member", "p2"))
        other = await address(api, port, "n2")
        async with connect(own), connect(own) as second:
            async with connect(own) as third:
                assert await closed(third) == 1013
            async with connect(other) as client:
                await heard(client, b"imaginary console")
            await second.close()
            async with connect(own) as client:
                await client.send(b"here")
                await heard(client, b"here")
