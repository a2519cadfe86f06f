"""The drivers against the simulated fleet: healthy machines conform, misbehaving ones are named."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ingot.drivers.faults import BadCredentials, Busy, DriverFault, Refused, Unreachable
from ingot.drivers.machine import DriverContext, Registry, build_registry
from ingot.drivers.machine.redfish.client import RedfishClient
from ingot.drivers.machine.redfish.media import RedfishMedia
from ingot.drivers.machine.testing import (
    Bench,
    check_all,
    check_boot_device,
    check_identity,
    check_power,
    check_reboot,
)
from ingot.drivers.machine.types import (
    Access,
    BootDevice,
    BootMode,
    Identity,
    PowerState,
    PowerTarget,
)
from ingot.kit.tasks.clock import SystemClock
from ingot.lab.sim import Fleet, FleetOptions
from ingot.lab.sim.delivery import FILLERS, MANNERS
from ingot.lab.sim.redfish_board import REGISTRIES, REGISTRY

pytestmark = pytest.mark.anyio

DEAD = {
    "redfish": {"redfish_address": "http://127.0.0.1:9"},
    "ipmi": {"ipmi_address": "127.0.0.1", "ipmi_port": 9},
}


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet(FleetOptions(count=2, seed=5, speed=50)) as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = build_registry(DriverContext(SystemClock()))
    yield made
    await made.aclose()


def node_of(fleet: Fleet, driver: str) -> tuple[str, dict[str, Any]]:
    for name in fleet.machines:
        node = fleet.enrolment(name)["nodes"][0]
        if node["driver"] == driver:
            return name, node["driver_info"]
    raise AssertionError(f"no {driver} machine in the fleet")


def access_of(registry: Registry, fleet: Fleet, driver: str) -> tuple[str, Access]:
    name, info = node_of(fleet, driver)
    return name, registry.access(driver, info, key=name)


@pytest.mark.parametrize("driver", ["redfish", "ipmi"])
async def test_healthy_machines_conform(registry: Registry, fleet: Fleet, driver: str) -> None:
    name, info = node_of(fleet, driver)
    machine = fleet.machine(name)

    await check_all(
        Bench(
            registry=registry,
            driver=driver,
            driver_info=info,
            wrong_password={f"{driver}_password": "not-this-one"},
            dead=dict(DEAD[driver]),
            secrets=(fleet.options.password,),
            identity=Identity(uuid=machine.identity.uuid),
        )
    )


@pytest.mark.parametrize("manner", MANNERS)
async def test_every_manner_of_answering_conforms(registry: Registry, manner: str) -> None:
    """Also what is large, on several pages, and only to be had by a detour is read whole."""
    options = FleetOptions(count=1, seed=5, speed=50, protocols=("redfish",), manners=(manner,))
    async with Fleet(options) as fleet:
        name, info = node_of(fleet, "redfish")
        bench = Bench(
            registry=registry,
            driver="redfish",
            driver_info=info,
            wrong_password={"redfish_password": "not-this-one"},
            dead=dict(DEAD["redfish"]),
            secrets=(fleet.options.password,),
            identity=Identity(uuid=fleet.machine(name).identity.uuid),
        )
        await check_power(bench)
        await check_boot_device(bench)
        await check_identity(bench)
        found = await bench.management.identity(bench.access)
        nics = fleet.machine(name).hardware.nics
        assert sorted(found.macs) == sorted(nic.mac for nic in nics)
        drives = await RedfishMedia(registry.context).drives(bench.access)
        assert len(drives) == 2
        client = registry.context.shared(RedfishClient, lambda: RedfishClient(registry.context))
        large = await client.get(bench.access, f"{REGISTRIES}/{REGISTRY}.json")
        attributes: Any = large.body["RegistryEntries"]
        assert len(attributes["Attributes"]) > (3 if manner == "plain" else FILLERS)


@pytest.mark.parametrize(
    ("driver", "kind"),
    [
        ("redfish", "supermicro"),
        ("ipmi", "supermicro"),
        ("ipmi", "silent-to-new-suites"),
    ],
)
async def test_habits_of_controllers_conform(
    registry: Registry, fleet: Fleet, driver: str, kind: str
) -> None:
    name, info = node_of(fleet, driver)
    info.pop("ipmi_cipher_suite", None)
    fleet.inject(name, kind)
    bench = Bench(
        registry=registry,
        driver=driver,
        driver_info=info,
        wrong_password={f"{driver}_password": "not-this-one"},
        dead=dict(DEAD[driver]),
        secrets=(fleet.options.password,),
        identity=Identity(uuid=fleet.machine(name).identity.uuid),
    )
    await check_power(bench)
    await check_reboot(bench)
    await check_boot_device(bench)
    await check_identity(bench)
    assert (await fleet.machine(name).boot_setting()).mode == "uefi"


@pytest.mark.parametrize(
    ("driver", "kind"),
    [
        ("redfish", "power-on-ignored-once"),
        ("redfish", "refuses-login-at-first"),
        ("redfish", "busy-at-random"),
        ("ipmi", "power-on-ignored-once"),
        ("ipmi", "refuses-login-at-first"),
        # busy-at-random over IPMI: each lost answer costs seconds of waiting; too slow for here.
    ],
)
async def test_passing_trouble_is_passed(
    registry: Registry, fleet: Fleet, driver: str, kind: str
) -> None:
    name, access = access_of(registry, fleet, driver)
    fleet.inject(name, kind)
    for target in (PowerTarget.ON, PowerTarget.REBOOT, PowerTarget.OFF):
        outcome = await until_done(registry, access, target)
        assert outcome is target.final


async def until_done(registry: Registry, access: Access, target: PowerTarget) -> PowerState:
    """As a workflow does: a busy controller is asked again, at most ten times."""
    for _ in range(10):
        try:
            return (await registry.power(access.driver).set(access, target, 12)).after
        except Busy:
            continue
    raise AssertionError("busy ten times in a row")


@pytest.mark.parametrize("driver", ["redfish", "ipmi"])
async def test_a_liar_is_named(registry: Registry, fleet: Fleet, driver: str) -> None:
    name, access = access_of(registry, fleet, driver)
    fleet.inject(name, "lies-on")
    with pytest.raises(Refused, match="still power on"):
        await registry.power(driver).set(access, PowerTarget.OFF, 3)


@pytest.mark.parametrize("driver", ["redfish", "ipmi"])
async def test_wrong_log_ins_lock_no_account(registry: Registry, fleet: Fleet, driver: str) -> None:
    name, info = node_of(fleet, driver)
    fleet.inject(name, {"lockout_after": 5, "lockout_seconds": 300.0})
    wrong = registry.access(driver, {**info, f"{driver}_password": "nope"}, key=name)
    for _ in range(6):
        with pytest.raises(BadCredentials):
            await registry.power(driver).get(wrong)
    right = registry.access(driver, info, key=name)
    assert await registry.power(driver).get(right) is PowerState.OFF


BMC_KNOBS = {
    "slow-bmc",
    "stale-power",
    "freezes-after-burst",
    "busy-at-random",
    "off-after-reset",
    "power-on-ignored-once",
    "power-off-ignored-once",
    "override-sticks",
    "refuses-login-at-first",
    "few-sessions",
    "supermicro",
    "silent-to-new-suites",
}


@pytest.mark.nightly
@pytest.mark.parametrize("driver", ["redfish", "ipmi"])
@pytest.mark.parametrize("kind", sorted(BMC_KNOBS))
async def test_every_personality_of_a_controller_gets_there(
    registry: Registry, driver: str, kind: str
) -> None:
    """On, boot device for good and once, identity, reboot, off: as often as a workflow would try."""
    options = FleetOptions(count=1, seed=11, speed=500, protocols=(driver,), manners=("segments",))
    async with Fleet(options) as fleet:
        name, info = node_of(fleet, driver)
        info.pop("ipmi_cipher_suite", None)
        fleet.inject(name, kind)
        access = registry.access(driver, info, key=name)
        management, machine = registry.management(driver), fleet.machine(name)

        async def until(act: Callable[[], Awaitable[object]]) -> object:
            fault: DriverFault | None = None
            for _ in range(30):
                try:
                    return await act()
                except (Busy, Unreachable) as passing:
                    fault = passing
                    await asyncio.sleep(0.5)
            raise AssertionError(f"not done after 30 tries: {fault}")

        power = registry.power(driver)
        for target in (PowerTarget.ON, PowerTarget.REBOOT, PowerTarget.OFF):
            await until(lambda goal=target: power.set(access, goal, 12))
            assert await machine.power_state() == str(target.final).removeprefix("power ")
        for device, persistent in ((BootDevice.PXE, False), (BootDevice.DISK, True)) * 2:
            await until(
                lambda d=device, p=persistent: management.set_boot_device(
                    access, d, p, BootMode.UEFI
                )
            )
            assert (await machine.boot_setting()).mode == "uefi"
        identity = await until(lambda: management.identity(access))
        assert isinstance(identity, Identity) and identity.uuid == machine.identity.uuid
