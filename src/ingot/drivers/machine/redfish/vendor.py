"""Vendor methods over Redfish: virtual drives, the controller's restart, event subscriptions."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.media import KINDS, RedfishMedia
from ingot.drivers.machine.redfish.subscriptions import Subscriptions
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import Access, VendorMethod
from ingot.drivers.shape import child, text

#: Upstream's names of drives -> the Bare Metal API's.
DRIVES = {"cd": "cdrom", "dvd": "cdrom", "usb": "disk", "floppy": "floppy"}
METHODS = (
    VendorMethod(
        "eject_vmedia",
        ("POST",),
        "Eject a virtual media device. If no device is provided then all attached devices will be "
        "ejected. Optional arguments: 'boot_device' - the boot device to eject, either 'cd', 'dvd', "
        "'usb', or 'floppy'",
    ),
    VendorMethod("bmc_reset", ("POST",), "Restart the controller gracefully."),
    VendorMethod(
        "create_subscription",
        ("POST",),
        "Creates a subscription on a node. Required argument: a dictionary of "
        "{'Destination': 'destination_url'}",
        is_async=False,
        required=("Destination",),
    ),
    VendorMethod(
        "delete_subscription",
        ("DELETE",),
        "Delete a subscription on a node. Required argument: a dictionary of "
        "{'id': 'subscription_bmc_id'}",
        is_async=False,
        required=("id",),
    ),
    VendorMethod(
        "get_all_subscriptions", ("GET",), "Returns all subscriptions on the node.", is_async=False
    ),
    VendorMethod(
        "get_subscription",
        ("GET",),
        "Get a subscription on the node. Required argument: a dictionary of "
        "{'id': 'subscription_bmc_id'}",
        is_async=False,
        required=("id",),
    ),
)


class RedfishVendor:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))
        self._media = RedfishMedia(context)
        self._subscriptions = Subscriptions(context)

    def methods(self) -> tuple[VendorMethod, ...]:
        return METHODS

    async def call(
        self, access: Access, method: str, http_method: str, args: Mapping[str, object]
    ) -> object:
        match method:
            case "eject_vmedia":
                await self._eject(access, args)
            case "bmc_reset":
                await self._reset(access)
            case "create_subscription":
                return await self._subscriptions.create(access, args)
            case "delete_subscription":
                await self._subscriptions.delete(access, str(args.get("id") or ""))
            case "get_all_subscriptions":
                return await self._subscriptions.all(access)
            case "get_subscription":
                return await self._subscriptions.get(access, str(args.get("id") or ""))
            case _:
                raise Unsupported(f"there is no vendor method {method}")
        return None

    async def _eject(self, access: Access, args: Mapping[str, object]) -> None:
        device = args.get("boot_device")
        if device and str(device).lower() not in DRIVES:
            raise Refused(f"Boot device {device} is not a valid value: {', '.join(DRIVES)}")
        chosen = [DRIVES[str(device).lower()]] if device else list(KINDS)
        await self._media.eject(access, chosen)

    async def _reset(self, access: Access) -> None:
        _, system, _ = await self._systems.read(access)
        for manager in await self._systems.linked(access, system, "ManagedBy"):
            target = text(child(manager, "Actions", "#Manager.Reset"), "target")
            if target:
                body: dict[str, object] = {"ResetType": "GracefulRestart"}
                await self._systems.client.post(access, target, body)
                return
        raise Unsupported("the service offers no reset of its manager")
