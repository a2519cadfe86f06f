"""Out-of-band inventory over Redfish, in the shape in which the agent posts its own."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.nics import has_carrier, is_enabled, own_cards
from ingot.drivers.machine.redfish.parts import INSPECTION_PATIENCE, ResourceReader
from ingot.drivers.machine.redfish.system import Systems, links
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, child, items, link, strings, text, whole
from ingot.kit.http.untrusted import words

GIB = 1 << 30
#: Each is two questions and more; a controller has other things to do.
MOST_DEVICES = 32
#: More than this no machine has; a number beyond is a mistake of the service, and unknown.
MOST_THREADS, MOST_SPEED, MOST_GIB, MOST_BYTES = 1 << 20, 1 << 24, 1 << 24, 1 << 60
#: Of a text, and of a list inside a document.
LONGEST_TEXT, MOST_ITEMS = 255, 256
_MODES = {"UEFI": "uefi", "Legacy": "bios"}
#: Redfish's InstructionSet -> the agent's names.
_ARCHITECTURES = {
    "x86": "i686",
    "x86-64": "x86_64",
    "IA-64": "ia64",
    "ARM-A32": "arm",
    "ARM-A64": "aarch64",
    "MIPS32": "mips",
    "MIPS64": "mips64",
}
_LLDP = {
    "ChassisId": "switch_chassis_id",
    "PortId": "switch_port_id",
    "SystemName": "switch_system_name",
    "SystemDescription": "switch_system_description",
    "ManagementVlanId": "switch_vlan_id",
}


class RedfishInspect:
    uses_agent = False

    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    async def inspect(self, access: Access) -> Mapping[str, object]:
        """{"inventory": {interfaces, cpu, memory, disks, system_vendor, boot, pci_devices,
        storage_controllers}, "parsed_lldp": {port: names and values}, "untold": [lines]}; unknowns left out, and in
        untold what the service did not tell, and why.

        Disk and NIC names of the operating system are not known from outside: the service's own
        names stand in their place. Parts that a service does not have are no fault.
        """
        _, system, _ = await self._systems.read(access)
        parts = ResourceReader(self._systems, INSPECTION_PATIENCE)
        data = await _Reading(parts, access, system).data()
        parts.some()
        return {**data, "untold": parts.words()} if parts.untold else data


class _Reading:
    """One inspection of one machine."""

    def __init__(self, parts: ResourceReader, access: Access, system: Json) -> None:
        self._parts = parts
        self._access = access
        self._system = system

    async def data(self) -> Json:
        """As `RedfishInspect.inspect`."""
        parts, access, system = self._parts, self._access, self._system
        storages = await self._each(link(system, "Storage"))
        drives = [await parts.present(access, links(one, "Drives")) for one in storages]
        inventory: Json = {
            "interfaces": await self._interfaces(),
            "cpu": await self._cpu(),
            "disks": [_disk(drive) for found in drives for drive in found]
            or await self._simple_disks(),
            "system_vendor": {
                "manufacturer": _said(system, "Manufacturer"),
                "product_name": _said(system, "Model"),
                "serial_number": _said(system, "SerialNumber"),
                "system_uuid": _said(system, "UUID"),
            },
            "boot": _boot(system),
            "hostname": _said(system, "HostName"),
        }
        if size := _memory(system):
            inventory["memory"] = {"total": size, "physical_mb": size >> 20}
        if devices := await self._pci():
            inventory["pci_devices"] = devices
        if storages:
            inventory["storage_controllers"] = [
                _controller(storage, found) for storage, found in zip(storages, drives, strict=True)
            ]
        data: Json = {"inventory": inventory}
        if neighbours := await self._neighbours():
            data["parsed_lldp"] = neighbours
        return data

    async def _cpu(self) -> Json:
        summary = child(self._system, "ProcessorSummary")
        paths = await self._members(link(self._system, "Processors"))
        chips = await self._parts.present(self._access, paths)
        own = [one for one in chips if _is_processor(one)]
        first = own[0] if own else Json()
        cpu: Json = {
            "model_name": _said(first, "Model") or _said(summary, "Model"),
            "count": _threads(own if len(chips) == len(paths) else [], summary),
            "socket_count": whole(summary.get("Count"), MOST_THREADS),
            "architecture": _ARCHITECTURES.get(_said(first, "InstructionSet"), ""),
        }
        if speed := whole(first.get("MaxSpeedMHz"), MOST_SPEED):
            cpu["frequency"] = speed
        return cpu

    async def _interfaces(self) -> list[Json]:
        """The machine's own cards; enabled: false for one that the firmware hides from the machine."""
        nics = await self._each(link(self._system, "EthernetInterfaces"))
        return [
            {
                "name": _said(nic, "Id") or mac,
                "mac_address": mac,
                "has_carrier": has_carrier(nic),
                "speed_mbps": whole(nic.get("SpeedMbps"), MOST_SPEED),
                "enabled": is_enabled(nic),
            }
            for mac, nic in own_cards(nics)
        ]

    async def _simple_disks(self) -> list[Json]:
        return [
            {
                "name": _said(d, "Name"),
                "model": _said(d, "Model"),
                "size": whole(d.get("CapacityBytes"), MOST_BYTES),
            }
            for simple in await self._each(link(self._system, "SimpleStorage"))
            for d in items(simple, "Devices")[:MOST_ITEMS]
        ]

    async def _pci(self) -> list[Json]:
        """PCI functions with the agent's names; where they are plugged in is not told."""
        found: list[Json] = []
        paths = links(self._system, "PCIeDevices")[:MOST_DEVICES]
        for device in await self._parts.present(self._access, paths):
            functions = link(device, "PCIeFunctions")
            found += [_function(one) for one in await self._each(functions)]
        return [one for one in found if one]

    async def _neighbours(self) -> Json:
        """What switches said to the network ports (LLDP), with the names of the parse-lldp hook."""
        found: Json = {}
        for body in await self._parts.linked(self._access, self._system, "Chassis"):
            for adapter in await self._each(link(body, "NetworkAdapters")):
                for port in await self._each(link(adapter, "Ports")):
                    heard = child(port, "Ethernet", "LLDPReceive")
                    told = {n: value for key, n in _LLDP.items() if (value := _heard(heard, key))}
                    if told and _said(port, "Id"):
                        found[_said(port, "Id")] = told
        return found

    async def _members(self, collection: str) -> list[str]:
        return await self._parts.members(self._access, collection) if collection else []

    async def _each(self, collection: str) -> list[Json]:
        return await self._parts.present(self._access, await self._members(collection))


def _said(body: Json, name: str) -> str:
    """A text as it may be kept and shown."""
    return words(text(body, name), LONGEST_TEXT)


def _is_processor(chip: Json) -> bool:
    """Accelerators are listed beside processors, and empty sockets too."""
    kind = _said(chip, "ProcessorType")
    return kind in ("", "CPU") and _said(child(chip, "Status"), "State") != "Absent"


def _threads(chips: list[Json], summary: Json) -> int:
    """Logical processors, as an operating system would count them; 0 where that is not told.

    ProcessorSummary.Count counts sockets, and where there are accelerators those too.
    """
    told = [whole(chip.get("TotalThreads"), MOST_THREADS) for chip in chips]
    known = [count for count in told if count]
    if told and len(known) == len(told):
        return sum(known)
    return whole(summary.get("LogicalProcessorCount"), MOST_THREADS) or 0


def _memory(system: Json) -> int | None:
    """Octets."""
    told = child(system, "MemorySummary").get("TotalSystemMemoryGiB")
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told <= MOST_GIB:
        return None
    return int(told * GIB)


def _heard(told: Json, name: str) -> object:
    """A text or a whole number of LLDP; "" for everything else."""
    return whole(told.get(name), MOST_THREADS) or _said(told, name)


def _boot(system: Json) -> Json:
    mode = _MODES.get(_said(child(system, "Boot"), "BootSourceOverrideMode"))
    return {"current_boot_mode": mode} if mode else {}


def _disk(drive: Json) -> Json:
    return {
        "name": _said(drive, "Name") or _said(drive, "Id"),
        "model": _said(drive, "Model"),
        "vendor": _said(drive, "Manufacturer"),
        "serial": _said(drive, "SerialNumber"),
        "size": whole(drive.get("CapacityBytes"), MOST_BYTES),
        "rotational": _said(drive, "MediaType") == "HDD",
    }


def _controller(storage: Json, drives: list[Json]) -> Json:
    """A storage resource with its controllers and drives, as upstream's inventory has them."""
    return {
        "id": _said(storage, "Id"),
        "name": _said(storage, "Name"),
        "storage_controllers": [
            {
                "member_id": _said(one, "MemberId"),
                "name": _said(one, "Name"),
                "raid_types": _list(one, "SupportedRAIDTypes"),
                "speed_gbps": _speed(one),
                "controller_protocols": _list(one, "SupportedControllerProtocols"),
                "device_protocols": _list(one, "SupportedDeviceProtocols"),
            }
            for one in items(storage, "StorageControllers")[:MOST_ITEMS]
        ],
        "drives": [
            {
                "id": _said(drive, "Id"),
                "name": _said(drive, "Name"),
                "size": whole(drive.get("CapacityBytes"), MOST_BYTES),
                "media_type": _said(drive, "MediaType"),
                "serial_number": _said(drive, "SerialNumber"),
                "manufacturer": _said(drive, "Manufacturer"),
                "model": _said(drive, "Model"),
                "revision": _said(drive, "Revision"),
                "protocol": _said(drive, "Protocol"),
            }
            for drive in drives
        ],
    }


def _speed(controller: Json) -> float | None:
    told = controller.get("SpeedGbps")
    if not isinstance(told, int | float) or isinstance(told, bool):
        return None
    return told if 0 < told < MOST_SPEED else None


def _list(body: Json, name: str) -> list[str]:
    return [words(one, LONGEST_TEXT) for one in strings(body, name)[:MOST_ITEMS]]


def _function(function: Json) -> Json:
    names = {
        "class": "DeviceClass",
        "product_id": "DeviceId",
        "vendor_id": "VendorId",
        "subsystem_id": "SubsystemId",
        "subsystem_vendor_id": "SubsystemVendorId",
        "revision": "RevisionId",
    }
    return {
        ours: _said(function, theirs) for ours, theirs in names.items() if _said(function, theirs)
    }
