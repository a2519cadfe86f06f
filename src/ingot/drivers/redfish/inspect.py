"""Out-of-band inventory over Redfish, in the shape in which the agent posts its own."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.redfish.system import Systems
from ingot.drivers.shape import Json, child, items, link, text
from ingot.drivers.types import Access

GIB = 1 << 30


class RedfishInspect:
    uses_agent = False

    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    async def inspect(self, access: Access) -> Mapping[str, object]:
        """{"inventory": {interfaces, cpu, memory, disks, system_vendor, boot}}; unknowns left out.

        Disk and NIC names of the operating system are not known from outside: the service's own
        names stand in their place.
        """
        _, system, _ = await self._systems.read(access)
        memory = child(system, "MemorySummary").get("TotalSystemMemoryGiB")
        processors = child(system, "ProcessorSummary")
        inventory: Json = {
            "interfaces": await self._interfaces(access, system),
            "cpu": {
                "model_name": text(processors, "Model"),
                "count": processors.get("LogicalProcessorCount") or processors.get("Count"),
                "socket_count": processors.get("Count"),
                "architecture": "x86_64",
            },
            "disks": await self._disks(access, system),
            "system_vendor": {
                "manufacturer": text(system, "Manufacturer"),
                "product_name": text(system, "Model"),
                "serial_number": text(system, "SerialNumber"),
            },
            "boot": {"current_boot_mode": _mode(system)},
            "hostname": text(system, "HostName"),
        }
        if isinstance(memory, int | float):
            size = int(memory * GIB)
            inventory["memory"] = {"total": size, "physical_mb": size >> 20}
        return {"inventory": inventory}

    async def _interfaces(self, access: Access, system: Json) -> list[Json]:
        nics = await self._each(access, link(system, "EthernetInterfaces"))
        return [
            {
                "name": text(nic, "Id"),
                "mac_address": (
                    text(nic, "PermanentMACAddress") or text(nic, "MACAddress")
                ).lower(),
                "has_carrier": _carrier(nic),
                "speed_mbps": nic.get("SpeedMbps"),
            }
            for nic in nics
            if text(nic, "MACAddress") or text(nic, "PermanentMACAddress")
        ]

    async def _disks(self, access: Access, system: Json) -> list[Json]:
        disks: list[Json] = []
        for storage in await self._each(access, link(system, "Storage")):
            for item in items(storage, "Drives"):
                drive = (await self._systems.client.get(access, text(item, "@odata.id"))).body
                disks.append(
                    {
                        "name": text(drive, "Name") or text(drive, "Id"),
                        "model": text(drive, "Model"),
                        "serial": text(drive, "SerialNumber"),
                        "size": drive.get("CapacityBytes"),
                        "rotational": text(drive, "MediaType") == "HDD",
                    }
                )
        if disks:
            return disks
        for simple in await self._each(access, link(system, "SimpleStorage")):
            disks += [
                {"name": text(d, "Name"), "model": text(d, "Model"), "size": d.get("CapacityBytes")}
                for d in items(simple, "Devices")
            ]
        return disks

    async def _each(self, access: Access, collection: str) -> list[Json]:
        if not collection:
            return []
        try:
            return await self._systems.each(access, collection)
        except (Unsupported, Refused):
            return []


def _carrier(nic: Json) -> bool | None:
    """Many controllers do not say; that is not "no"."""
    status = text(nic, "LinkStatus")
    return status == "LinkUp" if status else None


def _mode(system: Json) -> str:
    return "bios" if text(child(system, "Boot"), "BootSourceOverrideMode") == "Legacy" else "uefi"
