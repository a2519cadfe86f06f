"""Pure choices: ports for VIFs, identities, and the gate's pace and breaker in virtual time."""

import asyncio

import pytest

from ingot.drivers.faults import Busy, Refused, Unreachable
from ingot.drivers.machine.flat.network import choose_port
from ingot.drivers.machine.identity import canonical_uuid, compare
from ingot.drivers.machine.types import Identity, PortFacts, VifFacts
from ingot.drivers.pace import FAILURES_TO_OPEN, Gates
from ingot.kit.tasks.clock import VirtualClock


def port(name: str, **facts: object) -> PortFacts:
    return PortFacts(name, f"02:00:00:00:00:{name}", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ports", "vif", "chosen"),
    [
        ([port("1"), port("2", physical_network="p")], VifFacts("v"), "2"),
        ([port("1", pxe_enabled=False), port("2")], VifFacts("v"), "2"),
        ([port("1", vif="other"), port("2", pxe_enabled=False)], VifFacts("v"), "2"),
        ([port("1"), port("2", vif="v")], VifFacts("v"), "2"),
        (
            [port("1", physical_network="a"), port("2", physical_network="b")],
            VifFacts("v", frozenset({"b"})),
            "2",
        ),
        (
            [port("1"), port("g", kind="portgroup"), port("2", portgroup_id="g")],
            VifFacts("v"),
            "g",
        ),
        ([port("1"), port("2")], VifFacts("v", port_id="2"), "2"),
        ([port("1"), port("g", kind="portgroup")], VifFacts("v"), "1"),
    ],
)
def test_choose_port(ports: list[PortFacts], vif: VifFacts, chosen: str) -> None:
    assert choose_port(ports, vif).id == chosen


@pytest.mark.parametrize(
    ("ports", "vif", "words"),
    [
        ([], VifFacts("v"), "no free port"),
        ([port("1", vif="w")], VifFacts("v"), "no free port"),
        ([port("1", physical_network="a")], VifFacts("v", frozenset({"b"})), "network b"),
        ([port("1", vif="w")], VifFacts("v", port_id="1"), "already carries"),
        ([port("1")], VifFacts("v", port_id="9"), "has no port 9"),
        (
            [port("1", portgroup_id="g"), port("g", kind="portgroup", vif="w")],
            VifFacts("v"),
            "no free port",
        ),
    ],
)
def test_no_port(ports: list[PortFacts], vif: VifFacts, words: str) -> None:
    with pytest.raises(Refused, match=words):
        choose_port(ports, vif)


@pytest.mark.parametrize(
    ("controller", "host", "verdict"),
    [
        (Identity(), Identity(uuid="1"), "unknown"),
        (Identity(serial="ABC"), Identity(serial=" abc"), "same"),
        (Identity(serial="ABC"), Identity(serial="ABD"), "different"),
        (Identity(serial="To Be Filled By O.E.M."), Identity(serial="X"), "unknown"),
        (Identity(serial="0000000"), Identity(serial="X"), "unknown"),
        (Identity(macs=("02:00:00:00:00:01",)), Identity(macs=("02:00:00:00:00:0A",)), "different"),
        (Identity(macs=("0A:00:00:00:00:01", "b")), Identity(macs=("0a:00:00:00:00:01",)), "same"),
        (
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435432", serial="S1"),
            Identity(uuid="44454c4c-4600-1033-8050-b7c04f435432", serial="S1"),
            "same",
        ),
        (
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435432", serial="S1"),
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435433", serial="S1"),
            "different",
        ),
        (
            Identity(uuid="ffffffff-ffff-ffff-ffff-ffffffffffff"),
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435433"),
            "unknown",
        ),
        (
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435433", macs=("02:00:00:00:00:01",)),
            Identity(uuid="4c4c4544-0046-3310-8050-b7c04f435433", macs=("02:00:00:00:00:02",)),
            "same",
        ),
    ],
)
def test_compare(controller: Identity, host: Identity, verdict: str) -> None:
    judged = compare(controller, host)
    assert judged.verdict == verdict and judged.evidence


def test_canonical_uuid() -> None:
    assert canonical_uuid("4C4C45440046331080" + "50B7C04F435433") == (
        "4c4c4544-0046-3310-8050-b7c04f435433"
    )
    assert canonical_uuid("00000000-0000-0000-0000-000000000000") == ""
    assert canonical_uuid("not a uuid") == ""


@pytest.mark.anyio
async def test_one_call_at_a_time_per_device_and_devices_do_not_wait_for_each_other() -> None:
    gates = Gates(VirtualClock())
    running: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0}
    release = asyncio.Event()

    async def call(name: str) -> None:
        running[name] += 1
        most[name] = max(most[name], running[name])
        await release.wait()
        running[name] -= 1

    tasks = [
        asyncio.create_task(gates.gate(name).run(lambda name=name: call(name)))
        for name in ("a", "a", "a", "b")
    ]
    while not (running["a"] and running["b"]):
        await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*tasks)
    assert most == {"a": 1, "b": 1}


@pytest.mark.anyio
async def test_waiting_for_a_turn_has_a_deadline() -> None:
    gate = Gates(VirtualClock()).gate("a")
    stop = asyncio.Event()
    first = asyncio.create_task(gate.run(stop.wait))
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="still in flight"):
        await gate.run(stop.wait, wait=0.05)
    stop.set()
    await first


async def dead() -> None:
    raise Unreachable("no answer in time")


async def fine() -> str:
    return "fine"


@pytest.mark.anyio
async def test_breaker_opens_and_lets_one_call_try_later() -> None:
    clock = VirtualClock()
    gate = Gates(clock).gate("bmc")
    for _ in range(FAILURES_TO_OPEN):
        await run_in_virtual_time(clock, gate.run(dead), Unreachable)
    assert gate.is_open
    with pytest.raises(Unreachable, match="last words: no answer in time") as caught:
        await gate.run(fine)
    assert caught.value.retry_after == pytest.approx(10)
    clock.advance(11)
    await run_in_virtual_time(clock, gate.run(dead), Unreachable)
    with pytest.raises(Unreachable) as caught:
        await gate.run(fine)
    assert caught.value.retry_after == pytest.approx(20), "longer after a failed try"
    clock.advance(21)
    assert await gate.run(fine) == "fine"
    assert not gate.is_open


@pytest.mark.anyio
async def test_pace_slows_after_trouble_and_recovers() -> None:
    clock = VirtualClock()
    gate = Gates(clock).gate("bmc")

    async def busy() -> None:
        raise Busy("later")

    for _ in range(3):
        await run_in_virtual_time(clock, gate.run(busy), Busy)
    waited = []
    for _ in range(4):
        before = clock.monotonic()
        await run_in_virtual_time(clock, gate.run(fine))
        waited.append(clock.monotonic() - before)
    assert waited[0] == 1.0 and waited == sorted(waited, reverse=True) and waited[-1] == 0


async def run_in_virtual_time(
    clock: VirtualClock, call: object, fault: type[Exception] | None = None
) -> None:
    task = asyncio.ensure_future(call)  # type: ignore[arg-type]
    while not task.done():
        await asyncio.sleep(0)
        pause = clock.next_wake()
        if pause is not None:
            clock.advance(pause)
    if fault is None:
        await task
    else:
        with pytest.raises(fault):
            await task
