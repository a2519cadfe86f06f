"""What each tree lets us do: one function for an operation, which gives "ok" or "unsupported", or fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine import DriverContext, build_registry
from ingot.drivers.machine.base import StepRunner
from ingot.drivers.machine.testing import Bench, check_power, check_reboot
from ingot.drivers.machine.types import (
    Access,
    BootDevice,
    BootMode,
    Identity,
    IndicatorState,
    MediaDevice,
    PowerTarget,
    StepOutcome,
)
from ingot.kit.tasks.clock import SystemClock
from tests.trees.build import OPERATIONS, Tree
from tests.trees.server import PASSWORD, TreeServer

GOOD, HONEST, UNKNOWN = "ok", "unsupported", "not captured"


class Hurried(SystemClock):
    """Pauses of drivers pass at once."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.005))


@dataclass
class Run:
    """One tree, served, and the drivers that work on it."""

    tree: Tree
    server: TreeServer
    bench: Bench

    @property
    def access(self) -> Access:
        return self.bench.access

    async def end(self, hand: StepRunner, step: str, args: Mapping[str, object]) -> StepOutcome:
        """Carry a step to its end as the workflow does, restarting the machine where it wants that."""
        outcome = await hand.run(self.access, step, args)
        for _ in range(100):
            if outcome.done:
                return outcome
            if outcome.restart:
                await self.bench.power.set(self.access, PowerTarget.OFF, 60)
                await self.bench.power.set(self.access, PowerTarget.ON, 60)
            outcome = await hand.resume(self.access, step, args, outcome.memo)
        raise AssertionError(f"{step} does not end: {outcome}")


@asynccontextmanager
async def running(tree: Tree, seed: int = 1) -> AsyncIterator[Run]:
    registry = build_registry(DriverContext(Hurried()))
    async with TreeServer(tree, seed) as server:
        bench = Bench(
            registry=registry,
            driver="redfish",
            driver_info=server.driver_info(),
            wrong_password={"redfish_password": "wr0ng-one"},
            dead={"redfish_address": "http://127.0.0.1:9"},
            secrets=(PASSWORD,),
            cycles=server.cycles,
            identity=Identity(uuid=tree.uuid, serial=tree.serial),
        )
        yield Run(tree, server, bench)
        await registry.aclose()


async def row(make: Callable[[], Tree]) -> dict[str, str]:
    """Operation -> what came of it, each on a tree of its own."""
    found: dict[str, str] = {}
    for name in OPERATIONS:
        tree = make()
        if name in tree.absent:
            found[name] = UNKNOWN
            continue
        async with running(tree) as run:
            try:
                found[name] = await _DO[name](run)
            except Unsupported as fault:
                assert fault.text and fault.next_action, f"{tree.name}: {name}: says nothing"
                found[name] = HONEST
            except Exception as error:
                raise AssertionError(f"{tree.name}: {name}: {error!r}") from error
    return found


async def _verify(run: Run) -> str:
    told = await run.bench.management.identity(run.access)
    assert (told.uuid, told.serial) == (run.tree.uuid, run.tree.serial)
    return GOOD


async def _power(run: Run) -> str:
    await check_power(run.bench)
    await check_reboot(run.bench)
    return GOOD


async def _once(run: Run) -> str:
    await run.bench.management.set_boot_device(run.access, BootDevice.PXE, False)
    found = await run.bench.management.get_boot_device(run.access)
    assert found.device is BootDevice.PXE and found.persistent is False, found
    assert run.server.system["Boot"]["BootSourceOverrideEnabled"] == "Once"
    return GOOD


async def _for_ever(run: Run) -> str:
    """A service that can only do it once says so when it is read back."""
    await run.bench.management.set_boot_device(run.access, BootDevice.DISK, True)
    found = await run.bench.management.get_boot_device(run.access)
    assert found.device is BootDevice.DISK, found
    return GOOD if found.persistent else HONEST


async def _mode(run: Run) -> str:
    management = run.bench.management
    before = await management.get_boot_mode(run.access)
    if before is None:
        return HONEST
    other = BootMode.BIOS if before is BootMode.UEFI else BootMode.UEFI
    for mode in (other, before):
        await management.set_boot_mode(run.access, mode)
        assert await management.get_boot_mode(run.access) is mode
    return GOOD


async def _inspect(run: Run) -> str:
    data: Any = await run.bench.registry.inspect("redfish", "redfish").inspect(run.access)
    inventory, wanted = data["inventory"], run.tree.wanted
    assert inventory["cpu"]["count"] == wanted.cpus, inventory["cpu"]
    told = inventory.get("memory")
    assert (told["physical_mb"] >> 10 if told else None) == wanted.memory_gib, told
    assert inventory["boot"].get("current_boot_mode") == wanted.mode, inventory["boot"]
    cards = {one["mac_address"][-2:]: one["enabled"] for one in inventory["interfaces"]}
    assert {last for last, on in cards.items() if on} == set(wanted.ports), cards
    assert {last for last, on in cards.items() if not on} == set(wanted.disabled), cards
    assert len(inventory["disks"]) == wanted.disks, inventory["disks"]
    return GOOD


async def _bios(run: Run) -> str:
    hand = run.bench.registry.bios("redfish")
    settings = await hand.settings(run.access)
    typed = [one for one in settings if one.attribute_type]
    assert len(typed) == run.tree.wanted.typed_settings, settings
    wanted = [{"name": "BootTime", "value": "Full"}, {"name": "NumberOfCores", "value": "8"}]
    await run.end(hand, "apply_configuration", {"settings": wanted})
    now = {one.name: one.value for one in await hand.settings(run.access)}
    assert now == {"BootTime": "Full", "NumberOfCores": "8"}
    return GOOD


async def _firmware(run: Run) -> str:
    hand = run.bench.registry.firmware("redfish")
    parts = [one.component for one in await hand.components(run.access)]
    for component in parts:
        update = {"component": component, "url": "http://10.0.0.1/image.bin"}
        await run.end(hand, "update", {"settings": [update]})
        order = run.server.updates[-1]
        assert order["ImageURI"] == update["url"]
        assert bool(order.get("Targets")) == component.startswith("nic:"), (component, order)
    assert len(run.server.updates) == len(parts)
    return GOOD


async def _raid(run: Run) -> str:
    hand = run.bench.registry.raid("redfish")
    config = {"logical_disks": [{"raid_level": "1", "size_gb": 50, "volume_name": "new"}]}
    made = await run.end(hand, "create_configuration", {"raid_config": config})
    told: Any = (made.raid_config or {})["logical_disks"]
    assert all(one["raid_level"] for one in told), told
    assert [one["raid_level"] for one in told if one["name"] == "new"] == ["1"]
    gone = await run.end(hand, "delete_configuration", {})
    assert gone.raid_config == {"logical_disks": []}
    return GOOD


async def _media(run: Run) -> str:
    hand = run.bench.management
    if not await hand.media(run.access):
        return HONEST
    await hand.attach_media(run.access, MediaDevice.CDROM, "http://10.0.0.1/a.iso")
    assert [one.image for one in await hand.media(run.access) if one.inserted] == [
        "http://10.0.0.1/a.iso"
    ]
    await hand.detach_media(run.access)
    assert not [one for one in await hand.media(run.access) if one.inserted]
    return GOOD


async def _sensors(run: Run) -> str:
    found = await run.bench.management.sensors(run.access)
    assert len(found) == run.tree.wanted.sensors, len(found)
    assert all(one.name for one in found) and any(one.kind == "temperature" for one in found)
    return GOOD


async def _lights(run: Run) -> str:
    hand = run.bench.management
    lights = await hand.indicators(run.access)
    for component, several in lights.items():
        for light in several:
            for state in (IndicatorState.ON, IndicatorState.OFF):
                await hand.set_indicator(run.access, component, light.name, state)
                assert await hand.get_indicator(run.access, component, light.name) is state
    return GOOD if lights else HONEST


async def _events(run: Run) -> str:
    hand = run.bench.registry.vendor("redfish")
    body = {"Destination": "https://10.0.0.1/events"}
    made: Any = await hand.call(run.access, "create_subscription", "POST", body)
    listed: Any = await hand.call(run.access, "get_all_subscriptions", "GET", {})
    assert listed["Members@odata.count"] == 1
    await hand.call(run.access, "delete_subscription", "DELETE", {"id": made["Id"]})
    return GOOD


_DO: dict[str, Callable[[Run], Awaitable[str]]] = {
    "verify": _verify,
    "power": _power,
    "boot once": _once,
    "boot for ever": _for_ever,
    "boot mode": _mode,
    "inspect": _inspect,
    "BIOS": _bios,
    "firmware": _firmware,
    "RAID": _raid,
    "media": _media,
    "sensors": _sensors,
    "lights": _lights,
    "events": _events,
}
