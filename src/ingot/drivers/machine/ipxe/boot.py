"""The `ipxe` boot interface: the controller is told to start from the network or from the disk.

What a network start then boots is the boot script's matter (`scripts.py`); DHCP is not touched.
"""

from __future__ import annotations

from ingot.drivers.faults import Unsupported
from ingot.drivers.machine.base import Management
from ingot.drivers.machine.options import Option
from ingot.drivers.machine.types import Access, BootDevice, BootMode

PERSISTENT = Option(
    "force_persistent_boot_device",
    "Whether boot devices are set for good: Always, Never, or Default (disk for good, network once)",
    "choice",
    "Default",
    choices=("Default", "Always", "Never"),
)


class IpxeBoot:
    """needs_dhcp: the machine finds its script by DHCP and HTTP. `management` sets the device.

    loader: what DHCP names to it, "ipxe" or "grub".
    """

    needs_dhcp = True
    needs_iso = False

    def __init__(
        self,
        management: Management,
        device: BootDevice = BootDevice.PXE,
        loader: str = "ipxe",
    ) -> None:
        self._management = management
        self._device = device
        self.loader = loader

    async def prepare_ramdisk(
        self,
        access: Access,
        mode: BootMode | None = None,
        iso_url: str | None = None,
        *,
        drive_url: str | None = None,
        persistent: bool = False,
    ) -> None:
        if iso_url is not None or drive_url is not None:
            raise Unsupported("a network boot takes a script, not virtual media")
        if self._device is BootDevice.UEFIHTTP and mode is BootMode.BIOS:
            raise Unsupported(
                "HTTP boot is a part of UEFI; the machine is asked to boot by BIOS",
                next_action="Set boot_mode:uefi in its capabilities, or choose ipxe.",
            )
        always = access.text("force_persistent_boot_device").lower() == "always" or persistent
        await self._management.set_boot_device(access, self._device, always, mode)

    async def prepare_disk(self, access: Access, mode: BootMode | None = None) -> None:
        never = access.text("force_persistent_boot_device").lower() == "never"
        await self._management.set_boot_device(access, BootDevice.DISK, not never, mode)

    async def clean_up(self, access: Access) -> None:
        return None
