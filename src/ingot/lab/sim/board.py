"""What a controller keeps of its machine besides power and boot: settings, volumes, firmware, tasks.

Changes that real machines make at their next start are made here when the machine has started once
more; long ones when their simulated time is over. `settle` brings everything up to date and is called
before every answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ingot.lab.sim.clock import Clock
from ingot.lab.sim.faults import Faults
from ingot.lab.sim.types import Disk, PowerBackend

GIB = 1 << 30
BIOS_DEFAULTS: dict[str, object] = {
    "BootMode": "Uefi",
    "LogicalProc": "Enabled",
    "ProcVirtualization": "Enabled",
    "SriovGlobalEnable": "Disabled",
    "MemTest": False,
    "PowerCapWatts": 800,
    "AssetTag": "",
    "SystemServiceTag": "fixed",
}
#: Disks behind the RAID controller, besides those that the machine boots from.
RAID_DRIVES = 6
RAID_DRIVE_BYTES = 960 * 10**9
LEVELS = {"RAID0": 1, "RAID1": 2, "RAID5": 3, "RAID6": 4, "RAID10": 4, "RAID50": 6}


@dataclass
class Task:
    """Work under way. ready: simulated time at which it may end. starts: machine starts it waits for."""

    ident: str
    name: str
    ready: float
    starts: int
    work: Callable[[], None]
    state: str = "Running"
    message: str = ""


@dataclass
class RaidVolume:
    ident: str
    name: str
    level: str
    size: int
    drives: tuple[str, ...]


def _nobody(event: dict[str, Any]) -> None: ...


@dataclass
class Board:
    """`backend` tells how often the machine has started; `faults` how the controller misbehaves."""

    backend: PowerBackend
    faults: Faults
    clock: Clock
    bios: dict[str, object] = field(default_factory=BIOS_DEFAULTS.copy)
    bios_ordered: dict[str, object] = field(default_factory=dict[str, object])
    secure_boot: bool = False
    secure_boot_ordered: bool | None = None
    keys: str = "Default"
    firmware: dict[str, str] = field(default_factory=lambda: {"bios": "2.14.1", "bmc": "7.10.30"})
    volumes: dict[str, RaidVolume] = field(default_factory=dict[str, RaidVolume])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    subscriptions: dict[str, dict[str, object]] = field(
        default_factory=dict[str, dict[str, object]]
    )
    emit: Callable[[dict[str, Any]], None] = _nobody
    """Whom events are told."""
    light: str = "Off"
    drive: str | None = None
    """What is in the second virtual drive, the stick."""
    _count: int = 0
    _bios_starts: int = 0
    _ejected: float = -1e9

    @property
    def starts(self) -> int:
        return self.backend.boots

    def settle(self) -> None:
        """Bring about what is due."""
        if self.bios_ordered and self.starts > self._bios_starts:
            if not self.faults.take("bios_not_applied"):
                self.bios.update(self.bios_ordered)
            self.bios_ordered = {}
        if self.secure_boot_ordered is not None and self.starts > self._bios_starts:
            self.secure_boot, self.secure_boot_ordered = self.secure_boot_ordered, None
        for task in self.tasks.values():
            due = self.starts >= task.starts and self.clock.now() >= task.ready
            if task.state in ("Running", "Pending") and due:
                self._end(task)
            elif task.state == "Running" and self.starts < task.starts:
                task.state = "Pending"

    def _end(self, task: Task) -> None:
        if self.faults.take("tasks_fail"):
            task.state, task.message = "Exception", "The operation failed: no space left."
            return
        task.work()
        task.state, task.message = "Completed", "The job completed successfully."

    # -- orders ------------------------------------------------------------------------------

    def order_bios(self, wanted: dict[str, object]) -> None:
        self.bios_ordered.update(wanted)
        self._bios_starts = self.starts

    def order_secure_boot(self, on: bool) -> None:
        self.secure_boot_ordered = on
        self._bios_starts = self.starts

    def begin(self, name: str, work: Callable[[], None], seconds: float, restart: bool) -> Task:
        """A task; restart: it waits for the machine's next start."""
        self._count += 1
        ident = f"JID_{self._count:012d}"
        starts = self.starts + (1 if restart else 0)
        made = Task(ident, name, self.clock.now() + seconds, starts, work)
        self.tasks[ident] = made
        return made

    def ejected(self) -> None:
        self._ejected = self.clock.now()

    @property
    def eject_goes_on(self) -> bool:
        return self.clock.now() - self._ejected < self.faults.eject_seconds

    # -- disks -------------------------------------------------------------------------------

    def raid_drives(self) -> list[Disk]:
        serial = self.backend.identity.serial
        return [
            Disk(f"Disk.Bay.{n}", RAID_DRIVE_BYTES, "SAS960", f"{serial}R{n}", "", rotational=False)
            for n in range(RAID_DRIVES)
        ]

    def volumes_of(self, drive: str) -> list[str]:
        return [volume.ident for volume in self.volumes.values() if drive in volume.drives]

    def new_volume(self, level: str, size: int | None, drives: tuple[str, ...], name: str) -> None:
        self._count += 1
        ident = f"Disk.Virtual.{self._count}"
        room = max(1, len(drives) - {"RAID5": 1, "RAID6": 2}.get(level, 0)) * RAID_DRIVE_BYTES
        if level in ("RAID1", "RAID10"):
            room = len(drives) // 2 * RAID_DRIVE_BYTES
        self.volumes[ident] = RaidVolume(ident, name or ident, level, size or room, drives)
