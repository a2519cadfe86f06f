"""Choosing physical disks for RAID volumes. Pure: what a controller tells in, payloads out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ingot.drivers.faults import Refused
from ingot.drivers.shape import Json, as_list, child, is_map, items, text

GIB = 1 << 30


@dataclass(frozen=True)
class Level:
    """A RAID level: Redfish's name, disks it needs at least, how many disks' room parity takes."""

    name: str
    least: int
    most: int = 1000
    overhead: int = 0
    spans: int = 1


LEVELS = {
    "0": Level("RAID0", 1),
    "1": Level("RAID1", 2, 2, overhead=1),
    "5": Level("RAID5", 3, overhead=1),
    "6": Level("RAID6", 4, overhead=2),
    "1+0": Level("RAID10", 4, spans=2, overhead=1),
    "5+0": Level("RAID50", 6, spans=2, overhead=1),
    "6+0": Level("RAID60", 8, spans=2, overhead=2),
}
NAMES = {level.name: key for key, level in LEVELS.items()}


@dataclass(frozen=True)
class Drive:
    """A physical disk. size in bytes; free: not in any volume yet."""

    path: str
    id: str
    size: int
    kind: str
    protocol: str
    free: bool
    name: str = ""


@dataclass(frozen=True)
class Storage:
    """A controller with its disks. levels: RAID levels that it can do; None when it does not say."""

    path: str
    id: str
    volumes: str
    drives: tuple[Drive, ...]
    levels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Volume:
    """A volume to be made. size: bytes, None for all that is left."""

    storage: Storage
    level: str
    drives: tuple[Drive, ...]
    size: int | None
    name: str = ""

    def payload(self) -> Json:
        """The body of the POST that makes it (DMTF schema Volume)."""
        body: Json = {
            "RAIDType": LEVELS[self.level].name,
            "Links": {"Drives": [{"@odata.id": drive.path} for drive in self.drives]},
        }
        if self.size is not None:
            body["CapacityBytes"] = self.size
        if self.name:
            body["Name"] = self.name
        return body


@dataclass
class _Reserved:
    """What is still to be had while volumes are being chosen."""

    used: set[str] = field(default_factory=set[str])
    shared: set[str] = field(default_factory=set[str])


def choose(wanted: Sequence[Json], storages: Sequence[Storage]) -> list[Volume]:
    """The volumes that a configuration asks for. Refused, naming the disk, when one cannot be had.

    Disks that are named are taken first, so that the choice of others leaves them alone.
    """
    reserved = _Reserved()
    order = sorted(range(len(wanted)), key=lambda n: (not wanted[n].get("physical_disks"), n))
    made: dict[int, Volume] = {}
    for number in order:
        made[number] = _volume(number + 1, wanted[number], storages, reserved)
    return [made[number] for number in range(len(wanted))]


def _volume(number: int, disk: Json, storages: Sequence[Storage], reserved: _Reserved) -> Volume:
    key = str(disk.get("raid_level"))
    level = LEVELS.get(key)
    if level is None:
        raise Refused(f"logical disk {number}: Redfish has no RAID level {key}")
    size = None if disk.get("size_gb") == "MAX" else int(str(disk.get("size_gb"))) * GIB
    reasons: list[str] = []
    for storage in storages:
        if disk.get("controller") not in (None, storage.id, storage.path):
            continue
        if storage.levels is not None and level.name not in storage.levels:
            reasons.append(f"{storage.id} has no {level.name}")
            continue
        drives = _drives(disk, level, size, storage, reserved)
        if isinstance(drives, str):
            reasons.append(f"{storage.id}: {drives}")
            continue
        shared = bool(disk.get("share_physical_disks"))
        (reserved.shared if shared else reserved.used).update(drive.path for drive in drives)
        return Volume(storage, key, drives, size, text(disk, "volume_name"))
    raise Refused(
        f"logical disk {number} ({key}, {disk.get('size_gb')} GiB) cannot be made: "
        + ("; ".join(reasons) or "there is no such RAID controller"),
        next_action="Correct target_raid_config, or delete volumes that are in the way.",
    )


def _drives(
    disk: Json, level: Level, size: int | None, storage: Storage, reserved: _Reserved
) -> tuple[Drive, ...] | str:
    """The disks for it, or why there are none."""
    named = [str(name) for name in as_list(disk.get("physical_disks")) if not is_map(name)]
    if named:
        return _named(named, level, storage)
    pool = [drive for drive in storage.drives if _fits(drive, disk, reserved)]
    count = disk.get("number_of_physical_disks")
    least = int(str(count)) if count else level.least
    if least < level.least or least > level.most:
        return f"{level.name} needs {level.least} to {level.most} disks, not {least}"
    # Disks of one size, the smallest that do: large ones stay for those who need them.
    for capacity in sorted({drive.size for drive in pool}):
        alike = [drive for drive in pool if drive.size == capacity]
        most = least if count else min(len(alike), level.most)
        for number in range(least, most + 1):
            if number % level.spans or number > len(alike):
                continue
            if size is None or _capacity(level, number, capacity) >= size:
                return tuple(alike[:number])
    return f"not enough free disks for {level.name}" + (f" of {size // GIB} GiB" if size else "")


def _named(names: Sequence[str], level: Level, storage: Storage) -> tuple[Drive, ...] | str:
    known = {drive.id: drive for drive in storage.drives}
    known |= {drive.name: drive for drive in storage.drives if drive.name not in known}
    missing = [name for name in names if name not in known]
    if missing:
        return f"no disk {', '.join(missing)}"
    if not level.least <= len(names) <= level.most or len(names) % level.spans:
        return f"{level.name} needs {level.least} to {level.most} disks, not {len(names)}"
    return tuple(known[name] for name in names)


def _fits(drive: Drive, disk: Json, reserved: _Reserved) -> bool:
    if not drive.free or drive.path in reserved.used:
        return False
    if drive.path in reserved.shared and not disk.get("share_physical_disks"):
        return False
    kind, protocol = disk.get("disk_type"), disk.get("interface_type")
    return kind in (None, drive.kind) and protocol in (None, drive.protocol)


def _capacity(level: Level, disks: int, size: int) -> int:
    """Bytes that a volume over so many disks can hold."""
    if level.name in ("RAID1", "RAID10"):
        return disks // 2 * size
    return (disks - level.overhead * level.spans) * size


def drive_of(body: Mapping[str, object], path: str) -> Drive:
    """A disk as the service tells it."""
    volumes = items(child(body, "Links"), "Volumes")
    size = body.get("CapacityBytes")
    return Drive(
        path=path,
        id=text(body, "Id") or path.rsplit("/", 1)[-1],
        size=size if isinstance(size, int) else 0,
        kind=text(body, "MediaType").lower(),
        protocol=text(body, "Protocol").lower(),
        free=not volumes,
        name=text(body, "Name"),
    )
