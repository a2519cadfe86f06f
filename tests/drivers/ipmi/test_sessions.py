"""IPMI sessions: packets that are not ours, log-ins that fail, inventory chips; on the wire where it has one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.drivers.faults import BadCredentials, Refused, Unreachable, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi import fru, packets
from ingot.drivers.machine.ipmi.lan import IDLE_SECONDS, Ask, IpmiLan
from ingot.drivers.machine.ipmi.management import IpmiManagement
from ingot.drivers.machine.ipmi.session import RESEND_SECONDS, SENDS, Login, Session
from ingot.drivers.machine.types import Access, BootDevice, BootMode
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions

KEYS = packets.make_keys(packets.SUITES["17"], packets.padded(b"secret"), b"exchanged")


@given(st.binary(max_size=200), st.integers(1, 2**32 - 1))
def test_a_sealed_packet_opens_with_its_keys_only(payload: bytes, session: int) -> None:
    data = packets.sealed(KEYS, session, 1, payload)
    assert packets.opened(data, KEYS) == packets.Packet(0, session, payload)
    other = packets.make_keys(packets.SUITES["17"], packets.padded(b"other"), b"exchanged")
    for wrong in (other, None):
        with pytest.raises(packets.BadPacket):
            packets.opened(data, wrong)


@given(st.binary(max_size=120), st.integers(0, 200))
def test_noise_is_no_packet(noise: bytes, place: int) -> None:
    good = packets.sealed(KEYS, 1, 1, b"x")
    place %= len(good)
    damaged = good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]
    for data in (noise, packets.RMCP + noise, good[:place]):
        with pytest.raises(packets.BadPacket):
            packets.opened(data, KEYS)
    if place > 3:  # what comes before is not signed
        with pytest.raises(packets.BadPacket):
            packets.opened(damaged, KEYS)


@given(st.binary(max_size=80))
def test_noise_is_no_answer(noise: bytes) -> None:
    try:
        packets.answer(noise)
    except packets.BadPacket:
        return
    assert len(noise) >= 8


# -- the inventory chip --------------------------------------------------------------------------


def area(head: bytes, *texts: str) -> bytes:
    body = b"".join(bytes([0xC0 | len(text)]) + text.encode() for text in texts) + b"\xc1"
    length = -(-(len(head) + 2 + len(body) + 1) // 8)
    data = bytes([1, length]) + head + body
    data += bytes(length * 8 - len(data) - 1)
    return data + bytes([-sum(data) & 0xFF])


def chip(most: int) -> tuple[bytes, fru.Ask]:
    """An inventory, and a controller that gives at most so many octets a read."""
    board = area(b"\0\0\0\0", "Maker", "Board 1", "B-77")
    product = area(b"\0", "Maker", "Machine", "P-1", "", "S-42")
    header = bytes([1, 0, 0, 1, 1 + len(board) // 8, 0, 0])
    data = header + bytes([-sum(header) & 0xFF]) + board + product

    async def ask(_netfn: int, command: int, at: bytes) -> bytes:
        if command == fru.INFO:
            return len(data).to_bytes(2, "little") + b"\0"
        offset, count = int.from_bytes(at[1:3], "little"), at[3]
        if count > most:
            raise Refused("completion code 0xca")
        part = data[offset : offset + count]
        return bytes([len(part)]) + part

    return data, ask


@pytest.mark.anyio
@pytest.mark.parametrize("most", [255, 16, 8])
async def test_the_inventory_is_read_in_pieces_that_the_controller_bears(most: int) -> None:
    found = await fru.read(chip(most)[1])
    assert found["Product Serial"] == "S-42" and found["Board Product"] == "Board 1"
    assert "Product Version" not in found


@pytest.mark.anyio
async def test_a_damaged_inventory_is_refused() -> None:
    async def ask(_netfn: int, command: int, _at: bytes) -> bytes:
        return b"\x40\0\0" if command == fru.INFO else b"\x08" + b"\x01" * 8

    with pytest.raises(Refused, match="damaged"):
        await fru.read(ask)


@given(st.binary(max_size=100))
def test_no_area_breaks_the_reader(data: bytes) -> None:
    assert isinstance(fru.fields(data), list)


# -- on the wire -----------------------------------------------------------------------------------


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    options = FleetOptions(count=1, seed=5, speed=50, protocols=("ipmi",))
    async with Fleet(options) as running:
        yield running


def login(fleet: Fleet, suite: str = "17", **changes: object) -> Login:
    info = fleet.enrolment("sim-0000")["nodes"][0]["driver_info"]
    values = {
        "host": info["ipmi_address"],
        "port": int(info["ipmi_port"]),
        "user": info["ipmi_username"],
        "password": info["ipmi_password"],
        "privilege": 4,
        "kg": b"",
        "suite": packets.SUITES[suite],
    }
    return Login(**{**values, **changes})  # type: ignore[arg-type]


async def _log_in(login: Login) -> Session:
    return await Session.log_in(login, login.host)


@pytest.mark.anyio
@pytest.mark.parametrize("suite", ["3", "17"])
async def test_both_suites(fleet: Fleet, suite: str) -> None:
    session = await _log_in(login(fleet, suite))
    assert [(await session.ask(0x00, 0x01))[0] & 1 for _ in range(70)] == [0] * 70
    with pytest.raises(Unsupported, match="invalid command"):
        await session.ask(0x2E, 0x77)
    session.close()
    assert not session.usable


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "does not fit the password"),
        ({"user": "nobody"}, "unauthorized name"),
        ({"kg": b"not its key"}, "Kg key"),
    ],
)
async def test_refused_log_ins(fleet: Fleet, changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadCredentials, match=words) as caught:
        await _log_in(login(fleet, **changes))
    assert str(changes.get("password", "simulated")) not in caught.value.text


@pytest.mark.anyio
async def test_nobody_there(fleet: Fleet) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(Unreachable, match="no IPMI controller answers"):
            await _log_in(login(fleet, port=9))


@pytest.mark.anyio
async def test_a_long_conversation_keeps_the_session_that_a_short_one_left(
    fleet: Fleet, tmp_path: Path
) -> None:
    """What was to close the idle session struck in the middle of the next, slow conversation."""
    context = DriverContext(SystemClock(), run_dir=tmp_path)
    lan = IpmiLan(context)
    info = fleet.enrolment("sim-0000")["nodes"][0]["driver_info"]
    access = Access("ipmi", {**info, "ipmi_port": int(info["ipmi_port"])}, "node")

    async def slow(ask: Ask) -> bytes:
        await ask(0x00, 0x01, b"")
        await asyncio.sleep(IDLE_SECONDS + 0.5)
        return await ask(0x00, 0x01, b"")

    try:
        await lan.ask(access, 0x00, 0x01)
        assert await lan.talk(access, slow)
    finally:
        await lan.close()


# -- controllers with habits -----------------------------------------------------------------------


def access_of(fleet: Fleet) -> Access:
    info = fleet.enrolment("sim-0000")["nodes"][0]["driver_info"]
    info.pop("ipmi_cipher_suite", None)
    return Access("ipmi", {**info, "ipmi_port": int(info["ipmi_port"])}, "node")


@pytest.mark.anyio
@pytest.mark.parametrize("suite", ["3", "17"])
async def test_octets_behind_a_proof_do_not_matter(fleet: Fleet, suite: str) -> None:
    fleet.bmc("sim-0000").faults.put({"ipmi_trailing": 7, "ipmi_repeats": 1.0})
    session = await _log_in(login(fleet, suite))
    assert [(await session.ask(0x00, 0x01))[0] & 1 for _ in range(70)] == [0] * 70
    session.close()
    with pytest.raises(BadCredentials, match="does not fit"):
        await _log_in(login(fleet, suite, password="wrong"))


@pytest.mark.anyio
async def test_who_is_silent_to_suite_17_is_asked_with_suite_3(
    fleet: Fleet, tmp_path: Path
) -> None:
    bmc = fleet.bmc("sim-0000")
    bmc.faults.put({"ipmi_silent_17": -1})
    context = DriverContext(SystemClock(), run_dir=tmp_path)
    lan = IpmiLan(context)
    access = access_of(fleet)
    try:
        assert await lan.ask(access, 0x00, 0x01)
        bmc.go_silent(3600)
        await lan.close()
        before = asyncio.get_running_loop().time()
        with pytest.raises(Unreachable):
            await lan.ask(access, 0x00, 0x01)
        # Its suite is known by now: silence is silence, and costs no second round.
        assert asyncio.get_running_loop().time() - before < SENDS * RESEND_SECONDS * 2
    finally:
        await context.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("maker", "mode", "flags", "number"),
    [
        ("", None, 0xE0, 2),
        ("", BootMode.BIOS, 0xC0, 2),
        ("Supermicro", BootMode.UEFI, 0xE0, 9),
        ("Supermicro", BootMode.BIOS, 0xC0, 2),
    ],
)
async def test_boot_flags(
    fleet: Fleet, tmp_path: Path, maker: str, mode: BootMode | None, flags: int, number: int
) -> None:
    """The mode goes with the device; what nobody knows is UEFI. Supermicro's UEFI disk has a number of its own."""
    fleet.bmc("sim-0000").faults.put({"maker": maker})
    context = DriverContext(SystemClock(), run_dir=tmp_path)
    management = IpmiManagement(context)
    access = access_of(fleet)
    try:
        await management.set_boot_device(access, BootDevice.DISK, True, mode)
        lan = context.shared(IpmiLan, lambda: IpmiLan(context))
        told = await lan.ask(access, 0x00, 0x09, bytes([5, 0, 0]))
        assert (told[2], told[3] >> 2) == (flags, number)
        choice = await management.get_boot_device(access)
        assert (choice.device, choice.persistent) == (BootDevice.DISK, True)
    finally:
        await context.aclose()


@pytest.mark.anyio
@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="ipmitool is not installed")
async def test_ipmitool_is_told_the_suite_of_the_silent(fleet: Fleet, tmp_path: Path) -> None:
    """Sensors may be what is asked first."""
    fleet.bmc("sim-0000").faults.put({"ipmi_silent_17": -1})
    context = DriverContext(SystemClock(), run_dir=tmp_path)
    try:
        found = await IpmiManagement(context).sensors(access_of(fleet))
        assert "Fan1" in {sensor.name for sensor in found}
    finally:
        await context.aclose()
