"""Virtual media over Redfish: find the CD drive, insert an ISO by URL, eject it."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.redfish.system import Systems
from ingot.drivers.shape import Json, child, link, strings, text
from ingot.drivers.types import Access

CD_KINDS = ("CD", "DVD")


class RedfishMedia:
    """Inserting and ejecting; both are safe to repeat."""

    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    async def insert(self, access: Access, iso_url: str) -> None:
        """Make `iso_url` the machine's CD, ejecting what else is there."""
        drive = await self._drive(access)
        if text(drive, "Image") == iso_url and drive.get("Inserted") is True:
            return
        if drive.get("Inserted") is True:
            await self._eject(access, drive)
        full: Json = {"Image": iso_url, "Inserted": True, "WriteProtected": True}
        action = text(child(drive, "Actions", "#VirtualMedia.InsertMedia"), "target")
        client = self._systems.client
        if not action:
            await client.patch(access, text(drive, "@odata.id"), full, text(drive, "@odata.etag"))
            return
        try:
            await client.post(access, action, full)
        except Refused:
            # Some services refuse the optional properties.
            await client.post(access, action, {"Image": iso_url})

    async def eject(self, access: Access) -> None:
        """Leave the CD drive empty; harmless when it is."""
        drive = await self._drive(access)
        if drive.get("Inserted") is not False or text(drive, "Image"):
            await self._eject(access, drive)

    async def _eject(self, access: Access, drive: Json) -> None:
        action = text(child(drive, "Actions", "#VirtualMedia.EjectMedia"), "target")
        client = self._systems.client
        if action:
            await client.post(access, action, {})
            return
        body: Json = {"Image": None, "Inserted": False}
        await client.patch(access, text(drive, "@odata.id"), body, text(drive, "@odata.etag"))

    async def _drive(self, access: Access) -> Json:
        _, system, _ = await self._systems.read(access)
        collections = [link(system, "VirtualMedia")]
        managers = await self._systems.linked(access, system, "ManagedBy")
        collections += [link(manager, "VirtualMedia") for manager in managers]
        for collection in collections:
            if not collection:
                continue
            for path in await self._systems.members(access, collection):
                drive = (await self._systems.client.get(access, path)).body
                if any(kind in strings(drive, "MediaTypes") for kind in CD_KINDS):
                    return {"@odata.id": path, **drive}
        raise Unsupported(
            "the service offers no virtual CD drive",
            next_action="Choose the boot interface ipxe.",
        )
