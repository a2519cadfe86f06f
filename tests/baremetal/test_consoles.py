"""Serial consoles over TCP: on and off by the API, one session for all, the same after a restart."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from api_support import World, project, system, world

from ingot.drivers.machine.types import PowerTarget
from ingot.kit.auth.policy import Caller
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.services.baremetal import BaremetalSettings, ConsoleSessions, TcpConsoles
from ingot.services.baremetal.tables import node_consoles

pytestmark = pytest.mark.anyio
PATH = "/v1/nodes/n1/states/console"


def free_range(count: int = 3) -> tuple[int, int]:
    """Ports that nobody uses just now."""
    for _ in range(50):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        if first + count < 65536 and all(_free(port) for port in range(first, first + count)):
            return first, first + count
    raise AssertionError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


@pytest.fixture
def options() -> dict[str, Any]:
    """Settings of the service beside the usual ones; tests give others by `parametrize`."""
    return {}


@pytest.fixture
def settings(options: dict[str, Any]) -> BaremetalSettings:
    return BaremetalSettings(**{"console_ports": (free_range(),), **options})


@contextlib.asynccontextmanager
async def doors(api: World) -> AsyncIterator[tuple[TcpConsoles, ConsoleSessions]]:
    consoles = ConsoleSessions(api.baremetal.ctx)
    made = TcpConsoles(api.baremetal.ctx, consoles, api.baremetal.console_grant(api.still))
    await made.start()
    try:
        yield made, consoles
    finally:
        await made.stop()
        await consoles.aclose()


@pytest.fixture
async def api(tmp_path: Path, settings: BaremetalSettings) -> AsyncIterator[World]:
    async with world(tmp_path, SystemClock(), settings) as made:
        yield made


async def enabled(api: World, made: TcpConsoles) -> int:
    """Switch n1's console on; the port of its door."""
    reply = await api.ask("PUT", PATH, {"enabled": True})
    assert reply.status == 202 and reply.headers["location"].endswith("/n1/states/console")
    await made.reconcile()
    shown = (await api.ask("GET", PATH)).json
    assert shown["console_enabled"] is True and shown["console_info"]["type"] == "socat"
    host, _, port = shown["console_info"]["url"].removeprefix("tcp://").rpartition(":")
    assert host == "127.0.0.1"
    return int(port)


async def heard(reader: asyncio.StreamReader, words: bytes) -> None:
    async with asyncio.timeout(20):
        await reader.readuntil(words)


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


async def test_a_console_is_switched_on_used_and_off(
    api: World, settings: BaremetalSettings
) -> None:
    node = await api.node(name="n1")
    nothing = {"console_enabled": False, "console_info": None}
    assert (await api.ask("GET", PATH)).json == nothing
    async with doors(api) as (made, _consoles):
        port = await enabled(api, made)
        assert port in range(*settings.console_ports[0])
        assert (await api.ask("GET", "/v1/nodes/n1")).json["console_enabled"] is True
        assert (await api.ask("PUT", PATH, {"enabled": "true"})).status == 202, "twice is fine"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await heard(reader, f"imaginary console of {node['uuid']}".encode())
        writer.write(b"are you there?\r")
        await heard(reader, b"are you there?\r")
        other, closing = await asyncio.open_connection("127.0.0.1", port)
        assert await other.read() == b"The console is in use.\r\n"
        closing.close()
        assert (await api.ask("PUT", PATH, {"enabled": False})).status == 202
        await made.reconcile()
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()
        assert (await api.ask("GET", PATH)).json == nothing
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert (await api.ask("GET", "/v1/nodes/n1")).json["console_enabled"] is False


async def test_a_door_opens_again_after_a_restart(api: World) -> None:
    await api.node(name="n1")
    async with doors(api) as (made, _consoles):
        port = await enabled(api, made)
    async with doors(api) as (made, _consoles):
        await made.reconcile()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await heard(reader, b"imaginary console")
        writer.close()


async def test_a_port_that_is_taken_is_passed_over(api: World, settings: BaremetalSettings) -> None:
    await api.node(name="n1")
    first, end = settings.console_ports[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        async with doors(api) as (made, _consoles):
            assert await enabled(api, made) in range(first + 1, end)


@pytest.mark.parametrize("options", [{"console_ports": ()}])
async def test_no_port_is_free(api: World) -> None:
    await api.node(name="n1")
    async with doors(api) as (made, _consoles):
        await api.ask("PUT", PATH, {"enabled": True})
        await made.reconcile()
    node = (await api.ask("GET", "/v1/nodes/n1")).json
    assert node["console_enabled"] is False
    assert "Error enabling the console" in node["last_error"] and "port" in node["last_error"]


@pytest.mark.parametrize("options", [{"console_idle": 0.2}])
async def test_a_silent_client_is_sent_away(api: World) -> None:
    await api.node(name="n1")
    async with doors(api) as (made, _consoles):
        reader, writer = await asyncio.open_connection("127.0.0.1", await enabled(api, made))
        async with asyncio.timeout(20):
            await reader.read()
        writer.close()


async def test_listeners_share_one_session(api: World) -> None:
    node = await api.node(name="n1")
    async with (
        doors(api) as (_made, consoles),
        consoles.attach(node["uuid"]) as one,
        consoles.attach(node["uuid"]) as two,
    ):
        await until(lambda: one.online)
        await two.send(b"hello")
        for line in (one, two):
            async with asyncio.timeout(20):
                async for chunk in line:
                    if chunk == b"hello":
                        break


async def test_trouble_is_told_to_the_client(api: World) -> None:
    await api.node(name="n1", driver_info={"fake_fail": "console.open=1:refused"})
    async with doors(api) as (made, _consoles):
        port = await enabled(api, made)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.1)
        writer.write(b"x")
        await heard(reader, b"simulated fault in console.open")
        writer.close()


async def test_where_there_is_no_console(api: World) -> None:
    await api.node(name="n1", console_interface="no-console")
    reply = await api.ask("PUT", PATH, {"enabled": True})
    assert reply.status == 400 and "does not support console" in reply.error
    assert (await api.ask("PUT", PATH, {"enabled": "perhaps"})).status == 400
    assert (await api.ask("PUT", PATH, {})).status == 400


async def test_a_console_needs_complete_driver_info(api: World) -> None:
    await api.node(name="n1", driver="ipmi", console_interface="ipmitool-socat")
    reply = await api.ask("PUT", PATH, {"enabled": True})
    assert reply.status == 400 and "ipmi_address" in reply.error


@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool")
async def test_ipmitool_socat_against_a_simulated_controller(api: World) -> None:
    """The machine's serial port by SOL and TCP; what the driver of a node needs is in its options."""
    options = FleetOptions(count=1, protocols=("ipmi",), speed=50)
    async with Fleet(options) as fleet, doors(api) as (made, _consoles):
        (found,) = fleet.enrolment()["nodes"]
        info = found["driver_info"]
        await api.node(
            name="n1", driver="ipmi", driver_info=info, console_interface="ipmitool-socat"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", await enabled(api, made))
        await asyncio.sleep(1)
        ctx = api.baremetal.ctx
        access = ctx.registry.access("ipmi", info, key="n1")
        await ctx.registry.power("ipmi").set(access, PowerTarget.ON)
        async with asyncio.timeout(30):
            said = await reader.read(100)
        assert said, "the machine said nothing while it started"
        writer.close()


async def test_a_door_is_closed_when_the_machine_changes_hands(api: World) -> None:
    await api.node(name="n1", owner="p1")
    api.become(project("member"))
    async with doors(api) as (made, _consoles):
        port = await enabled(api, made)
        reader, _writer = await asyncio.open_connection("127.0.0.1", port)
        await heard(reader, b"imaginary console")
        api.become(system())
        for field in ("owner", "lessee"):
            body = [{"op": "add", "path": f"/{field}", "value": "p2"}]
            assert (await api.ask("PATCH", "/v1/nodes/n1", body)).status == 200
            await made.reconcile()
            await asyncio.wait_for(reader.read(), 20)  # to the end: he is sent away
            assert (await api.ask("GET", PATH)).json["console_enabled"] is False
            # Whose it is now opens it anew; so may an administrator, whose door ends with the next change too.
            port = await enabled(api, made)
            reader, _writer = await asyncio.open_connection("127.0.0.1", port)
            await heard(reader, b"imaginary console")
            await made.reconcile()
            assert (await api.ask("GET", PATH)).json["console_enabled"] is True


@pytest.mark.parametrize("left", [None, project("reader")])
async def test_a_door_is_closed_when_its_opener_has_lost_the_right(
    api: World, left: Caller | None
) -> None:
    await api.node(name="n1", owner="p1")
    api.become(project("member"))
    async with doors(api) as (made, _consoles):
        port = await enabled(api, made)
        reader, _writer = await asyncio.open_connection("127.0.0.1", port)
        await heard(reader, b"imaginary console")
        await made.reconcile()
        assert (await api.ask("GET", PATH)).json["console_enabled"] is True
        del api.people["u-p1"]
        if left is not None:
            api.people["u-p1"] = left
        await made.reconcile()
        await asyncio.wait_for(reader.read(), 20)  # to the end
        api.become(system())
        shown = (await api.ask("GET", PATH)).json
        assert shown == {"console_enabled": False, "console_info": None}


async def test_a_door_that_nobody_answers_for_is_closed(api: World) -> None:
    """As the releases before left them, which did not note who opened it."""
    await api.node(name="n1")
    async with doors(api) as (made, _consoles):
        await enabled(api, made)
        await api.db.write(
            lambda conn: conn.execute(sa.update(node_consoles).values(opened_by=None))
        )
        await made.reconcile()
        assert (await api.ask("GET", PATH)).json["console_enabled"] is False
        await enabled(api, made)
        await made.reconcile()
        assert (await api.ask("GET", PATH)).json["console_enabled"] is True
