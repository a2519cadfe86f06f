"""The `no-*` interfaces: a capability that is switched off. Asking it for work is Unsupported.

And `PlainManagement`, which says Unsupported for everything that many controllers can't do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine.base import ConsoleSession
from ingot.drivers.machine.types import (
    Access,
    BiosSetting,
    Component,
    FirmwareComponent,
    Indicator,
    IndicatorState,
    MediaDevice,
    MediaSlot,
    StepInfo,
    StepOutcome,
    VendorMethod,
)


def _no(what: str) -> Unsupported:
    return Unsupported(
        f"{what} is switched off for this machine",
        next_action=f"Choose another {what}_interface.",
    )


def _cannot(what: str) -> Unsupported:
    return Unsupported(f"the management interface of this machine does not support {what}")


class PlainManagement:
    """What a `Management` says of the rarer things; a driver overrides those that it can do."""

    async def get_secure_boot(self, access: Access) -> bool | None:
        return None

    async def set_secure_boot(self, access: Access, on: bool) -> None:
        raise _cannot("changing secure boot")

    async def inject_nmi(self, access: Access) -> None:
        raise _cannot("injecting an NMI")

    async def indicators(self, access: Access) -> Mapping[Component, Sequence[Indicator]]:
        raise _cannot("indicators")

    async def get_indicator(
        self, access: Access, component: Component, name: str
    ) -> IndicatorState:
        raise _cannot("indicators")

    async def set_indicator(
        self, access: Access, component: Component, name: str, state: IndicatorState
    ) -> None:
        raise _cannot("indicators")

    async def media(self, access: Access) -> tuple[MediaSlot, ...]:
        raise _cannot("virtual media")

    async def attach_media(self, access: Access, device: MediaDevice, image_url: str) -> None:
        raise _cannot("virtual media")

    async def detach_media(self, access: Access, devices: Sequence[MediaDevice] = ()) -> None:
        raise _cannot("virtual media")


class NoSteps:
    """An interface without steps of its own."""

    _what = ""

    def steps(self) -> tuple[StepInfo, ...]:
        return ()

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        raise _no(self._what)

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        raise _no(self._what)


class NoInspect:
    uses_agent = False

    async def inspect(self, access: Access) -> Mapping[str, object]:
        raise _no("inspect")


class NoConsole:
    kind = ""

    async def open(self, access: Access) -> ConsoleSession:
        raise _no("console")


class NoDeploy(NoSteps):
    """deploy_interface noop: the operator installs by hand."""

    _what = "deploy"
    uses_agent = False
    writes_disk = False
    boots_ramdisk = False

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return ()


class NoRaid(NoSteps):
    _what = "raid"

    def logical_disk_properties(self) -> Mapping[str, str]:
        raise _no("raid")

    def problems(self, raid_config: Mapping[str, object]) -> tuple[str, ...]:
        return ("raid is switched off for this machine",)


class NoBios(NoSteps):
    _what = "bios"

    async def settings(self, access: Access) -> tuple[BiosSetting, ...]:
        raise _no("bios")


class NoFirmware(NoSteps):
    _what = "firmware"

    async def components(self, access: Access) -> tuple[FirmwareComponent, ...]:
        raise _no("firmware")


class NoVendor:
    def methods(self) -> tuple[VendorMethod, ...]:
        return ()

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        raise _no("vendor")


class NoRescue:
    uses_agent = False

    async def rescue(self, access: Access) -> None:
        raise _no("rescue")

    async def unrescue(self, access: Access) -> None:
        raise _no("rescue")


class ExternalStorage:
    """storage_interface external: somebody else attaches the volumes that the node's targets name."""

    attaches_volumes = True


class NoStorage:
    """storage_interface noop: the machine has only its own disks."""

    attaches_volumes = False
