"""Controllers that answer with anything: documents of a whole machine, damaged at random, and packets of noise.

`python -m tests.drivers.noise --count 1000000` gives so many damaged documents and as many packets to the drivers and
says what they broke on: anything that is not a driver's fault, and work without end. `test_noise.py` does a little.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ingot.drivers.faults import DriverFault
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.base import EventSource
from ingot.drivers.machine.ipmi import packets
from ingot.drivers.machine.ipmi.lan import Ask, IpmiLan
from ingot.drivers.machine.redfish.client import (
    RedfishClient,
    Reply,
    ResourceMissing,
    Service,
    fault_of,
)
from ingot.drivers.machine.types import (
    Access,
    BootDevice,
    BootMode,
    MediaDevice,
    PowerTarget,
)
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions

#: More documents than these for one operation is work without end.
MOST_ASKED = 3000
ROOT = "/redfish/v1/"
DEEP: Any = 1
for _ in range(60):
    DEEP = {"Members": [DEEP]}
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    3.5,
    1e308,
    -1e308,
    2**63,
    2**64 - 1,
    "",
    " ",
    "x" * 3000,
    "\x1b[2J\x00",
    "\u202e\u2028",
    "２٣²",
    "-",
    "1e999",
    "0x",
    [],
    {},
    [None],
    [[]],
    [{}] * 300,
    {"@odata.id": None},
    {"@odata.id": ""},
    {"@odata.id": "/redfish/v1/Systems"},
    {"@odata.id": "//127.0.0.1:1/x"},
    [{"@odata.id": "/redfish/v1/Systems/1"}] * 3,
    "/redfish/v1/Systems",
    "http://[",
    "On",
    "Enabled",
    DEEP,
)
NOWHERE = Service("http://noise", "/redfish/v1", "u", "p", False, "none")


class SkippingClock(SystemClock):
    """Time of which nobody waits for."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        self._skipped += max(seconds, 0.0)
        await asyncio.sleep(0)


def damaged(value: Any, rng: random.Random) -> Any:
    """`value` with one to four of its places changed, gone or moved."""
    value = msgspec.json.decode(msgspec.json.encode(value))
    for _ in range(rng.randint(1, 4)):
        holder = value
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = rng.choice(keys)
            inner = holder[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.75:
                holder = inner
                continue
            if rng.random() < 0.15:
                del holder[key]
            else:
                holder[key] = rng.choice(ODD)
            break
    return value if isinstance(value, dict) else {}


class NoisyClient(RedfishClient):
    """Answers from a tree, mostly damaged, with any status."""

    def __init__(self, context: DriverContext, tree: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(context)
        self._tree, self._rng = tree, rng
        self._paths = list(tree)
        self.asked = self.served = 0

    async def call(
        self,
        access: Access,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        self.asked += 1
        if self.asked > MOST_ASKED:
            raise RuntimeError(f"more than {MOST_ASKED} questions for one operation")
        rng = self._rng
        chance = rng.random()
        found = self._tree.get(path.partition("?")[0].rstrip("/") or ROOT.rstrip("/"))
        if found is None and chance < 0.5:
            raise ResourceMissing("404")
        document = found if found is not None else self._tree[rng.choice(self._paths)]
        if chance > 0.3:
            document = damaged(document, rng)
            self.served += 1
        if chance > 0.97:
            status = rng.choice((400, 401, 403, 404, 405, 406, 409, 412, 422, 500, 501, 503))
            told = {"retry-after": str(rng.choice(ODD))}
            raise fault_of(NOWHERE, method, path, Reply(status, told, document))
        if method == "GET":
            return Reply(200, {"etag": str(rng.choice(ODD))[:50]}, document)
        place = {"location": str(rng.choice((*self._paths, *ODD)))[:4000]}
        return Reply(rng.choice((200, 202, 204)), place, document)


def operations(registry: Registry, driver: str, access: Access) -> list[Callable[[], Any]]:
    """What a cloud asks of a machine."""
    power, management = registry.power(driver), registry.management(driver)
    acts: list[Callable[[], Any]] = [
        lambda: power.get(access),
        lambda: power.set(access, PowerTarget.REBOOT, 5),
        lambda: management.get_boot_device(access),
        lambda: management.set_boot_device(access, BootDevice.PXE, True, BootMode.UEFI),
        lambda: management.set_boot_device(access, BootDevice.DISK),
        lambda: management.set_boot_mode(access, BootMode.BIOS),
        lambda: management.identity(access),
        lambda: management.health(access),
    ]
    if driver == "ipmi":
        return acts
    acts += [
        lambda: management.sensors(access),
        lambda: management.get_secure_boot(access),
        lambda: management.set_secure_boot(access, True),
        lambda: management.indicators(access),
        lambda: management.media(access),
        lambda: management.attach_media(access, MediaDevice.CDROM, "http://127.0.0.1/x.iso"),
        lambda: management.detach_media(access),
        lambda: registry.inspect(driver, "redfish").inspect(access),
        lambda: registry.bios(driver, "redfish").settings(access),
        lambda: registry.bios(driver, "redfish").run(
            access, "apply_configuration", {"settings": [{"name": "a", "value": "b"}]}
        ),
        lambda: registry.firmware(driver, "redfish").components(access),
        lambda: registry.raid(driver, "redfish").run(access, "delete_configuration", {}),
        lambda: registry.raid(driver, "redfish").run(
            access,
            "create_configuration",
            {"target_raid_config": {"logical_disks": [{"size_gb": 10, "raid_level": "1"}]}},
        ),
    ]
    if isinstance(management, EventSource):
        acts.append(lambda: management.subscribe(access, "http://h/x", "ctx", "owner"))
    return acts


async def tree_of_a_machine() -> dict[str, Any]:
    """All documents of a simulated machine, by path."""
    options = FleetOptions(count=1, speed=50, protocols=("redfish",), manners=("plain",))
    found: dict[str, Any] = {}
    async with Fleet(options) as fleet:
        info = fleet.enrolment("sim-0000")["nodes"][0]["driver_info"]
        access = Access("redfish", info)
        context = DriverContext(SystemClock())
        client = RedfishClient(context)
        left = ["/redfish/v1"]
        while left:
            path = left.pop()
            if path in found:
                continue
            try:
                found[path] = (await client.get(access, path)).body
            except DriverFault:
                continue
            left += list(_links(found[path]))
        await context.aclose()
    return found


def _links(value: Any) -> set[str]:
    if isinstance(value, list):
        return {link for part in value for link in _links(part)}
    if not isinstance(value, dict):
        return {value.partition("#")[0].rstrip("/")} if _is_path(value) else set()
    return {link for part in value.values() for link in _links(part)}


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/redfish/v1/")


class Tally:
    """What broke, each kind with one example."""

    def __init__(self) -> None:
        self.inputs = 0
        self.faults: Counter[str] = Counter()
        self.broken: dict[str, str] = {}

    async def run(self, act: Callable[[], Awaitable[Any]]) -> None:
        try:
            await act()
            self.faults["ok"] += 1
        except DriverFault as fault:
            self.faults[type(fault).__name__] += 1
            assert len(fault.cause) <= 600 and "\x1b" not in fault.sentence()
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {last.filename}:{last.lineno}: {str(error)[:100]}"
            self.broken.setdefault(key, traceback.format_exc())


async def redfish(count: int, seed: int, tally: Tally) -> None:
    """So many damaged documents, over all operations."""
    tree = await tree_of_a_machine()
    rng = random.Random(seed)
    while tally.inputs < count:
        context = DriverContext(SkippingClock())
        client = context.shared(NoisyClient, lambda c=context: NoisyClient(c, tree, rng))
        context.shared(RedfishClient, lambda c=client: c)
        registry = build_registry(context)
        access = Access("redfish", {"redfish_address": "http://noise"}, "n")
        for act in operations(registry, "redfish", access):
            client.asked = 0
            await tally.run(act)
        tally.inputs += client.served
        await context.aclose()


class NoisyLan(IpmiLan):
    """Answers every command with any octets."""

    def __init__(self, context: DriverContext, rng: random.Random) -> None:
        super().__init__(context)
        self._rng = rng
        self.served = 0

    async def talk(self, access: Access, conversation: Callable[[Ask], Awaitable[Any]]) -> Any:
        async def ask(netfn: int, command: int, data: bytes) -> bytes:
            self.served += 1
            if self.served % 5000 == 0:
                raise RuntimeError("5000 questions for one operation")
            return self._rng.randbytes(self._rng.choice((0, 1, 2, 3, 4, 5, 8, 12, 16, 64, 255)))

        return await conversation(ask)


async def ipmi(count: int, seed: int, tally: Tally) -> None:
    """So many packets and answers."""
    rng = random.Random(seed)
    start = tally.inputs
    keys = packets.make_keys(packets.SUITES["17"], packets.padded(b"secret"), b"exchanged")
    while tally.inputs - start < count // 2:
        await tally.run(lambda: _packet(rng, keys))
        tally.inputs += 1
    while tally.inputs - start < count:
        context = DriverContext(SkippingClock())
        lan = context.shared(NoisyLan, lambda c=context: NoisyLan(c, rng))
        context.shared(IpmiLan, lambda made=lan: made)
        registry = build_registry(context)
        access = Access("ipmi", {"ipmi_address": "127.0.0.1"}, "n")
        for act in operations(registry, "ipmi", access):
            before = lan.served
            await tally.run(act)
            tally.inputs += lan.served - before
            lan.served = 0
        await context.aclose()


async def _packet(rng: random.Random, keys: packets.Keys) -> None:
    """A packet that a controller could send: noise, a true one damaged, noise sealed with the right keys."""
    noise = rng.randbytes(rng.randint(0, 120))
    known: packets.Keys | None = keys
    match rng.randint(0, 3):
        case 0:
            data = noise
        case 1:
            data, known = packets.plain(rng.choice((0x11, 0x13, 0x15)), noise), None
        case 2:
            data = packets.sealed(keys, 1, 1, noise)
        case _:
            whole = bytearray(packets.sealed(keys, 1, 1, noise))
            whole[rng.randrange(len(whole))] ^= 1 << rng.randint(0, 7)
            data = bytes(whole[: rng.randint(0, len(whole))])
    try:
        packets.answer(packets.opened(data, known).payload)
    except packets.BadPacket:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = 0
    for name, run in (("redfish", redfish), ("ipmi", ipmi)):
        tally, began = Tally(), time.monotonic()
        asyncio.run(run(given.count, given.seed, tally))
        took = time.monotonic() - began
        print(f"{name}: {tally.inputs} inputs in {took:.0f} s, {dict(tally.faults)}")
        for text in tally.broken.values():
            print(text)
        wrong += len(tally.broken)
    print(f"{wrong} kinds of unexpected errors")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
