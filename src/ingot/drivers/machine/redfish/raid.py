"""RAID over Redfish: volumes of the storage controllers are made and deleted out of band.

Controllers that work while the machine runs do it at once; others take the order and carry it out at
the next start. Then the step asks for a restart and watches the service's tasks. A step that is run
again makes only what is not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine import raid
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.client import Reply, ResourceMissing
from ingot.drivers.machine.redfish.drives import (
    GIB,
    LEVELS,
    NAMES,
    Storage,
    Volume,
    choose,
    drive_of,
)
from ingot.drivers.machine.redfish.system import Systems, links
from ingot.drivers.machine.redfish.tasks import apply_time, task_path, unfinished
from ingot.drivers.machine.types import Access, StepInfo, StepOutcome
from ingot.drivers.shape import Json, as_list, as_map, is_map, items, link, strings, text

SUPPORT = "@Redfish.OperationApplyTimeSupport"
APPLY_TIME = "@Redfish.OperationApplyTime"
#: Controllers that tell no time usually want a restart when they do not do it at once.
RESTARTS = ("", "OnReset", "AtMaintenanceWindowStart", "InMaintenanceWindowOnReset")
POLL = 10.0
VOLUME_TYPES = {
    "NonRedundant": "RAID0",
    "Mirrored": "RAID1",
    "StripedWithParity": "RAID5",
    "SpannedMirrors": "RAID10",
    "SpannedStripesWithParity": "RAID50",
}


class RedfishRaid:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    def steps(self) -> tuple[StepInfo, ...]:
        return (
            StepInfo("raid", "create_configuration", argsinfo=raid.CREATE_ARGS, kinds=("clean",)),
            StepInfo("raid", "delete_configuration"),
            StepInfo(
                "raid", "apply_configuration", argsinfo=raid.APPLY_ARGS, kinds=("deploy", "service")
            ),
        )

    def logical_disk_properties(self) -> Mapping[str, str]:
        return raid.LOGICAL_DISK_PROPERTIES

    def problems(self, raid_config: Mapping[str, object]) -> tuple[str, ...]:
        found = list(raid.problems(raid_config))
        disks = [disk for disk in as_list(raid_config.get("logical_disks")) if is_map(disk)]
        for number, disk in enumerate(disks, 1):
            if disk.get("interface_type") == "scsi":
                found.append(f"logical disk {number}: Redfish knows no interface_type scsi")
            if disk.get("size_gb") == "MAX" and not disk.get("physical_disks"):
                found.append(f"logical disk {number}: size_gb MAX needs physical_disks")
            if disk.get("raid_level") not in LEVELS:
                found.append(
                    f"logical disk {number}: Redfish has no level {disk.get('raid_level')}"
                )
        return tuple(found)

    async def run(self, access: Access, step: str, args: Mapping[str, object]) -> StepOutcome:
        if step == "delete_configuration":
            return await self._go_on(access, args, {"delete": True, "create": False})
        if step not in ("create_configuration", "apply_configuration"):
            raise Unsupported(f"there is no raid step {step}")
        wrong = self.problems(as_map(args.get("raid_config")))
        if wrong:
            raise Refused("; ".join(wrong), next_action="Correct target_raid_config.")
        raid.wanted(as_map(args.get("raid_config")), args)
        # Upstream's defaults: create_configuration keeps what is there, apply_configuration does not.
        default = step == "apply_configuration"
        delete = args.get("delete_existing", default) is True
        return await self._go_on(access, args, {"delete": delete, "create": True})

    async def resume(
        self, access: Access, step: str, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        left = await unfinished(self._systems.client, access, strings(memo, "tasks"))
        if left.paths:
            # A task that waits although a start was not thought to be needed gets one.
            restart = left.waits and not memo.get("restarted")
            more = {**memo, "tasks": list(left.paths), "restarted": True}
            return StepOutcome(False, more if restart else memo, restart, POLL, left.note)
        return await self._go_on(access, args, {**memo, "tasks": []})

    async def _go_on(
        self, access: Access, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome:
        """Give the next orders; wait where they are not carried out at once."""
        if memo.get("delete"):
            outcome = await self._delete(access, memo)
            if outcome is not None:
                return outcome
        memo = {**memo, "delete": False}
        if memo.get("create"):
            outcome = await self._create(access, args, memo)
            if outcome is not None:
                return outcome
        return StepOutcome(raid_config={"logical_disks": await self._logical_disks(access)})

    async def _delete(self, access: Access, memo: Mapping[str, object]) -> StepOutcome | None:
        """Order the deletion of all volumes; None when none is there (any more)."""
        tasks: list[str] = []
        restart = False
        for storage in await self._storages(access):
            collection = (await self._systems.client.get(access, storage.volumes)).body
            for path, volume in await self._volumes(access, storage):
                if not _is_raid(volume):
                    continue
                told = volume if SUPPORT in volume else collection
                when = apply_time(told, SUPPORT, "Immediate", "OnReset")
                body: Json | None = {APPLY_TIME: when} if when else None
                reply = await self._systems.client.call(access, "DELETE", path, body)
                if task := task_path(reply):
                    tasks.append(task)
                    restart = restart or when in RESTARTS
        if not tasks:
            return None
        note = f"{len(tasks)} volumes are being deleted"
        if any(task in strings(memo, "seen") for task in tasks):
            raise Refused("the service deletes the same volumes again and again")
        more = {**memo, "tasks": tasks, "seen": tasks, "restarted": restart}
        return StepOutcome(False, more, restart=restart, wait=POLL, note=note)

    async def _create(
        self, access: Access, args: Mapping[str, object], memo: Mapping[str, object]
    ) -> StepOutcome | None:
        """Order what is missing, one volume per controller at a time; None when all are there."""
        wanted = raid.wanted(as_map(args.get("raid_config")), args)
        storages = await self._storages(access)
        there = await self._present(access, storages)
        missing = [disk for disk in wanted if not _take(there, disk)]
        rounds = int(str(memo.get("rounds") or 0)) + 1
        if missing and rounds > len(wanted) + 1:
            raise Refused(
                f"{len(missing)} volumes were ordered, but the service does not show them",
                next_action="Look at the controller's own log.",
            )
        tasks: list[str] = []
        restart = False
        busy: set[str] = set()
        for volume in choose(missing, storages):
            if volume.storage.path in busy:
                continue
            reply, when = await self._make(access, volume)
            if task := task_path(reply):
                tasks.append(task)
                busy.add(volume.storage.path)
                restart = restart or when in RESTARTS
        if not tasks:
            return None
        more = {**memo, "tasks": tasks, "rounds": rounds, "restarted": restart}
        note = f"{len(tasks)} volumes are being made"
        return StepOutcome(False, more, restart=restart, wait=POLL, note=note)

    async def _make(self, access: Access, volume: Volume) -> tuple[Reply, str]:
        """Order one; the reply, and when the controller will do it."""
        client = self._systems.client
        collection = (await client.get(access, volume.storage.volumes)).body
        when = apply_time(collection, SUPPORT, "Immediate", "OnReset")
        body = volume.payload()
        if when:
            body[APPLY_TIME] = when
        return await client.post(access, volume.storage.volumes, body), when

    # -- reading -----------------------------------------------------------------------------

    async def _storages(self, access: Access) -> list[Storage]:
        """Controllers that can make volumes, with their disks."""
        _, system, _ = await self._systems.read(access)
        collection = link(system, "Storage")
        if not collection:
            raise Unsupported("the service tells of no storage controllers")
        found: list[Storage] = []
        for path in await self._systems.members(access, collection):
            body = await self._there(access, path)
            if body is None:
                continue
            volumes = link(body, "Volumes")
            levels = _levels(body)
            if not volumes or levels == ():
                continue
            places = links(body, "Drives")
            told = [(place, await self._there(access, place)) for place in places]
            drives = [drive_of(drive, place) for place, drive in told if drive is not None]
            ident = text(body, "Id") or path.rsplit("/", 1)[-1]
            found.append(Storage(path, ident, volumes, tuple(drives), levels))
        if not found:
            raise Unsupported("no storage controller of this machine can make volumes")
        return found

    async def _volumes(self, access: Access, storage: Storage) -> list[tuple[str, Json]]:
        paths = await self._systems.members(access, storage.volumes)
        told = [(path, await self._there(access, path)) for path in paths]
        return [(path, volume) for path, volume in told if volume is not None]

    async def _there(self, access: Access, path: str) -> Json | None:
        """A resource that may be gone (404). A service that refuses to show it is not to be worked with."""
        try:
            return (await self._systems.client.get(access, path)).body
        except ResourceMissing:
            return None

    async def _logical_disks(self, access: Access) -> list[Json]:
        """What is there now, in the Bare Metal API's form."""
        found: list[Json] = []
        for storage in await self._storages(access):
            for path, volume in await self._volumes(access, storage):
                if not _is_raid(volume):
                    continue
                size = volume.get("CapacityBytes")
                found.append(
                    {
                        "id": text(volume, "Id") or path.rsplit("/", 1)[-1],
                        "name": text(volume, "Name"),
                        "controller": storage.id,
                        "size_gb": size // GIB if isinstance(size, int) else 0,
                        "raid_level": NAMES.get(_level(volume), ""),
                    }
                )
        return found

    async def _present(self, access: Access, storages: list[Storage]) -> list[Json]:
        found: list[Json] = []
        for storage in storages:
            found += [body for _, body in await self._volumes(access, storage) if _is_raid(body)]
        return found


def _levels(body: Json) -> tuple[str, ...] | None:
    """RAID types of a storage's first controller; () for one that only passes disks through."""
    controllers = items(body, "StorageControllers")
    if not controllers:
        return None
    kinds = controllers[0].get("SupportedRAIDTypes")
    return None if kinds is None else tuple(strings(controllers[0], "SupportedRAIDTypes"))


def _level(volume: Json) -> str:
    """Redfish's name of a volume's RAID level; older services say it by VolumeType alone."""
    return text(volume, "RAIDType") or VOLUME_TYPES.get(text(volume, "VolumeType"), "")


def _is_raid(volume: Json) -> bool:
    """Disks that are only passed through are shown as volumes by some services."""
    return bool(text(volume, "RAIDType")) or text(volume, "VolumeType") not in ("", "RawDevice")


def _take(there: list[Json], disk: Json) -> bool:
    """Whether a volume like this is there; it then counts for no other one."""
    name, level = text(disk, "volume_name"), LEVELS[str(disk["raid_level"])].name
    for volume in there:
        same_name = not name or text(volume, "Name") == name
        if same_name and _level(volume) == level and _size_fits(volume, disk):
            there.remove(volume)
            return True
    return False


def _size_fits(volume: Json, disk: Json) -> bool:
    size, wanted = volume.get("CapacityBytes"), disk.get("size_gb")
    if wanted == "MAX" or not isinstance(size, int):
        return True
    # Controllers round to their stripes.
    return abs(size - int(str(wanted)) * GIB) <= max(GIB, size // 100)
