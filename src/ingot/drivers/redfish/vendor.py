"""Vendor methods over Redfish: empty the virtual drive, restart the controller."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Unsupported
from ingot.drivers.redfish.media import RedfishMedia
from ingot.drivers.redfish.system import Systems
from ingot.drivers.shape import child, text
from ingot.drivers.types import Access, VendorMethod


class RedfishVendor:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))
        self._media = RedfishMedia(context)

    def methods(self) -> tuple[VendorMethod, ...]:
        return (
            VendorMethod("eject_vmedia", ("POST",), "Empty the virtual CD drive."),
            VendorMethod("bmc_reset", ("POST",), "Restart the controller gracefully."),
        )

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        if method == "eject_vmedia":
            await self._media.eject(access)
            return None
        if method == "bmc_reset":
            await self._reset(access)
            return None
        raise Unsupported(f"there is no vendor method {method}")

    async def _reset(self, access: Access) -> None:
        _, system, _ = await self._systems.read(access)
        for manager in await self._systems.linked(access, system, "ManagedBy"):
            target = text(child(manager, "Actions", "#Manager.Reset"), "target")
            if target:
                body: dict[str, object] = {"ResetType": "GracefulRestart"}
                await self._systems.client.post(access, target, body)
                return
        raise Unsupported("the service offers no reset of its manager")
