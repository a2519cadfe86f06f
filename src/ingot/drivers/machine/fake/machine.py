"""Power, management and boot of imaginary machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.fake.base import Fake
from ingot.drivers.machine.powering import PowerProtocol, reach
from ingot.drivers.machine.types import (
    Access,
    BootChoice,
    BootDevice,
    BootMode,
    Component,
    Identity,
    Indicator,
    IndicatorState,
    MediaDevice,
    MediaSlot,
    PowerOutcome,
    PowerState,
    PowerTarget,
    Sensor,
)

LIGHTS = {
    Component.CHASSIS: (Indicator("led-0", True, (IndicatorState.OFF, IndicatorState.ON)),),
    Component.SYSTEM: (
        Indicator("led", False, (IndicatorState.BLINKING, IndicatorState.OFF, IndicatorState.ON)),
    ),
}


class FakePower(Fake):
    """Power of an imaginary machine; soft and hard are the same."""

    def supported(self) -> tuple[PowerTarget, ...]:
        return tuple(PowerTarget)

    async def get(self, access: Access) -> PowerState:
        return (await self.touch(access, "power.get")).power

    async def set(
        self, access: Access, target: PowerTarget, timeout: float | None = None
    ) -> PowerOutcome:
        async def send(leg: PowerTarget) -> str:
            machine = await self.touch(access, "power.set")
            machine.switch(leg.final)
            return leg.value

        lines = PowerProtocol(lambda: self.get(access), send)
        return await reach(lines, target, self._context.clock, timeout)


class FakeManagement(Fake):
    """Boot device, mode, sensors and identity of an imaginary machine."""

    def supported_boot_devices(self, access: Access) -> tuple[BootDevice, ...]:
        return (BootDevice.PXE, BootDevice.DISK, BootDevice.CDROM, BootDevice.BIOS)

    async def get_boot_device(self, access: Access) -> BootChoice:
        machine = await self.touch(access, "management.get_boot_device")
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
        machine = await self.touch(access, "management.set_boot_device")
        machine.boot_device, machine.boot_persistent = device, persistent
        machine.boot_mode = mode or machine.boot_mode

    def supported_boot_modes(self, access: Access) -> tuple[BootMode, ...]:
        return (BootMode.UEFI, BootMode.BIOS)

    async def get_boot_mode(self, access: Access) -> BootMode | None:
        return (await self.touch(access, "management.get_boot_mode")).boot_mode

    async def set_boot_mode(self, access: Access, mode: BootMode) -> None:
        machine = await self.touch(access, "management.set_boot_mode")
        machine.boot_mode = mode
        machine.secure_boot = machine.secure_boot and mode is BootMode.UEFI

    async def get_secure_boot(self, access: Access) -> bool | None:
        return (await self.touch(access, "management.get_secure_boot")).secure_boot

    async def set_secure_boot(self, access: Access, on: bool) -> None:
        machine = await self.touch(access, "management.set_secure_boot")
        if on and machine.boot_mode is not BootMode.UEFI:
            raise Refused("secure boot needs the boot mode uefi")
        machine.secure_boot = on

    async def inject_nmi(self, access: Access) -> None:
        (await self.touch(access, "management.inject_nmi")).nmis += 1

    async def indicators(self, access: Access) -> Mapping[Component, Sequence[Indicator]]:
        await self.touch(access, "management.indicators")
        return LIGHTS

    async def get_indicator(
        self, access: Access, component: Component, name: str
    ) -> IndicatorState:
        machine = await self.touch(access, "management.get_indicator")
        return IndicatorState(machine.lights.get(f"{component}/{name}", "unknown"))

    async def set_indicator(
        self, access: Access, component: Component, name: str, state: IndicatorState
    ) -> None:
        light = next((one for one in LIGHTS.get(component, ()) if one.name == name), None)
        if light is None or light.readonly or state not in light.states:
            raise Refused(f"the indicator {name} of {component} cannot be set to {state}")
        machine = await self.touch(access, "management.set_indicator")
        machine.lights[f"{component}/{name}"] = state.value

    async def media(self, access: Access) -> tuple[MediaSlot, ...]:
        machine = await self.touch(access, "management.media")
        return tuple(
            MediaSlot(kind, kind in machine.media, machine.media.get(kind, ""), (kind,))
            for kind in MediaDevice
        )

    async def attach_media(self, access: Access, device: MediaDevice, image_url: str) -> None:
        machine = await self.touch(access, "management.attach_media")
        machine.media[device.value] = image_url

    async def detach_media(self, access: Access, devices: Sequence[MediaDevice] = ()) -> None:
        machine = await self.touch(access, "management.detach_media")
        for device in devices or tuple(MediaDevice):
            machine.media.pop(device.value, None)

    async def sensors(self, access: Access) -> tuple[Sensor, ...]:
        machine = await self.touch(access, "management.sensors")
        warm = 45.0 if machine.power is PowerState.ON else 22.0
        return (Sensor("Inlet", "temperature", warm, "C", "ok"),)

    async def identity(self, access: Access) -> Identity:
        machine = await self.touch(access, "management.identity")
        return Identity(machine.uuid, machine.serial, "Imaginary", "Fake", (machine.mac,))

    async def health(self, access: Access) -> str:
        await self.touch(access, "management.health")
        return "ok"


class FakeBoot(Fake):
    """Nothing to prepare: fake deploys run no ramdisk."""

    needs_dhcp = False
    needs_iso = False
    loader = ""

    async def prepare_ramdisk(
        self,
        access: Access,
        mode: BootMode | None = None,
        iso_url: str | None = None,
        *,
        drive_url: str | None = None,
        persistent: bool = False,
    ) -> None:
        (await self.touch(access, "boot.prepare_ramdisk")).iso = iso_url or ""

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        await self.touch(access, "boot.prepare_disk")

    async def clean_up(self, access: Access) -> None:
        (await self.touch(access, "boot.clean_up")).iso = ""
