"""RAID, BIOS, firmware, secure boot, lights, events and virtual drives, on the wire of simulated controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.base import StepRunner
from ingot.drivers.machine.types import (
    Access,
    BootMode,
    Component,
    IndicatorState,
    MediaDevice,
    PowerTarget,
    StepOutcome,
)
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.lab.sim.faults import ALWAYS

pytestmark = pytest.mark.anyio

TIB = 960 * 10**9
RAID = {"logical_disks": [{"raid_level": "1", "size_gb": 100, "is_root_volume": True}]}


class Hurried(SystemClock):
    """Pauses of drivers pass at once."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


@dataclass
class Bench:
    registry: Registry
    access: Access
    faults: Any
    board: Any
    restarts: int = 0

    async def end(self, hand: StepRunner, step: str, args: Mapping[str, object]) -> StepOutcome:
        """Carry a step to its end as the workflow does, restarting the machine where it wants that."""
        outcome = await hand.run(self.access, step, args)
        for _ in range(400):
            if outcome.done:
                return outcome
            if outcome.restart:
                self.restarts += 1
                power = self.registry.power("redfish")
                await power.set(self.access, PowerTarget.OFF)
                await power.set(self.access, PowerTarget.ON)
            outcome = await hand.resume(self.access, step, args, outcome.memo)
        raise AssertionError(f"{step} does not end: {outcome}")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Fleet(FleetOptions(count=1, protocols=("redfish",), speed=3000)) as fleet:
        (name,) = fleet.machines
        (node,) = fleet.enrolment()["nodes"]
        registry = build_registry(DriverContext(Hurried()))
        access = registry.access("redfish", node["driver_info"], key="bench")
        yield Bench(registry, access, fleet.machine(name).faults, fleet.bmc(name).board)
        await registry.aclose()


@pytest.fixture
async def image() -> AsyncIterator[str]:
    """Something that a controller can fetch."""

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(4096))

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


# -- RAID ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "restarts"), [("Immediate", 0), ("OnReset", 3), ("", 3), ("sync", 0)]
)
async def test_volumes_are_made_and_deleted(bench: Bench, when: str, restarts: int) -> None:
    bench.faults.volume_apply_time = when
    hand = bench.registry.raid("redfish")
    config = {
        "logical_disks": [
            {"raid_level": "1", "size_gb": 100, "is_root_volume": True, "volume_name": "root"},
            {"raid_level": "5", "size_gb": 500},
        ]
    }
    made = await bench.end(hand, "create_configuration", {"raid_config": config})
    assert made.raid_config is not None
    told = {(d["name"], d["raid_level"], d["size_gb"]) for d in _disks(made)}
    assert ("root", "1", 100) in told and len(told) == 2
    again = await bench.end(hand, "create_configuration", {"raid_config": config})
    assert len(_disks(again)) == 2, "what is there is not made twice"
    gone = await bench.end(hand, "delete_configuration", {})
    assert _disks(gone) == [] and bench.board.volumes == {}
    assert bench.restarts == restarts


async def test_apply_replaces_and_create_keeps(bench: Bench) -> None:
    bench.faults.volume_apply_time = "sync"
    hand = bench.registry.raid("redfish")
    await bench.end(hand, "create_configuration", {"raid_config": RAID})
    other = {"logical_disks": [{"raid_level": "0", "size_gb": 50}]}
    kept = await bench.end(hand, "create_configuration", {"raid_config": other})
    assert [disk["raid_level"] for disk in _disks(kept)] == ["1", "0"]
    left = await bench.end(
        hand, "apply_configuration", {"raid_config": other, "delete_existing": True}
    )
    assert [disk["raid_level"] for disk in _disks(left)] == ["0"]


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        ({"raid_level": "6", "size_gb": 5000}, "not enough free disks"),
        ({"raid_level": "1", "size_gb": 10, "disk_type": "hdd"}, "not enough free disks"),
        ({"raid_level": "1", "size_gb": "MAX"}, "MAX needs physical_disks"),
        ({"raid_level": "2", "size_gb": 10}, "no level 2"),
        ({"raid_level": "1", "size_gb": 10, "controller": "RAID.9"}, "no such RAID controller"),
        (
            {
                "raid_level": "1",
                "size_gb": 10,
                "controller": "RAID.1",
                "physical_disks": ["Disk.Bay.0", "Disk.Bay.77"],
            },
            "no disk Disk.Bay.77",
        ),
    ],
)
async def test_what_cannot_be_made_is_refused_with_its_reason(
    bench: Bench, disk: dict[str, object], words: str
) -> None:
    hand = bench.registry.raid("redfish")
    with pytest.raises(Refused, match=words):
        await hand.run(
            bench.access, "create_configuration", {"raid_config": {"logical_disks": [disk]}}
        )
    assert bench.board.volumes == {} and bench.board.tasks == {}


async def test_named_disks_and_all_of_them(bench: Bench) -> None:
    bench.faults.volume_apply_time = "Immediate"
    disk = {
        "raid_level": "1+0",
        "size_gb": "MAX",
        "controller": "RAID.1",
        "physical_disks": [f"Disk.Bay.{n}" for n in range(2, 6)],
    }
    hand = bench.registry.raid("redfish")
    args = {"raid_config": {"logical_disks": [disk]}}
    (made,) = _disks(await bench.end(hand, "create_configuration", args))
    assert made["size_gb"] == 2 * TIB // 2**30
    (volume,) = bench.board.volumes.values()
    assert volume.drives == ("Disk.Bay.2", "Disk.Bay.3", "Disk.Bay.4", "Disk.Bay.5")


async def test_a_failed_task_is_told_in_the_controllers_words(bench: Bench) -> None:
    bench.faults.tasks_fail = 1
    with pytest.raises(Refused, match="no space left"):
        hand = bench.registry.raid("redfish")
        await bench.end(hand, "create_configuration", {"raid_config": RAID})


async def test_tasks_that_vanish_have_ended(bench: Bench) -> None:
    bench.faults.tasks_vanish = ALWAYS
    hand = bench.registry.raid("redfish")
    made = await bench.end(hand, "create_configuration", {"raid_config": RAID})
    assert len(_disks(made)) == 1


def _disks(outcome: StepOutcome) -> list[dict[str, Any]]:
    assert outcome.raid_config is not None
    found: Any = outcome.raid_config["logical_disks"]
    return found


# -- BIOS ----------------------------------------------------------------------------------------


async def test_settings_are_told_with_their_registry(bench: Bench) -> None:
    found = {s.name: s for s in await bench.registry.bios("redfish").settings(bench.access)}
    assert found["LogicalProc"].allowable_values == ("Enabled", "Disabled")
    assert (found["PowerCapWatts"].value, found["PowerCapWatts"].upper_bound) == ("800", 1200)
    assert found["SystemServiceTag"].read_only is True
    assert found["MemTest"].attribute_type == "Boolean"


async def test_settings_take_force_with_a_start(bench: Bench) -> None:
    bench.faults.bios_needs_apply_time = ALWAYS
    hand = bench.registry.bios("redfish")
    args = {
        "settings": [
            {"name": "LogicalProc", "value": "Disabled"},
            {"name": "PowerCapWatts", "value": "450"},
            {"name": "MemTest", "value": "true"},
        ]
    }
    await bench.end(hand, "apply_configuration", args)
    assert bench.restarts == 1
    assert bench.board.bios["PowerCapWatts"] == 450 and bench.board.bios["MemTest"] is True
    assert (await hand.run(bench.access, "apply_configuration", args)).done, "nothing is left to do"
    await bench.end(hand, "factory_reset", {})
    assert bench.board.bios["LogicalProc"] == "Enabled"


async def test_an_older_order_does_not_win(bench: Bench) -> None:
    hand = bench.registry.bios("redfish")
    bench.board.order_bios({"LogicalProc": "Disabled"})
    args = {"settings": [{"name": "LogicalProc", "value": "Enabled"}]}
    await bench.end(hand, "apply_configuration", args)
    assert bench.board.bios["LogicalProc"] == "Enabled"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LogicalProc", "perhaps", "one of Enabled, Disabled"),
        ("PowerCapWatts", "5000", "at most 1200"),
        ("PowerCapWatts", "many", "a whole number"),
        ("SystemServiceTag", "x", "cannot be changed"),
        ("NoSuchThing", "x", "no setting NoSuchThing"),
    ],
)
async def test_values_that_do_not_fit_never_leave(
    bench: Bench, name: str, value: str, words: str
) -> None:
    hand = bench.registry.bios("redfish")
    args = {"settings": [{"name": name, "value": value}]}
    with pytest.raises(Refused, match=words):
        await hand.run(bench.access, "apply_configuration", args)
    assert bench.board.bios_ordered == {}


async def test_settings_that_are_lost_are_told(bench: Bench) -> None:
    bench.faults.bios_not_applied = 1
    hand = bench.registry.bios("redfish")
    args = {"settings": [{"name": "LogicalProc", "value": "Disabled"}]}
    with pytest.raises(Refused, match="LogicalProc were accepted, but did not change"):
        await bench.end(hand, "apply_configuration", args)


# -- firmware ------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [0, ALWAYS])
async def test_firmware_is_updated_one_part_after_the_other(bench: Bench, early: int) -> None:
    bench.faults.firmware_done_before_start = early
    hand = bench.registry.firmware("redfish")
    assert {c.component: c.current_version for c in await hand.components(bench.access)} == {
        "bios": "2.14.1",
        "bmc": "7.10.30",
    }
    args = {
        "settings": [
            {"component": "bmc", "url": "http://10.0.0.1/bmc-7.20.bin", "wait": 1},
            {"component": "bios", "url": "http://10.0.0.1/bios-2.15.0.bin"},
        ]
    }
    outcome = await bench.end(hand, "update", args)
    assert outcome.note == "bios is 2.15.0"
    assert bench.board.firmware == {"bios": "2.15.0", "bmc": "7.20"}
    assert bench.restarts == 1, "for the BIOS alone"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "list of objects"),
        ([{"component": "disk", "url": "http://a/b"}], "none of bmc"),
        ([{"component": "bios", "url": "ftp://a/b"}], "http or https"),
        ([{"component": "bios", "url": "http://a/nic-1.bin"}], "No package"),
    ],
)
async def test_updates_that_are_refused(
    bench: Bench, settings: list[dict[str, str]], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        hand = bench.registry.firmware("redfish")
        await hand.run(bench.access, "update", {"settings": settings})


# -- the rest ------------------------------------------------------------------------------------


async def test_secure_boot_and_its_keys(bench: Bench) -> None:
    hand = bench.registry.management("redfish")
    assert await hand.get_secure_boot(bench.access) is False
    await hand.set_secure_boot(bench.access, True)
    assert await hand.get_secure_boot(bench.access) is True
    assert isinstance(hand, StepRunner)
    await bench.end(hand, "clear_secure_boot_keys", {})
    assert bench.board.keys == "none"
    await bench.end(hand, "reset_secure_boot_keys_to_default", {})
    assert bench.board.keys == "Default"


async def test_lights_and_nmi(bench: Bench) -> None:
    hand = bench.registry.management("redfish")
    lights = await hand.indicators(bench.access)
    ((component, (light,)),) = lights.items()
    assert component is Component.SYSTEM
    await hand.set_indicator(bench.access, component, light.name, IndicatorState.BLINKING)
    assert bench.board.light == "Blinking"
    found = await hand.get_indicator(bench.access, component, light.name)
    assert found is IndicatorState.BLINKING
    with pytest.raises(Refused, match="no indicator"):
        await hand.get_indicator(bench.access, Component.NIC, "x")
    await hand.inject_nmi(bench.access)


async def test_subscriptions(bench: Bench) -> None:
    hand = bench.registry.vendor("redfish")

    async def call(method: str, http: str, **args: object) -> Any:
        return await hand.call(bench.access, method, http, args)

    made = await call("create_subscription", "POST", Destination="https://10.0.0.1/events")
    assert made["EventTypes"] == ["Alert"] and set(made) <= {
        "Id",
        "Context",
        "Protocol",
        "Destination",
        "EventTypes",
    }
    listed = await call("get_all_subscriptions", "GET")
    assert listed["Members@odata.count"] == 1
    assert (await call("get_subscription", "GET", id=made["Id"]))["Id"] == made["Id"]
    await call("delete_subscription", "DELETE", id=made["Id"])
    with pytest.raises(Refused, match="no subscription"):
        await call("delete_subscription", "DELETE", id=made["Id"])
    with pytest.raises(Refused, match="not a valid URI"):
        await call("create_subscription", "POST", Destination="nonsense")
    with pytest.raises(Unsupported, match="no vendor method"):
        await call("fly", "POST")


@pytest.mark.parametrize(
    "quirk",
    [{}, {"media_strict": ALWAYS}, {"media_says_inserted": ALWAYS}, {"eject_seconds": 2.0}],
    ids=str,
)
async def test_virtual_drives_with_all_their_moods(
    bench: Bench, image: str, quirk: dict[str, Any]
) -> None:
    bench.faults.put(quirk)
    hand = bench.registry.management("redfish")
    await hand.attach_media(bench.access, MediaDevice.CDROM, f"{image}/a.iso")
    await hand.attach_media(bench.access, MediaDevice.CDROM, f"{image}/b.iso")
    slots = {slot.device: slot for slot in await hand.media(bench.access)}
    assert slots["cdrom"].image == f"{image}/b.iso" and slots["cdrom"].inserted
    await hand.detach_media(bench.access)
    slots = {slot.device: slot for slot in await hand.media(bench.access)}
    assert slots["cdrom"].image == ""


async def test_a_boot_medium_with_a_config_drive(bench: Bench, image: str) -> None:
    boot = bench.registry.boot("redfish", "redfish-virtual-media")
    await boot.prepare_ramdisk(
        bench.access,
        BootMode.UEFI,
        f"{image}/boot.iso",
        drive_url=f"{image}/config.iso",
        persistent=True,
    )
    assert bench.board.drive == f"{image}/config.iso"
    chosen = await bench.registry.management("redfish").get_boot_device(bench.access)
    assert chosen.device == "cdrom" and chosen.persistent
    await boot.clean_up(bench.access)
    assert bench.board.drive is None


async def test_an_image_that_cannot_be_fetched_is_told(bench: Bench) -> None:
    hand = bench.registry.management("redfish")
    with pytest.raises(Refused, match="cannot be fetched"):
        await hand.attach_media(bench.access, MediaDevice.CDROM, "http://127.0.0.1:9/a.iso")


async def test_http_boot_is_uefis_alone(bench: Bench) -> None:
    boot = bench.registry.boot("redfish", "redfish-https")
    with pytest.raises(Unsupported, match="part of UEFI"):
        await boot.prepare_ramdisk(bench.access, BootMode.BIOS, "http://10.0.0.1/a.iso")
    with pytest.raises(Unsupported, match="needs the URL"):
        await boot.prepare_ramdisk(bench.access, BootMode.UEFI)
