"""The `no-*` interfaces: a capability that is switched off. Asking it for work is Unsupported."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.base import ConsoleSession
from ingot.drivers.faults import Unsupported
from ingot.drivers.types import Access, StepInfo, VendorMethod


def _no(what: str) -> Unsupported:
    return Unsupported(
        f"{what} is switched off for this machine",
        next_action=f"Choose another {what}_interface.",
    )


class NoInspect:
    uses_agent = False

    async def inspect(self, access: Access) -> Mapping[str, object]:
        raise _no("inspect")


class NoConsole:
    async def open(self, access: Access) -> ConsoleSession:
        raise _no("console")


class NoDeploy:
    """deploy_interface noop: the operator installs by hand."""

    uses_agent = False
    writes_disk = False

    def steps(self) -> tuple[StepInfo, ...]:
        return ()

    def problems(self, instance_info: Mapping[str, object]) -> tuple[str, ...]:
        return ()

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        raise _no("deploy")


class _NoSteps:
    _what = ""

    def steps(self) -> tuple[StepInfo, ...]:
        return ()

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> None:
        raise _no(self._what)


class NoRaid(_NoSteps):
    _what = "raid"

    def logical_disk_properties(self) -> Mapping[str, str]:
        raise _no("raid")


class NoBios(_NoSteps):
    _what = "bios"

    async def settings(self, access: Access) -> tuple[Mapping[str, object], ...]:
        raise _no("bios")


class NoFirmware(_NoSteps):
    _what = "firmware"

    async def components(self, access: Access) -> tuple[Mapping[str, object], ...]:
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


class NoStorage:
    """storage_interface noop: the machine has only its own disks."""

    attaches_volumes = False
