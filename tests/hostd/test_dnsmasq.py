"""dnsmasq for real: on a wire of two namespaces, asked by a machine octet by octet and by busybox's client."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.agents.dhcp.plans import DhcpBoot, DhcpHost, DhcpPlan, DhcpRange
from ingot.kit.faults import Failed
from ingot.kit.tasks.clock import SystemClock

from .wire import SERVER_IP, Machine, Wire

pytestmark = pytest.mark.anyio

ONE, TWO, THREE = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
ARCH = 93
EFI_X64, BIOS, HTTP_X64 = b"\0\x07", b"\0\0", b"\0\x10"


def plan(generation: int, **hosts: str) -> DhcpPlan:
    """A plan; hosts by the last octet of their MAC: plan(1, m01="192.0.2.11")."""
    return DhcpPlan(
        name="wire",
        generation=generation,
        interface="srv0",
        listen=SERVER_IP,
        ranges=(DhcpRange("192.0.2.0/24", router="192.0.2.254", dns=("192.0.2.53",), mtu=1400),),
        hosts=tuple(
            DhcpHost(f"52:54:00:00:00:{name[1:]}", ip) for name, ip in sorted(hosts.items())
        ),
        boot=DhcpBoot(
            "http://192.0.2.1:8088/boot.ipxe",
            "http://192.0.2.1:8088/loaders",
            {"bios": "undionly.kpxe", "uefi-x64": "snponly.efi"},
        ),
    )


Events = list[tuple[str | None, str, str]]


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture
async def dnsmasq(wire: Wire, tmp_path: Path, events: Events) -> AsyncIterator[Dnsmasq]:
    made = Dnsmasq(
        tmp_path, SystemClock(), lambda mac, what, text: events.append((mac, what, text))
    )
    yield made
    await made.close()


def _same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


async def until(true: Callable[[], bool], what: str, deadline: float = 10) -> None:
    end = time.monotonic() + deadline
    while not true():
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        await asyncio.sleep(0.01)


async def test_only_known_machines_are_answered(
    dnsmasq: Dnsmasq, machine: Machine, events: Events
) -> None:
    assert await dnsmasq.apply(plan(3, m01="192.0.2.11")) == 3
    ack = await machine.lease(ONE)
    assert ack is not None and ack.kind == 5
    assert ack.ip == "192.0.2.11"
    assert ack.options[3] == bytes([192, 0, 2, 254])
    assert ack.options[6] == bytes([192, 0, 2, 53])
    assert int.from_bytes(ack.options[26], "big") == 1400
    assert await machine.ask(1, TWO) is None
    heard = [(mac, what) for mac, what, _ in events]
    for what in ("discover", "offer", "request", "ack"):
        assert (ONE, what) in heard
    assert (TWO, "ignored") in heard
    status = dnsmasq.status()[0]
    assert status.generation == 3 and status.pid and status.fault is None


async def test_a_new_machine_is_answered_at_once_and_a_gone_one_never(
    dnsmasq: Dnsmasq, machine: Machine
) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    pid = dnsmasq.status()[0].pid
    began = time.perf_counter()
    assert await dnsmasq.apply(plan(2, m01="192.0.2.11", m02="192.0.2.12")) == 2
    took = time.perf_counter() - began
    answer = await machine.lease(TWO)
    assert answer is not None and answer.ip == "192.0.2.12"
    assert took < 0.25, f"{took * 1000:.0f} ms"
    await dnsmasq.apply(plan(3, m01="192.0.2.11"))
    assert await machine.ask(1, TWO) is None
    assert await machine.ask(1, ONE) is not None
    assert dnsmasq.status()[0].pid == pid


async def test_an_address_moves_to_another_machine(dnsmasq: Dnsmasq, machine: Machine) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    assert await machine.lease(ONE)
    await dnsmasq.apply(plan(2, m02="192.0.2.11"))
    moved = await machine.lease(TWO)
    assert moved is not None and (moved.kind, moved.ip) == (5, "192.0.2.11")
    # And a machine gets another address, at once.
    await dnsmasq.apply(plan(3, m01="192.0.2.11", m02="192.0.2.77"))
    first, second = await machine.lease(ONE), await machine.lease(TWO)
    assert first is not None and first.ip == "192.0.2.11"
    assert second is not None and second.ip == "192.0.2.77"


async def test_signals_are_merged_and_new_machines_do_not_wait_for_them(
    dnsmasq: Dnsmasq, machine: Machine
) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11", m02="192.0.2.12"))
    await dnsmasq.apply(plan(2, m01="192.0.2.11"))
    slow = asyncio.create_task(dnsmasq.apply(plan(3)))
    await asyncio.sleep(0)
    began = time.perf_counter()
    await dnsmasq.apply(plan(4, m03="192.0.2.13"))
    assert time.perf_counter() - began < 0.5
    assert await machine.ask(1, THREE) is not None
    assert await slow >= 3
    assert await machine.ask(1, ONE) is None
    assert dnsmasq.status()[0].generation == 4


async def test_each_client_is_told_what_it_can_boot(
    dnsmasq: Dnsmasq, machine: Machine, events: Events
) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    pxe = {60: b"PXEClient:Arch:00007:UNDI:003016"}
    bios = await machine.ask(1, ONE, {ARCH: BIOS, **pxe})
    efi = await machine.ask(1, ONE, {ARCH: EFI_X64, **pxe})
    ipxe = await machine.ask(1, ONE, {ARCH: EFI_X64, 175: b"\x01\x01\x01", **pxe})
    by_class = await machine.ask(1, ONE, {ARCH: BIOS, 77: b"iPXE"})
    http = await machine.ask(1, ONE, {ARCH: HTTP_X64, 60: b"HTTPClient:Arch:00016:UNDI:003001"})
    assert bios and (bios.file, bios.next_server) == ("undionly.kpxe", SERVER_IP)
    assert efi and (efi.file, efi.next_server) == ("snponly.efi", SERVER_IP)
    assert ipxe and ipxe.file == "http://192.0.2.1:8088/boot.ipxe"
    assert by_class and by_class.file == "http://192.0.2.1:8088/boot.ipxe"
    assert http and http.file == "http://192.0.2.1:8088/loaders/snponly.efi"
    assert http.options[60] == b"HTTPClient"
    await until(lambda: (ONE, "boot file") in [e[:2] for e in events], "boot file in the events")


async def test_the_loader_comes_by_tftp(
    dnsmasq: Dnsmasq, wire: Wire, events: Events, tmp_path: Path
) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    wire.client_address("192.0.2.11/24")
    got = tmp_path / "got"
    code, text = await wire.run(
        "curl", "-sS", "-m", "10", "-o", str(got), f"tftp://{SERVER_IP}/snponly.efi"
    )
    assert code == 0, text
    assert _same(got, Path("/usr/lib/ipxe/snponly.efi"))
    await until(lambda: (ONE, "sent") in [e[:2] for e in events], "the sent file in the events")
    code, _ = await wire.run("curl", "-sS", "-m", "5", f"tftp://{SERVER_IP}/../dnsmasq.conf")
    assert code != 0
    await until(lambda: (ONE, "not found") in [e[:2] for e in events], "the absent file")


async def test_busybox_gets_its_address(dnsmasq: Dnsmasq, wire: Wire, tmp_path: Path) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    told = await wire.udhcpc(tmp_path, ONE)
    assert told and (told["ip"], told["router"]) == ("192.0.2.11", "192.0.2.254")
    assert await wire.udhcpc(tmp_path, TWO) is None
    # Another client id from the same card (firmware, loader, system) is the same machine.
    again = await wire.udhcpc(tmp_path, ONE, "-x", "0x3d:ff00112233")
    assert again and again["ip"] == "192.0.2.11"


async def test_changed_options_take_effect(dnsmasq: Dnsmasq, machine: Machine) -> None:
    first = plan(1, m01="192.0.2.11")
    await dnsmasq.apply(first)
    assert await machine.lease(ONE)
    range_ = replace(
        first.ranges[0], router=None, dns=(), routes=(("203.0.113.0/24", "192.0.2.9"),)
    )
    await dnsmasq.apply(replace(first, generation=2, ranges=(range_,)))
    ack = await machine.lease(ONE)
    assert ack is not None and ack.ip == "192.0.2.11"
    assert 3 not in ack.options and 6 not in ack.options
    assert ack.options[121] == bytes([24, 203, 0, 113, 192, 0, 2, 9])
    # The same lease asked for again after a restart is confirmed (renewal of a running system).
    renewed = await machine.ask(3, ONE, {50: bytes([192, 0, 2, 11])})
    assert renewed is not None and renewed.kind == 5


async def test_it_is_started_again_when_it_dies(
    dnsmasq: Dnsmasq, machine: Machine, events: Events
) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    pid = dnsmasq.status()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: dnsmasq.status()[0].pid not in (None, pid), "a new process")
    assert await machine.lease(ONE)
    assert dnsmasq.status()[0].restarts == 1
    assert "died" in [what for _, what, _ in events]
    # Plans still take effect.
    await dnsmasq.apply(plan(2, m01="192.0.2.11", m02="192.0.2.12"))
    assert await machine.lease(TWO)


async def test_an_old_plan_changes_nothing(dnsmasq: Dnsmasq, machine: Machine) -> None:
    await dnsmasq.apply(plan(5, m01="192.0.2.11"))
    assert await dnsmasq.apply(plan(4, m02="192.0.2.12")) == 5
    assert await machine.ask(1, TWO) is None


async def test_faults_say_what_to_do(dnsmasq: Dnsmasq, wire: Wire) -> None:
    good = plan(1, m01="192.0.2.11")
    with pytest.raises(Failed, match=r"nothere0 .* does not exist"):
        await dnsmasq.apply(replace(good, interface="nothere0"))
    with pytest.raises(Failed, match=r"does not have the address 192\.0\.2\.9") as caught:
        await dnsmasq.apply(replace(good, generation=2, listen="192.0.2.9"))
    assert "ip address add 192.0.2.9/24 dev srv0" in caught.value.next_action
    with pytest.raises(Failed, match=r"loader nothere\.efi is not installed"):
        loaders = DhcpBoot("http://x", "http://x", {"bios": "nothere.efi"})
        await dnsmasq.apply(replace(good, generation=3, boot=loaders))
    assert dnsmasq.status()[0].fault
    # What was wrong is put right: the next plan serves.
    await dnsmasq.apply(replace(good, generation=4))
    assert dnsmasq.status()[0].fault is None


async def test_another_server_on_the_wire_is_a_clear_fault(
    dnsmasq: Dnsmasq, wire: Wire, tmp_path: Path
) -> None:
    other = Dnsmasq(tmp_path / "other", SystemClock(), lambda *_: None)
    await other.apply(plan(1))
    try:
        with pytest.raises(Failed, match="Port 67 on srv0 is in use"):
            await dnsmasq.apply(plan(1))
    finally:
        await other.close()
    assert await dnsmasq.apply(plan(2)) == 2


_PARENT = """
import asyncio, sys
from pathlib import Path
from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.kit.tasks.clock import SystemClock
from tests.hostd.test_dnsmasq import plan

async def main():
    dnsmasq = Dnsmasq(Path(sys.argv[1]), SystemClock(), lambda *_: None)
    await dnsmasq.apply(plan(1))
    print("PID", dnsmasq.status()[0].pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def _start_and_kill_parent(folder: Path) -> int:
    """A process that runs a server, killed without warning; returns dnsmasq's pid."""
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(folder)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"},
        text=True,
    )
    assert parent.stdout is not None
    pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("PID "))
    assert _runs(pid)
    parent.kill()
    parent.communicate(timeout=10)
    return pid


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


async def test_it_never_outlives_us(wire: Wire, tmp_path: Path) -> None:
    pid = await asyncio.to_thread(_start_and_kill_parent, tmp_path)
    await until(lambda: not _runs(pid), f"dnsmasq {pid} has ended")
