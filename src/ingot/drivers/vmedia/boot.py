"""The boot interface `redfish-virtual-media`: no DHCP, the controller mounts an ISO by URL."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Unsupported
from ingot.drivers.redfish.management import RedfishManagement
from ingot.drivers.redfish.media import RedfishMedia
from ingot.drivers.types import Access, BootDevice, BootMode


class MediaBoot:
    needs_dhcp = False
    needs_iso = True

    def __init__(self, context: DriverContext) -> None:
        self._media = RedfishMedia(context)
        self._management = RedfishManagement(context)

    async def prepare_ramdisk(
        self, access: Access, mode: BootMode | None = None, iso_url: str | None = None
    ) -> None:
        if not iso_url:
            raise Unsupported("booting by virtual media needs the URL of an ISO")
        await self._media.insert(access, iso_url)
        await self._management.set_boot_device(access, BootDevice.CDROM, False, mode)

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        await self._management.set_boot_device(access, BootDevice.DISK, True, mode)

    async def clean_up(self, access: Access) -> None:
        await self._media.eject(access)
