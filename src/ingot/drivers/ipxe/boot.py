"""The `ipxe` boot interface: the controller is told to start from the network or from the disk.

What a network start then boots is the boot script's matter (`scripts.py`); DHCP is not touched.
"""

from __future__ import annotations

from ingot.drivers.base import Management
from ingot.drivers.faults import Unsupported
from ingot.drivers.options import Option
from ingot.drivers.types import Access, BootDevice, BootMode

PERSISTENT = Option(
    "force_persistent_boot_device",
    "Whether boot devices are set for good: Always, Never, or Default (disk for good, network once)",
    "choice",
    "Default",
    choices=("Default", "Always", "Never"),
)


class IpxeBoot:
    """needs_dhcp: the machine finds its script by DHCP and HTTP. `management` sets the device."""

    needs_dhcp = True
    needs_iso = False

    def __init__(self, management: Management, device: BootDevice = BootDevice.PXE) -> None:
        self._management = management
        self._device = device

    async def prepare_ramdisk(
        self, access: Access, mode: BootMode | None = None, iso_url: str | None = None
    ) -> None:
        if iso_url is not None:
            raise Unsupported("iPXE boots a script, not virtual media")
        always = access.text("force_persistent_boot_device").lower() == "always"
        await self._management.set_boot_device(access, self._device, always, mode)

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        never = access.text("force_persistent_boot_device").lower() == "never"
        await self._management.set_boot_device(access, BootDevice.DISK, not never, mode)

    async def clean_up(self, access: Access) -> None:
        return None
