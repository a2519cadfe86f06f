"""The BMCs against stock ipmitool, the Redfish rules, and their misbehaviour."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import aiohttp
import pytest

from ingot.lab.sim import (
    PERSONALITIES,
    RECOVERS,
    STOPS,
    Bmc,
    BootSetting,
    Chance,
    Faults,
    Fleet,
    FleetOptions,
    Hardware,
    Identity,
    IpmiService,
    PowerState,
    ScaledClock,
    misbehaving,
)
from ingot.lab.sim.fleet import deal
from ingot.lab.sim.inventory import make_identity
from ingot.lab.sim.serial import SerialLine, SerialPort

pytestmark = pytest.mark.anyio
needs_ipmitool = pytest.mark.skipif(not shutil.which("ipmitool"), reason="ipmitool not installed")


async def ipmitool(port: int, address: str, suite: int, *words: str, password: str = "simulated"):
    process = await asyncio.create_subprocess_exec(
        *("ipmitool", "-I", "lanplus", "-C", str(suite), "-H", address, "-p", str(port)),
        *("-U", "admin", "-P", password, "-R", "1", "-N", "1", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode()


async def until(check: Callable[[], bool], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not check():
            await asyncio.sleep(0.005)


@needs_ipmitool
@pytest.mark.parametrize("suite", [3, 17])
async def test_stock_ipmitool(suite: int) -> None:
    async with Fleet(FleetOptions(count=1, seed=1, speed=500, protocols=("ipmi",))) as fleet:
        unit, machine = fleet.unit("sim-0000"), fleet.machine("sim-0000")

        async def run(*words: str) -> str:
            code, text = await ipmitool(unit.port, unit.address, suite, *words)
            assert code == 0, text
            return text

        assert "Chassis Power is off" in await run("power", "status")
        assert machine.identity.uuid in await run("mc", "guid")
        await run("chassis", "bootdev", "pxe", "options=efiboot,persistent")
        parameter = await run("chassis", "bootparam", "get", "5")
        assert "Force PXE" in parameter and "all future boots" in parameter
        assert "EFI boot" in parameter
        await run("power", "on")
        await until(lambda: machine.power is PowerState.ON)
        assert "System Power         : on" in await run("chassis", "status")
        assert "CPU1 Temp" in await run("sdr", "list")
        assert machine.identity.serial in await run("fru")
        await run("power", "off")
        await until(lambda: machine.power is PowerState.OFF)
        code, text = await ipmitool(unit.port, unit.address, suite, "power", "reset")
        assert code != 0 and "present state" in text
        code, text = await ipmitool(unit.port, unit.address, suite, "power", "on", password="no")
        assert code != 0
        commands = [(c.command, c.outcome) for c in unit.bmc.commands]
        assert commands == [
            ("boot network always uefi", "done"),
            ("power on", "done"),
            ("power off", "done"),
            ("power reset", "refused: the system is off"),
        ]
        assert len({c.session for c in unit.bmc.commands}) == 4


class OtherBackend:
    """A machine that is not a simulated one, as QEMU would be."""

    def __init__(self) -> None:
        import random

        self._made = make_identity(5, random.Random(5))
        self.state = PowerState.ON
        self.port = SerialPort()
        self.setting = BootSetting()

    @property
    def identity(self) -> Identity:
        return self._made[0]

    @property
    def hardware(self) -> Hardware:
        return self._made[1]

    async def power_state(self) -> PowerState:
        return self.state

    async def power_on(self) -> None:
        self.state = PowerState.ON

    async def power_off(self) -> None:
        self.state = PowerState.OFF

    async def soft_off(self) -> None:
        self.state = PowerState.OFF

    async def reset(self) -> None:
        pass

    async def boot_setting(self) -> BootSetting:
        return self.setting

    async def set_boot(self, setting: BootSetting) -> None:
        self.setting = setting

    async def set_media(self, url: str | None) -> None:
        pass

    def open_serial(self, sink: Callable[[bytes], None]) -> SerialLine:
        return self.port.open(sink)


@needs_ipmitool
async def test_serial_over_lan_in_front_of_another_backend() -> None:
    backend = OtherBackend()
    bmc = Bmc(
        backend,
        username="admin",
        password="simulated",
        faults=Faults(),
        clock=ScaledClock(1),
        chance=Chance(1),
    )
    service = IpmiService(bmc)
    await service.open("127.0.0.1", 0)
    try:
        process = await asyncio.create_subprocess_exec(
            *("ipmitool", "-I", "lanplus", "-C", "17", "-H", "127.0.0.1"),
            *("-p", str(service.port), "-U", "admin", "-P", "simulated", "sol", "activate"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin and process.stdout
        await until(lambda: backend.port.listeners == 1, 10)
        backend.port.print("x" * 500 + "end of boot\n")
        await asyncio.wait_for(process.stdout.readuntil(b"end of boot"), 10)
        process.stdin.write(b"root\r")
        await until(lambda: b"root\r" in bytes(backend.port.typed))
        process.kill()
        await process.wait()
    finally:
        await service.close()


class Redfish:
    def __init__(self, fleet: Fleet, http: aiohttp.ClientSession, password: str = "") -> None:
        unit = fleet.unit("sim-0000")
        self._base = f"http://{unit.address}:{unit.port}"
        self._http = http
        word = password or fleet.options.password
        self.auth = {"Authorization": aiohttp.encode_basic_auth("admin", word)}

    async def __call__(self, method: str, path: str, body: object = None, **headers: str):
        async with self._http.request(
            method, self._base + path, json=body, headers=headers or self.auth
        ) as reply:
            text = await reply.text()
            return reply, text


SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


def fleet_of(**options: object) -> Fleet:
    settings: dict[str, object] = {"count": 1, "seed": 3, "speed": 300, "protocols": ("redfish",)}
    return Fleet(FleetOptions(**(settings | options)))  # type: ignore[arg-type]


async def test_redfish_rules() -> None:
    async with fleet_of() as fleet, aiohttp.ClientSession() as http:
        ask = Redfish(fleet, http)
        assert (await ask("GET", "/redfish/v1/", Accept="*/*"))[0].status == 200
        assert (await ask("GET", SYSTEM, Accept="*/*"))[0].status == 401
        reply, _ = await ask(
            "POST",
            "/redfish/v1/SessionService/Sessions",
            {"UserName": "admin", "Password": "simulated"},
            Accept="*/*",
        )
        assert reply.status == 201
        token = {"X-Auth-Token": reply.headers["X-Auth-Token"]}
        reply, _ = await ask("GET", SYSTEM, **token)
        etag = reply.headers["ETag"]
        boot = {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
        assert (await ask("PATCH", SYSTEM, boot, **token, **{"If-Match": '"no"'}))[0].status == 412
        assert (await ask("PATCH", SYSTEM, boot, **token, **{"If-Match": etag}))[0].status == 204
        wrong = {"Boot": {"BootSourceOverrideTarget": "Tape"}}
        assert (await ask("PATCH", SYSTEM, wrong))[0].status == 400
        assert (await ask("POST", RESET, {"ResetType": "Explode"}))[0].status == 400
        assert (await ask("POST", RESET, {"ResetType": "ForceRestart"}))[0].status == 409
        assert (await ask("GET", "/redfish/v1/CompositionService"))[0].status == 404
        assert (await ask("PUT", SYSTEM, {}))[0].status == 405
        [boot_command, reset] = fleet.bmc("sim-0000").commands
        assert (
            boot_command.command
            == "boot network once " + fleet.machine("sim-0000").hardware.firmware
        )
        assert boot_command.client.startswith("Python") and boot_command.session != "basic"
        assert reset.outcome.startswith("refused")


async def test_lock_out_refuses_even_the_right_password() -> None:
    async with fleet_of(speed=1) as fleet, aiohttp.ClientSession() as http:
        fleet.inject("sim-0000", "wrong-password")
        good, bad = Redfish(fleet, http), Redfish(fleet, http, "guess")
        assert (await good("GET", SYSTEM))[0].status == 200
        for _ in range(5):
            assert (await bad("GET", SYSTEM))[0].status == 401
        assert (await good("GET", SYSTEM))[0].status == 401
        document = fleet.enrolment()["nodes"][0]
        assert document["driver_info"]["redfish_password"] == "not-simulated"


async def test_faults_of_power() -> None:
    async with fleet_of() as fleet, aiohttp.ClientSession() as http:
        ask, machine = Redfish(fleet, http), fleet.machine("sim-0000")

        async def power(kind: str) -> None:
            assert (await ask("POST", RESET, {"ResetType": kind}))[0].status == 204

        fleet.inject("sim-0000", {"power_on_ignored": 1})
        await power("On")
        await power("On")
        await until(lambda: machine.power is PowerState.ON)
        assert [c.outcome for c in fleet.bmc("sim-0000").commands] == ["ignored", "done"]
        fleet.inject("sim-0000", {"reset_stays_off": 1})
        await power("ForceRestart")
        await until(lambda: machine.power is PowerState.OFF)
        fleet.inject("sim-0000", "lies-on")
        assert '"PowerState": "On"' in (await ask("GET", SYSTEM))[1]
        fleet.heal("sim-0000")
        fleet.inject("sim-0000", {"stale_power": 1e9})
        assert '"PowerState": "Off"' in (await ask("GET", SYSTEM))[1]
        await power("On")
        await until(lambda: machine.power is PowerState.ON)
        assert '"PowerState": "Off"' in (await ask("GET", SYSTEM))[1]


async def test_busy_silent_and_few_sessions() -> None:
    async with fleet_of() as fleet, aiohttp.ClientSession() as http:
        ask = Redfish(fleet, http)
        fleet.inject("sim-0000", {"busy_rate": 1.0})
        reply, text = await ask("GET", SYSTEM)
        assert reply.status == 503 and reply.headers["Retry-After"] == "5" and "error" in text
        fleet.heal("sim-0000")
        fleet.inject("sim-0000", {"freeze_burst": 3, "freeze_seconds": 90.0})
        for _ in range(2):
            assert (await ask("GET", SYSTEM))[0].status == 200
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await asyncio.wait_for(ask("POST", RESET, {"ResetType": "On"}), 5)
        assert fleet.bmc("sim-0000").commands == []
        fleet.heal("sim-0000")
        assert (await ask("GET", SYSTEM))[0].status == 200
        fleet.inject("sim-0000", {"session_limit": 1})
        login = {"UserName": "admin", "Password": "simulated"}
        path = "/redfish/v1/SessionService/Sessions"
        assert [(await ask("POST", path, login))[0].status for _ in range(2)] == [201, 503]


def test_every_personality_names_its_source_and_end() -> None:
    assert len(PERSONALITIES) > 20
    for one in PERSONALITIES.values():
        assert one.name == "healthy" or "#" in one.source, one.name
        assert one.expect in (RECOVERS, STOPS)
        assert bool(one.cause) == (one.expect == STOPS), one.name
        Faults().put(one.draw(Chance(1).stream("personality")))


def test_shares_are_dealt_exactly_and_by_seed() -> None:
    kinds = deal(misbehaving(0.05), 1000, 7)
    assert 50 <= sum(kind != "healthy" for kind in kinds) <= 51
    assert kinds.count("duplicate-uuid") != 1
    assert kinds == deal(misbehaving(0.05), 1000, 7) != deal(misbehaving(0.05), 1000, 8)
    with pytest.raises(KeyError, match="known"):
        deal({"nonsense": 0.1}, 10, 1)
