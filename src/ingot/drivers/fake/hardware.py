"""Every capability of imaginary hardware. See `world.py` for state, `chance.py` for trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

from ingot.drivers.context import DriverContext
from ingot.drivers.fake.chance import delay_seconds, failure
from ingot.drivers.fake.world import FakeMachine
from ingot.drivers.faults import BadCredentials, Refused, Unsupported
from ingot.drivers.flat.network import choose_port
from ingot.drivers.options import Option
from ingot.drivers.powering import PowerLines, reach
from ingot.drivers.types import (
    Access,
    BootChoice,
    BootDevice,
    BootMode,
    Identity,
    PortFacts,
    PowerOutcome,
    PowerState,
    PowerTarget,
    Sensor,
    StepInfo,
    VendorMethod,
    VifFacts,
)

PREFIXES = ("fake_",)
OPTIONS = (
    Option("fake_id", "Name of the imaginary machine; the node's uuid if not given"),
    Option("fake_delay", "Delays, for example power.set=lognormal:2,0.5;*=fixed:0.1"),
    Option("fake_fail", "Failures, for example power.set=0.1:busy;management.*=0.02"),
    Option("fake_username", "User name, checked when the imaginary machine has one"),
    Option("fake_password", "Password, checked when the imaginary machine has one", secret=True),
)


class _Fake:
    """Shared by all fake interfaces: find the machine, take the time, perhaps fail."""

    def __init__(self, context: DriverContext) -> None:
        self._context = context

    async def _touch(self, access: Access, call: str) -> FakeMachine:
        machine = self._context.world.machine(access.text("fake_id") or access.key or "fake")
        chance = machine.random_state
        delay = delay_seconds(access.text("fake_delay"), call, chance)
        if delay:
            await self._context.clock.sleep(delay)
        given = (access.text("fake_username"), access.text("fake_password"))
        if machine.password and given != (machine.user, machine.password):
            raise BadCredentials("the imaginary machine does not know this user and password")
        fault = failure(access.text("fake_fail"), call, chance)
        if fault is not None:
            raise fault
        return machine


class FakePower(_Fake):
    """Power of an imaginary machine; soft and hard are the same."""

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        return (await self._touch(access, "power.get")).power

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def send(leg: PowerTarget) -> str:
            machine = await self._touch(access, "power.set")
            machine.switch(leg.final)
            return leg.value

        lines = PowerLines(lambda: self.get(access), send)
        return await reach(lines, target, self._context.clock, timeout)


class FakeManagement(_Fake):
    """Boot device, mode, sensors and identity of an imaginary machine."""

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return (BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM, BootDevice.BIOS)

    async def get_boot_device(self, access: Access) -> BootChoice:
        machine = await self._touch(access, "management.get_boot_device")
        return BootChoice(machine.boot_device, machine.boot_persistent, machine.boot_mode)

    async def set_boot_device(
        self,
        access: Access,
        device: BootDevice,
        persistent: bool = False,
        mode: BootMode | None = None,
    ) -> None:
        if device not in self.supported_boot_devices(access):
            raise Unsupported(f"boot device {device.value} is not supported")
        machine = await self._touch(access, "management.set_boot_device")
        machine.boot_device, machine.boot_persistent = device, persistent
        machine.boot_mode = mode or machine.boot_mode

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.UEFI, BootMode.BIOS)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        return (await self._touch(access, "management.get_boot_mode")).boot_mode

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        (await self._touch(access, "management.set_boot_mode")).boot_mode = mode

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        machine = await self._touch(access, "management.sensors")
        warm = 45.0 if machine.power is PowerState.ON else 22.0
        return (Sensor("Inlet", "temperature", warm, "C", "ok"),)

    async def identity(self, access: Access) -> Identity:
        machine = await self._touch(access, "management.identity")
        return Identity(machine.uuid, machine.serial, "Imaginary", "Fake", (machine.mac,))

    async def health(self, access: Access) -> str:
        await self._touch(access, "management.health")
        return "ok"


class FakeBoot(_Fake):
    """Nothing to prepare: fake deploys run no ramdisk."""

    needs_dhcp = False
    needs_iso = False

    async def prepare_ramdisk(
        self, access: Access, mode: BootMode | None = None, iso_url: str | None = None
    ) -> None:
        (await self._touch(access, "boot.prepare_ramdisk")).iso = iso_url or ""

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        await self._touch(access, "boot.prepare_disk")

    async def clean_up(self, access: Access) -> None:
        (await self._touch(access, "boot.clean_up")).iso = ""


class FakeDeploy(_Fake):
    """One step that takes as long as `fake_delay` for deploy.deploy says."""

    uses_agent = False
    writes_disk = False

    def steps(self) -> tuple[StepInfo, ...]:
        return (StepInfo("deploy", "deploy", 100),)

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return ()

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        if step != "deploy":
            raise Unsupported(f"there is no deploy step {step}")
        await self._touch(access, "deploy.deploy")


class FakeInspect(_Fake):
    """An inventory made up from the machine's name."""

    uses_agent = False

    async def inspect(self, access: Access) -> Mapping[str, object]:
        machine = await self._touch(access, "inspect.inspect")
        return {
            "inventory": {
                "interfaces": [{"name": "eth0", "mac_address": machine.mac, "has_carrier": True}],
                "cpu": {"count": 4, "architecture": "x86_64", "model_name": "Imaginary"},
                "disks": [{"name": "/dev/sda", "size": 100 * 2**30, "rotational": False}],
                "memory": {"physical_mb": 8192, "total": 8192 * 2**20},
                "system_vendor": {
                    "manufacturer": "Imaginary",
                    "product_name": "Fake",
                    "serial_number": machine.serial,
                },
                "boot": {
                    "current_boot_mode": machine.boot_mode.value,
                    "pxe_interface": machine.mac,
                },
                "bmc_address": "0.0.0.0",
                "hostname": machine.key,
            }
        }


class FakeNetwork:
    """As noop."""

    accepts_vifs = True
    binds_ports = False
    separate_networks = False

    def choose_port(self, ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
        return choose_port(ports, vif)


class FakeStorage:
    attaches_volumes = False


class FakeConsoleSession:
    """Says who it is, then echoes what is sent."""

    def __init__(self, greeting: bytes) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._chunks.put_nowait(greeting)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def send(self, data: bytes) -> None:
        self._chunks.put_nowait(data)

    async def aclose(self) -> None:
        self._chunks.put_nowait(None)


class FakeConsole(_Fake):
    async def open(self, access: Access) -> FakeConsoleSession:
        machine = await self._touch(access, "console.open")
        return FakeConsoleSession(f"imaginary console of {machine.key}\r\n".encode())


class _FakeSteps(_Fake):
    _capability = ""
    _steps: tuple[StepInfo, ...] = ()

    def steps(self) -> tuple[StepInfo, ...]:
        return self._steps

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        if step not in [s.step for s in self._steps]:
            raise Unsupported(f"there is no {self._capability} step {step}")
        machine = await self._touch(access, f"{self._capability}.{step}")
        self._do(machine, step, args)

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None: ...


class FakeRaid(_FakeSteps):
    _capability = "raid"
    _steps = (
        StepInfo("raid", "create_configuration"),
        StepInfo("raid", "delete_configuration"),
        StepInfo("raid", "apply_configuration"),
    )

    def logical_disk_properties(self) -> Mapping[str, str]:
        return {
            "size_gb": "Size in GiB (Integer) of the logical disk, or MAX.",
            "raid_level": "RAID level of the logical disk.",
        }


class FakeBios(_FakeSteps):
    _capability = "bios"
    _steps = (
        StepInfo(
            "bios",
            "apply_configuration",
            argsinfo={"settings": {"description": "List of {name, value}.", "required": True}},
        ),
        StepInfo("bios", "factory_reset"),
    )

    def _do(self, machine: FakeMachine, step: str, args: Mapping[str, object]) -> None:
        if step == "factory_reset":
            machine.bios = {"virtualization": "on"}
            return
        settings = args.get("settings")
        if not isinstance(settings, list):
            raise Refused("settings must be a list of {name, value}")
        for setting in cast(list[dict[str, object]], settings):
            machine.bios[str(setting["name"])] = str(setting["value"])

    async def settings(self, access: Access) -> tuple[Mapping[str, object], ...]:
        machine = await self._touch(access, "bios.settings")
        return tuple({"name": k, "value": v} for k, v in sorted(machine.bios.items()))


class FakeFirmware(_FakeSteps):
    _capability = "firmware"
    _steps = (
        StepInfo(
            "firmware",
            "update",
            argsinfo={"settings": {"description": "List of {component, url}.", "required": True}},
        ),
    )

    async def components(self, access: Access) -> tuple[Mapping[str, object], ...]:
        await self._touch(access, "firmware.components")
        return ({"component": "bmc", "initial_version": "1.0", "current_version": "1.0"},)


class FakeVendor(_Fake):
    """Two methods, as upstream's fake vendor has them."""

    def methods(self) -> tuple[VendorMethod, ...]:
        return (
            VendorMethod(
                "first_method", ("POST",), "Takes bar, gives true when bar is baz.", False
            ),
            VendorMethod("second_method", ("POST",), "Takes bar; does nothing.", True),
        )

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        if method not in [m.name for m in self.methods()]:
            raise Unsupported(f"there is no vendor method {method}")
        await self._touch(access, f"vendor.{method}")
        return args.get("bar") == "baz" if method == "first_method" else None


class FakeRescue(_Fake):
    uses_agent = False

    async def rescue(self, access: Access) -> None:
        await self._touch(access, "rescue.rescue")

    async def unrescue(self, access: Access) -> None:
        await self._touch(access, "rescue.unrescue")
