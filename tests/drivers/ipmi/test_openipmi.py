"""The ipmi drivers against OpenIPMI's simulator, by the real ipmitool."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingot.drivers.faults import BadCredentials, Refused
from ingot.drivers.machine import DriverContext, build_registry
from ingot.drivers.machine.identity import compare
from ingot.drivers.machine.testing import Bench, check_all
from ingot.drivers.machine.types import BootDevice, Identity, PowerTarget
from ingot.kit.faults import Fault
from ingot.kit.tasks.clock import SystemClock

sys.path.insert(0, str(Path(__file__).parent))
import openipmi

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not openipmi.available(), reason="needs packages openipmi and ipmitool"),
]


def ipmitool_lines(port: str) -> list[str]:
    """Argument lists of all ipmitool processes that talk to `port`."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "ipmitool" in line and port in line:
            found.append(line)
    return found


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[openipmi.Simulator]:
    async with openipmi.Simulator(tmp_path) as running:
        yield running


@pytest.fixture
async def bench(simulator: openipmi.Simulator) -> AsyncIterator[Bench]:
    registry = build_registry(DriverContext(SystemClock()))
    yield Bench(
        registry=registry,
        driver="ipmi",
        driver_info=simulator.driver_info(),
        wrong_password={"ipmi_password": "another-pass"},
        dead={"ipmi_port": openipmi.free_port()},
        secrets=(openipmi.PASSWORD,),
        cycles=simulator.cycles,
        identity=Identity(uuid="44454c4c-4b00-1035-805a-b4c04f4e5432"),
    )
    await registry.aclose()


async def test_conforms(bench: Bench) -> None:
    await check_all(bench)


async def test_password_is_not_in_any_argument_list(bench: Bench) -> None:
    seen: list[str] = []

    async def watch() -> None:
        while True:
            seen.extend(ipmitool_lines(str(bench.driver_info["ipmi_port"])))
            await asyncio.sleep(0.002)

    watcher = asyncio.create_task(watch())
    with contextlib.suppress(Fault):  # the simulator has no sensors
        await bench.management.sensors(bench.access)
    watcher.cancel()
    assert seen, "the watcher saw no call"
    assert all(openipmi.PASSWORD not in line for line in seen)


async def test_unknown_user(bench: Bench) -> None:
    with pytest.raises(BadCredentials):
        await bench.power.get(bench.with_options({"ipmi_username": "nobody"}))


async def test_cipher_suite_is_learned(bench: Bench) -> None:
    from ingot.drivers.machine.ipmi.tool import IpmiTool, target_of

    context = bench.registry.context
    await bench.power.get(bench.access)
    tool = context.shared(IpmiTool, lambda: IpmiTool(context))
    assert tool.suite(target_of(bench.access)) == "3"


async def test_guid_compares_in_any_byte_order(bench: Bench) -> None:
    told = await bench.management.identity(bench.access)
    for spelling in (
        "44454c4c-4b00-1035-805a-b4c04f4e5432",
        "4c4c4544-004b-3510-805a-b4c04f4e5432",
        "32544e4f-c0b4-5a80-1035-4b0044454c4c",
    ):
        assert compare(told, Identity(uuid=spelling.upper())).verdict == "same", spelling
    assert (
        compare(told, Identity(uuid="44454c4c-4b00-1035-805a-b4c04f4e5433")).verdict == "different"
    )


async def test_a_device_the_controller_forgets_is_reported(
    bench: Bench, simulator: openipmi.Simulator
) -> None:
    forgetful = simulator.folder / "chassis"
    forgetful.write_text(forgetful.read_text().replace("echo $1 > $name", "true"))
    with pytest.raises(Refused, match="controller reports"):
        await bench.management.set_boot_device(bench.access, BootDevice.PXE)


async def test_soft_power_off(bench: Bench, simulator: openipmi.Simulator) -> None:
    await bench.power.set(bench.access, PowerTarget.ON)
    outcome = await bench.power.set(bench.access, PowerTarget.SOFT_OFF, 30)
    assert outcome.commands == ("chassis power soft",)
    assert any("shutdown" in call for call in simulator.calls())


async def test_raw_bytes(bench: Bench) -> None:
    vendor = bench.registry.vendor("ipmi")
    await vendor.call(bench.access, "send_raw", "POST", {"raw_bytes": "0x06 0x01"})
    with pytest.raises(Refused):
        await vendor.call(bench.access, "send_raw", "POST", {"raw_bytes": "0x06; reboot"})


async def test_console(tmp_path: Path) -> None:
    """Bytes go both ways; after closing no process of ours is left and SOL is free again."""
    connected = asyncio.Event()

    async def serial(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        while data := await reader.read(100):
            writer.write(b"<" + data.replace(b"\xff", b"") + b">")
            await writer.drain()

    server = await asyncio.start_server(serial, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    registry = build_registry(DriverContext(SystemClock()))
    async with server, openipmi.Simulator(tmp_path, sol_port=port) as simulator:
        access = registry.access("ipmi", simulator.driver_info())
        for _ in range(2):
            async with asyncio.timeout(60):
                session = await registry.console("ipmi").open(access)
                await connected.wait()
                await session.send(b"root~.")
                seen = b""
                async for chunk in session:
                    seen += chunk
                    if b"~.>" in seen:
                        break
                await session.aclose()
                await session.aclose()
            assert ipmitool_lines(str(simulator.port)) == []
            assert "root" in seen.decode(errors="replace")
