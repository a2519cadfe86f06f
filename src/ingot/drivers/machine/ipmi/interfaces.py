"""The ipmi family's rows of the table, with their options (names as in the Bare Metal API)."""

from __future__ import annotations

from ingot.drivers.machine.agent.interfaces import RAMDISK_OPTIONS
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.ipmi.console import IpmiConsole, IpmiWebsocketConsole
from ingot.drivers.machine.ipmi.management import IpmiManagement
from ingot.drivers.machine.ipmi.power import IpmiPower
from ingot.drivers.machine.ipmi.vendor import IpmiVendor
from ingot.drivers.machine.ipxe.boot import PERSISTENT, IpxeBoot
from ingot.drivers.machine.options import Option
from ingot.drivers.machine.registry import InterfaceSpec

PRIVILEGES = ("ADMINISTRATOR", "OPERATOR", "USER", "CALLBACK")
PREFIXES = ("ipmi_",)
OPTIONS = (
    Option("ipmi_address", "IP address or host name of the controller", required=True, host=True),
    Option("ipmi_username", "User name"),
    Option("ipmi_password", "Password, at most 20 bytes", secret=True),
    Option("ipmi_port", "UDP port of the controller", "int", 623, minimum=1, maximum=65535),
    Option("ipmi_priv_level", "Privilege level", "choice", "ADMINISTRATOR", choices=PRIVILEGES),
    Option("ipmi_protocol_version", "IPMI version", "choice", "2.0", choices=("1.5", "2.0")),
    Option("ipmi_cipher_suite", "Cipher suite; 17, then 3 is tried if not given", "int", minimum=0,
           maximum=255),
    Option("ipmi_hex_kg_key", "Kg key for the session, 40 hexadecimal digits", secret=True),
    Option("ipmi_disable_boot_timeout", "Keep the boot device longer than 60 s", "bool", True),
    Option("ipmi_terminal_port", "TCP port of the console; from console.ports if not given", "int"),
)  # fmt: skip


def _boot(context: DriverContext) -> object:
    return IpxeBoot(IpmiManagement(context))


POWER = InterfaceSpec("power", "ipmitool", IpmiPower, OPTIONS, PREFIXES)
MANAGEMENT = InterfaceSpec("management", "ipmitool", IpmiManagement, OPTIONS, PREFIXES)
CONSOLE = InterfaceSpec("console", "ipmitool-sol", IpmiConsole, OPTIONS, PREFIXES)
SOCAT_CONSOLE = InterfaceSpec("console", "ipmitool-socat", IpmiConsole, OPTIONS, PREFIXES)
WEB_CONSOLE = InterfaceSpec(
    "console", "ipmitool-websocket", IpmiWebsocketConsole, OPTIONS, PREFIXES
)
CONSOLES = (CONSOLE, SOCAT_CONSOLE, WEB_CONSOLE)
VENDOR = InterfaceSpec("vendor", "ipmitool", IpmiVendor, OPTIONS, PREFIXES)
#: IPMI knows one device for the network; whether that is PXE or HTTP, the firmware's own order decides.
BOOTS = tuple(
    InterfaceSpec("boot", name, _boot, (*RAMDISK_OPTIONS, PERSISTENT))
    for name in ("ipxe", "pxe", "http-ipxe", "http")
)
