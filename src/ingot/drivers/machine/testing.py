"""The conformance kit: what every power and management driver must prove, and every interface in short.

A test brings a `Bench` for its protocol and calls the checks; each raises AssertionError with what
went wrong. The device behind the bench speaks the real protocol; nothing here patches a driver.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from ingot.drivers.faults import BadCredentials, DriverFault, Unreachable, Unsupported
from ingot.drivers.machine import base
from ingot.drivers.machine.base import Management, Power
from ingot.drivers.machine.registry import Registry
from ingot.drivers.machine.types import Access, BootDevice, Identity, PowerState, PowerTarget
from ingot.kit.tasks.clock import SystemClock

SILENCE_SECONDS = 45.0


@dataclass(frozen=True)
class Bench:
    """One machine behind a device, and how to reach it.

    driver_info: as an operator would write it. wrong_password: option -> wrong value; None when the
    device checks none. dead: options that point at nobody. secrets: texts that must not show.
    cycles: counts how often the machine really went from off to on, None when the device can't
    tell. identity: what the device says about itself, None when it says nothing.
    tells_persistence: whether "once" and "for good" are read back as they were set.
    verified_devices: boot devices for the round trip.
    """

    registry: Registry
    driver: str
    driver_info: dict[str, object]
    wrong_password: dict[str, object] | None
    dead: dict[str, object]
    secrets: tuple[str, ...]
    cycles: Callable[[], Awaitable[int]] | None = None
    identity: Identity | None = None
    tells_persistence: bool = True
    verified_devices: tuple[BootDevice, ...] = (BootDevice.PXE, BootDevice.DISK)

    @property
    def access(self) -> Access:
        return self.with_options({})

    def with_options(self, changes: dict[str, object]) -> Access:
        info = {**self.driver_info, **changes}
        return self.registry.access(self.driver, info, key="bench")

    @property
    def power(self) -> Power:
        return self.registry.power(self.driver)

    @property
    def management(self) -> Management:
        return self.registry.management(self.driver)


async def check_all(bench: Bench) -> None:
    """Every check, in an order that leaves the machine off."""
    check_options(bench)
    await check_power(bench)
    await check_reboot(bench)
    await check_boot_device(bench)
    await check_identity(bench)
    await check_credentials(bench)
    await check_silence(bench)


def check_options(bench: Bench) -> None:
    """Missing options are refused before anything is sent; unknown ones are told, and ignored."""
    prefix = next(iter(bench.driver_info)).split("_")[0]
    misspelt = f"{prefix}_no_such_option"
    bench.with_options({misspelt: "1"})
    told = bench.registry.warnings(bench.driver, {**bench.driver_info, misspelt: "1"})["power"]
    assert [one.option for one in told] == [misspelt], f"an unknown option is not told: {told}"
    for option in bench.registry.options(bench.driver, {}):
        if option.required:
            info = {k: v for k, v in bench.driver_info.items() if k != option.name}
            problems = bench.registry.validate(bench.driver, info)["power"]
            assert any(p.option == option.name for p in problems), f"{option.name} not missed"


async def check_power(bench: Bench) -> None:
    """On and off are reached, are verified, and issue nothing when already there."""
    await bench.power.set(bench.access, PowerTarget.OFF, 60)
    for target, state in ((PowerTarget.ON, PowerState.ON), (PowerTarget.OFF, PowerState.OFF)):
        first = await bench.power.set(bench.access, target, 60)
        assert first.issued and first.commands, f"{target}: nothing was issued: {first}"
        assert first.before is not state and first.after is state, f"{target}: {first}"
        assert await bench.power.get(bench.access) is state
        second = await bench.power.set(bench.access, target, 60)
        assert not second.issued and not second.commands, f"{target} twice: {second}"
        assert second.after is state


async def check_reboot(bench: Bench) -> None:
    """A reboot really goes through off; of a machine that is off it is a start."""
    await bench.power.set(bench.access, PowerTarget.OFF, 60)
    started = await bench.power.set(bench.access, PowerTarget.REBOOT, 60)
    assert started.after is PowerState.ON and len(started.commands) == 1, str(started)
    before = await bench.cycles() if bench.cycles else 0
    outcome = await bench.power.set(bench.access, PowerTarget.REBOOT, 60)
    assert outcome.issued and outcome.after is PowerState.ON, str(outcome)
    if bench.cycles:
        assert await bench.cycles() == before + 1, "the machine did not go through off and on"


async def check_boot_device(bench: Bench) -> None:
    """What is set is read back, once and for good."""
    known = bench.management.supported_boot_devices(bench.access)
    for device in bench.verified_devices:
        assert device in known, f"{device} is not declared as supported"
        for persistent in (False, True):
            await bench.management.set_boot_device(bench.access, device, persistent)
            found = await bench.management.get_boot_device(bench.access)
            assert found.device is device, f"{device} was set, {found} is read"
            if bench.tells_persistence:
                assert found.persistent in (persistent, None), f"{found} is not {persistent=}"


async def check_identity(bench: Bench) -> None:
    """The device's identity is told as it is."""
    found = await bench.management.identity(bench.access)
    if bench.identity is None:
        return
    wanted = bench.identity
    told = replace(
        found,
        manufacturer=found.manufacturer if wanted.manufacturer else "",
        model=found.model if wanted.model else "",
        macs=found.macs if wanted.macs else (),
        serial=found.serial if wanted.serial else "",
    )
    assert told == wanted, f"{told} is told, {wanted} is true"


async def check_credentials(bench: Bench) -> None:
    """A wrong password is BadCredentials, and no secret is in the fault."""
    if bench.wrong_password is None:
        return
    access = bench.with_options(bench.wrong_password)
    fault = await _fault_of(lambda: bench.power.get(access))
    assert isinstance(fault, BadCredentials), f"{type(fault).__name__}: {fault}"
    check_secrets(bench, fault, tuple(str(v) for v in bench.wrong_password.values()))
    assert await bench.power.get(bench.access) in PowerState, "the right password works after it"


async def check_silence(bench: Bench) -> None:
    """A device that does not answer is Unreachable within the deadline."""
    clock = SystemClock()
    before = clock.monotonic()
    access = bench.with_options(bench.dead)
    fault = await _fault_of(lambda: bench.power.get(access))
    took = clock.monotonic() - before
    assert isinstance(fault, Unreachable), f"{type(fault).__name__}: {fault}"
    assert took < SILENCE_SECONDS, f"it took {took:.0f} s to say so"
    assert fault.retry_after and fault.next_action
    check_secrets(bench, fault)


PROTOCOLS: dict[str, type[object]] = {
    "power": base.Power,
    "management": base.Management,
    "boot": base.Boot,
    "deploy": base.Deploy,
    "inspect": base.Inspect,
    "network": base.Network,
    "storage": base.Storage,
    "console": base.Console,
    "raid": base.Raid,
    "bios": base.Bios,
    "firmware": base.Firmware,
    "vendor": base.Vendor,
    "rescue": base.Rescue,
}


async def check_interface(registry: Registry, driver: str, capability: str, name: str) -> None:
    """One interface of the table: it has all that its Protocol wants, and refuses what it does not know.

    No device is needed: nothing may be sent for a step or a method that does not exist.
    """
    found = registry.resolve(driver, capability, name)
    assert isinstance(found, PROTOCOLS[capability]), f"{capability} {name} lacks something"
    access = Access(driver, {"redfish_address": "http://127.0.0.1:9"}, "bench")
    if isinstance(found, base.StepRunner):
        for info in found.steps():
            assert info.interface == capability, f"{name} offers {info} for another interface"
            assert info.priority >= 0 and info.kinds, str(info)
        fault = await _fault_of(lambda: found.run(access, "no_such_step", {}))
        assert isinstance(fault, Unsupported), f"{type(fault).__name__}: {fault}"
        assert fault.next_action, "it says nothing of what to do"
    if isinstance(found, base.Vendor):
        fault = await _fault_of(lambda: found.call(access, "no_such_method", "POST", {}))
        assert isinstance(fault, Unsupported), f"{type(fault).__name__}: {fault}"
    if isinstance(found, base.Boot):
        assert found.loader in ("ipxe", "grub", "") and bool(found.loader) <= found.needs_dhcp
        if not found.needs_iso and name != "fake":
            fault = await _fault_of(
                lambda: found.prepare_ramdisk(access, None, "http://127.0.0.1:9/a.iso")
            )
            assert isinstance(fault, Unsupported), "an ISO is taken and then not used"


def check_secrets(bench: Bench, fault: DriverFault, more: tuple[str, ...] = ()) -> None:
    """No secret in any text of a fault or of an Access."""
    text = f"{fault} {fault!r} {fault.internal} {fault.details} {bench.access!r}"
    for secret in (*bench.secrets, *more):
        assert secret not in text, f"a secret shows in: {text.replace(secret, '<secret>')}"


async def _fault_of(call: Callable[[], Awaitable[object]]) -> DriverFault:
    try:
        value = await call()
    except DriverFault as fault:
        return fault
    raise AssertionError(f"no fault was raised, but {value} given")
