"""Hosts that come, go, move and come back: what the folder holds, and whom a real dnsmasq answers then."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from ingot.agents.dhcp.dnsmasq import Dnsmasq
from ingot.agents.dhcp.dnsmasq.hosts import HostFiles
from ingot.agents.dhcp.plans import DhcpChange, DhcpHost

from .test_dnsmasq import ONE, TWO, dnsmasq, events, plan
from .wire import Machine

__all__ = ["dnsmasq", "events"]

pytestmark = pytest.mark.anyio


def host(mac: str, last: int) -> DhcpHost:
    return DhcpHost(mac, f"192.0.2.{last}")


def held(files: HostFiles) -> list[str]:
    texts = (path.read_text().strip() for path in files.folder.iterdir())
    return sorted(text for text in texts if text)


def test_who_goes_is_ignored_by_a_file_that_lasts_until_it_is_read(tmp_path: Path) -> None:
    files = HostFiles(tmp_path / "hosts")
    files.become([host(ONE, 11), host(TWO, 12)])
    change = files.change([], [host(ONE, 11)])
    assert held(files) == [f"{ONE},ignore", f"{TWO},192.0.2.12"]
    assert change.gone == [host(ONE, 11)] and not change.refused and not change.moved
    files.was_read(change)
    assert held(files) == [f"{TWO},192.0.2.12"] and len(list(files.folder.iterdir())) == 1


def test_a_machine_never_has_a_host_and_a_headstone(tmp_path: Path) -> None:
    files = HostFiles(tmp_path / "hosts")
    files.become([host(ONE, 11)])
    first = files.change([], [host(ONE, 11)])
    files.change([host(ONE, 21)], [])
    assert held(files) == [f"{ONE},192.0.2.21"]
    second = files.change([], [host(ONE, 21)])
    # What was read of the first says nothing of the second.
    files.was_read(first)
    assert held(files) == [f"{ONE},ignore"]
    files.was_read(second)
    assert held(files) == []


def test_only_an_address_that_is_given_again_waits_for_all_to_be_read(tmp_path: Path) -> None:
    files = HostFiles(tmp_path / "hosts")
    files.become([host(ONE, 11)])
    moved = files.change([host(ONE, 12)], [host(ONE, 11)])
    assert moved.moved and not moved.refused and not moved.tombstones
    again = files.change([host(TWO, 11)], [])
    assert [Path(path).name for path in again.refused] == [f"{TWO.replace(':', '-')}_192.0.2.11"]
    assert files.forget() == set(again.refused)
    assert files.forget() == set() and files.dead == 0
    assert not files.change([host(ONE, 13)], [host(ONE, 12)]).refused


def test_leftovers_of_an_earlier_life_go(tmp_path: Path) -> None:
    folder = tmp_path / "hosts"
    folder.mkdir()
    (folder / "old").write_text(f"{ONE},192.0.2.11\n")
    files = HostFiles(folder)
    files.become([host(TWO, 12)])
    assert held(files) == [f"{TWO},192.0.2.12"]


def test_a_folder_that_became_empty_keeps_what_is_still_to_be_read(tmp_path: Path) -> None:
    files = HostFiles(tmp_path / "hosts")
    files.become([host(ONE, 11)])
    files.become([])
    files.become([host(TWO, 12)])
    assert held(files) == [f"{ONE},ignore", f"{TWO},192.0.2.12"]


async def test_many_go_without_waiting_for_a_signal(dnsmasq: Dnsmasq, machine: Machine) -> None:
    await dnsmasq.apply(plan(1, **{f"m{at:02}": f"192.0.2.{at}" for at in range(11, 31)}))
    # Right after a signal: another one would have to rest.
    await dnsmasq.apply(plan(2, **{f"m{at:02}": f"192.0.2.{at + 1}" for at in range(11, 31)}))
    began = time.perf_counter()
    for at in range(11, 31):
        gone = (host(f"52:54:00:00:00:{at}", at + 1),)
        assert await dnsmasq.amend(DhcpChange("wire", at - 9, at - 8, gone=gone)) == at - 8
    assert time.perf_counter() - began < 0.9
    for at in (11, 20, 30):
        assert await machine.ask(1, f"52:54:00:00:00:{at}", wait=0.3) is None


async def test_who_comes_back_has_its_address_again(dnsmasq: Dnsmasq, machine: Machine) -> None:
    await dnsmasq.apply(plan(1, m01="192.0.2.11"))
    assert await machine.lease(ONE)
    await dnsmasq.amend(DhcpChange("wire", 1, 2, gone=(host(ONE, 11),)))
    assert await machine.ask(1, ONE) is None
    await dnsmasq.amend(DhcpChange("wire", 2, 3, put=(host(ONE, 11),)))
    back = await machine.lease(ONE)
    assert back is not None and (back.kind, back.ip) == (5, "192.0.2.11")


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_the_last_word_counts(
    dnsmasq: Dnsmasq, machine: Machine, seed: int
) -> None:
    """Changes come while earlier ones are on their way, and signals among them."""
    dice = random.Random(seed)
    macs = [f"52:54:00:00:00:{at:02}" for at in range(1, 5)]
    now: dict[str, int] = {}
    await dnsmasq.apply(plan(1))
    changes: list[asyncio.Task[int | None]] = []
    for generation in range(2, 62):
        mac = dice.choice(macs)
        old = now.pop(mac, None)
        free = [last for last in range(11, 17) if last not in now.values()]
        if old is None or dice.random() < 0.5:
            now[mac] = dice.choice(free)
        change = DhcpChange(
            "wire",
            generation - 1,
            generation,
            put=(host(mac, now[mac]),) if mac in now else (),
            gone=(host(mac, old),) if old is not None and old != now.get(mac) else (),
        )
        changes.append(asyncio.create_task(dnsmasq.amend(change)))
        await asyncio.sleep(dice.choice((0, 0, 0.002, 0.05)))
    assert None not in await asyncio.gather(*changes)
    for mac in macs:
        answer = await machine.lease(mac)
        found = None if answer is None else (answer.kind, answer.ip)
        assert found == ((5, f"192.0.2.{now[mac]}") if mac in now else None), mac
