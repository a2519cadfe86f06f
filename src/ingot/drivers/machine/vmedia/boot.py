"""Boot interfaces that bring an ISO to the machine: by the controller's drive, or by UEFI's HTTP boot."""

from __future__ import annotations

from ingot.drivers.faults import DriverFault, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.management import RedfishManagement
from ingot.drivers.machine.redfish.media import RedfishMedia
from ingot.drivers.machine.types import Access, BootDevice, BootMode

CONFIG_DEVICES = ("disk", "floppy")


class MediaBoot:
    """`redfish-virtual-media`: no DHCP, the controller mounts an ISO by URL."""

    needs_dhcp = False
    needs_iso = True
    loader = ""

    def __init__(self, context: DriverContext) -> None:
        self._media = RedfishMedia(context)
        self._management = RedfishManagement(context)

    async def prepare_ramdisk(
        self,
        access: Access,
        mode: BootMode | None = None,
        iso_url: str | None = None,
        *,
        drive_url: str | None = None,
        persistent: bool = False,
    ) -> None:
        if not iso_url:
            raise Unsupported("booting by virtual media needs the URL of an ISO")
        await self._media.insert(access, iso_url)
        if drive_url:
            await self._insert_drive(access, drive_url)
        await self._management.set_boot_device(access, BootDevice.CDROM, persistent, mode)

    async def _insert_drive(self, access: Access, url: str) -> None:
        for device in CONFIG_DEVICES:
            if await self._media.has(access, device):
                await self._media.insert(access, url, device)
                return
        raise Unsupported(
            "the service offers no second virtual drive for the config drive",
            next_action="Deploy without a config drive, or choose another deploy_interface.",
        )

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        await self._management.set_boot_device(access, BootDevice.DISK, True, mode)

    async def clean_up(self, access: Access) -> None:
        await self._media.eject(access, ("cdrom", *CONFIG_DEVICES))


class HttpsBoot:
    """`redfish-https`: the firmware fetches the ISO itself, from the URL that the controller gives it.

    The firmware finds its own address by DHCP.
    """

    needs_dhcp = True
    needs_iso = True
    loader = ""

    def __init__(self, context: DriverContext) -> None:
        self._management = RedfishManagement(context)

    async def prepare_ramdisk(
        self,
        access: Access,
        mode: BootMode | None = None,
        iso_url: str | None = None,
        *,
        drive_url: str | None = None,
        persistent: bool = False,
    ) -> None:
        if not iso_url:
            raise Unsupported("UEFI HTTP boot needs the URL of an ISO")
        if drive_url:
            raise Unsupported("redfish-https brings no config drive to the machine")
        if mode is BootMode.BIOS:
            raise Unsupported(
                "HTTP boot is a part of UEFI; the machine is asked to boot by BIOS",
                next_action="Set boot_mode:uefi in its capabilities, or choose ipxe.",
            )
        await self._management.set_http_boot(access, iso_url, persistent)

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        await self._management.set_boot_device(access, BootDevice.DISK, True, mode)

    async def clean_up(self, access: Access) -> None:
        try:
            await self._management.clear_http_boot(access)
        except DriverFault:
            # The boot device is set anew before every start; a stale URL that stays is harmless.
            return
