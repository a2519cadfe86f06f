"""Plain values of the simulated rack: what a server is made of and what happened to it.

Nothing here knows a protocol. `PowerBackend` is the seam between a BMC and the machine behind
it: the simulated `Machine` is one body; another part of the lab may put the same BMCs in front
of QEMU by giving the same few methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class PowerState(StrEnum):
    ON = "on"
    OFF = "off"


class BootDevice(StrEnum):
    """`NONE` means: no override, the firmware's own order."""

    NONE = "none"
    NETWORK = "network"
    DISK = "disk"
    CDROM = "cdrom"
    HTTP = "http"
    SETUP = "setup"


class BootMode(StrEnum):
    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True)
class BootSetting:
    """A boot override as a BMC holds it. `once` is used up by the next boot.

    `http_uri`: what UEFI's HTTP boot fetches; empty when DHCP shall say.
    """

    device: BootDevice = BootDevice.NONE
    once: bool = False
    mode: BootMode = BootMode.UEFI
    http_uri: str = ""


@dataclass(frozen=True)
class Nic:
    name: str
    mac: str
    speed_mbps: int
    pci_address: str
    cabled: bool = True


@dataclass(frozen=True)
class Disk:
    """`size` in bytes."""

    name: str
    size: int
    model: str
    serial: str
    wwn: str
    rotational: bool


@dataclass(frozen=True)
class Identity:
    """What the firmware tells about itself, in DMI and through the BMC."""

    uuid: str
    serial: str
    manufacturer: str
    model: str
    bmc_mac: str


@dataclass(frozen=True)
class Hardware:
    """`memory_mb` in MiB."""

    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    cpus: int
    sockets: int
    cpu_model: str
    arch: str
    memory_mb: int
    firmware: BootMode


@dataclass(frozen=True)
class Timings:
    """Ranges in simulated seconds; each use draws evenly between the two ends.

    The defaults are those of a common server: minutes of POST dominate everything else.
    """

    power_on: tuple[float, float] = (1, 4)
    power_off: tuple[float, float] = (1, 5)
    soft_off: tuple[float, float] = (8, 30)
    post: tuple[float, float] = (90, 180)
    pxe: tuple[float, float] = (4, 12)
    agent_start: tuple[float, float] = (25, 60)
    os_start: tuple[float, float] = (15, 40)
    erase_metadata: tuple[float, float] = (3, 10)
    erase_devices: tuple[float, float] = (60, 240)
    bootloader: tuple[float, float] = (5, 20)
    short_command: tuple[float, float] = (0.5, 2)
    write_mb_per_s: tuple[float, float] = (150, 900)
    bmc_start: tuple[float, float] = (40, 90)


@dataclass(frozen=True)
class TimelineEntry:
    """One line of a machine's life. `at` in simulated seconds since the fleet began."""

    at: float
    what: str
    detail: str = ""


@dataclass(frozen=True)
class BmcCommand:
    """A state-changing command that arrived at a BMC, counted at the wire.

    `source` is the client's `address:port`; `client` its User-Agent or IPMI user; `session`
    the Redfish session or IPMI session it came by ("basic" without one). `wall` is Unix time,
    `at` simulated seconds, `outcome` what the BMC answered (`done`, `ignored`, `refused …`).
    """

    at: float
    wall: float
    protocol: str
    command: str
    source: str
    client: str
    session: str
    outcome: str


@dataclass(frozen=True)
class DestructiveAct:
    """Something that destroyed data on a machine's disk, and who asked for it.

    `node` is the uuid in the command's own `node` argument (what the asker believes this
    machine to be), `source` the asker's `address:port`.
    """

    at: float
    wall: float
    act: str
    disk: str
    node: str
    source: str
    detail: str = ""


@dataclass(frozen=True)
class WrittenImage:
    """What an agent put on a disk. `complete` is false from the first byte to the last."""

    image_id: str
    digest: str
    size: int
    configdrive_digest: str
    complete: bool


class SerialSession(Protocol):
    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...


class PowerBackend(Protocol):
    """What a BMC needs of the machine behind it. Commands return when accepted, not when done."""

    @property
    def identity(self) -> Identity: ...
    @property
    def hardware(self) -> Hardware: ...
    @property
    def boots(self) -> int:
        """How often the machine has started."""
        ...

    async def power_state(self) -> PowerState: ...
    async def power_on(self) -> None: ...
    async def power_off(self) -> None: ...
    async def soft_off(self) -> None: ...
    async def reset(self) -> None: ...
    async def boot_setting(self) -> BootSetting: ...
    async def set_boot(self, setting: BootSetting) -> None: ...
    async def set_media(self, url: str | None) -> None: ...
    def open_serial(self, sink: Callable[[bytes], None]) -> SerialSession: ...
