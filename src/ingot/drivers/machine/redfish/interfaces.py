"""The redfish family's rows of the table, with their options (names as in the Bare Metal API)."""

from __future__ import annotations

from ingot.drivers.machine.agent.interfaces import ISO_OPTIONS, RAMDISK_OPTIONS
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipxe.boot import PERSISTENT, IpxeBoot
from ingot.drivers.machine.options import Option
from ingot.drivers.machine.redfish.bios import RedfishBios
from ingot.drivers.machine.redfish.firmware import RedfishFirmware
from ingot.drivers.machine.redfish.inspect import RedfishInspect
from ingot.drivers.machine.redfish.management import RedfishManagement
from ingot.drivers.machine.redfish.power import RedfishPower
from ingot.drivers.machine.redfish.raid import RedfishRaid
from ingot.drivers.machine.redfish.vendor import RedfishVendor
from ingot.drivers.machine.registry import InterfaceSpec
from ingot.drivers.machine.types import BootDevice
from ingot.drivers.machine.vmedia.boot import HttpsBoot, MediaBoot

PREFIXES = ("redfish_",)
OPTIONS = (
    Option("redfish_address", "URL of the controller; https is assumed", required=True, host=True),
    Option("redfish_system_id", "Path of the System; may be left out when there is only one"),
    Option("redfish_username", "User name"),
    Option("redfish_password", "Password", secret=True),
    Option("redfish_verify_ca", "Verify the certificate: true, false, or a path", "bool-or-path",
           True),
    Option("redfish_auth_type", "Authentication; auto tries a session first", "choice", "auto",
           choices=("auto", "session", "basic", "none")),
    Option("redfish_root_prefix", "Path of the service root", default="/redfish/v1"),
)  # fmt: skip


def _network_boot(context: DriverContext) -> object:
    return IpxeBoot(RedfishManagement(context))


def _http_boot(context: DriverContext) -> object:
    return IpxeBoot(RedfishManagement(context), BootDevice.UEFIHTTP)


BOOT_OPTIONS = (*RAMDISK_OPTIONS, PERSISTENT)
MEDIA_OPTIONS = (*RAMDISK_OPTIONS, *ISO_OPTIONS)
POWER = InterfaceSpec("power", "redfish", RedfishPower, OPTIONS, PREFIXES)
MANAGEMENT = InterfaceSpec("management", "redfish", RedfishManagement, OPTIONS, PREFIXES)
IPXE_BOOT = InterfaceSpec("boot", "ipxe", _network_boot, BOOT_OPTIONS)
PXE_BOOT = InterfaceSpec("boot", "pxe", _network_boot, BOOT_OPTIONS)
HTTP_IPXE_BOOT = InterfaceSpec("boot", "http-ipxe", _http_boot, BOOT_OPTIONS)
HTTP_BOOT = InterfaceSpec("boot", "http", _http_boot, BOOT_OPTIONS)
BOOTS = (IPXE_BOOT, PXE_BOOT, HTTP_IPXE_BOOT, HTTP_BOOT)
MEDIA_BOOT = InterfaceSpec("boot", "redfish-virtual-media", MediaBoot, MEDIA_OPTIONS)
HTTPS_BOOT = InterfaceSpec("boot", "redfish-https", HttpsBoot, MEDIA_OPTIONS)
RAID = InterfaceSpec("raid", "redfish", RedfishRaid, OPTIONS, PREFIXES)
BIOS = InterfaceSpec("bios", "redfish", RedfishBios, OPTIONS, PREFIXES)
FIRMWARE = InterfaceSpec("firmware", "redfish", RedfishFirmware, OPTIONS, PREFIXES)
INSPECT = InterfaceSpec("inspect", "redfish", RedfishInspect, OPTIONS, PREFIXES)
VENDOR = InterfaceSpec("vendor", "redfish", RedfishVendor, OPTIONS, PREFIXES)
#: Those that upstream calls idrac-… in the hardware type idrac.
DELLS = (POWER, MANAGEMENT, MEDIA_BOOT, RAID, BIOS, INSPECT, VENDOR)
