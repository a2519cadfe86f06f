"""Virtual media over Redfish: find a drive, insert an image by URL, eject it.

Services differ in what InsertMedia wants; the quirks handled here, with where people met them:
- drives hang on the System, on its Manager, or on both (Redfish moved them in 2022.1);
- some drives have no InsertMedia at all, or refuse it, and the next one works (Cisco UCS: launchpad
  2031595; OpenBMC's slots for the web console only);
- Inserted and WriteProtected are refused (Supermicro X11), TransferProtocolType or TransferMethod is
  demanded (Supermicro X12, Cisco), a user name is demanded although the URL needs none (NVIDIA DGX:
  launchpad 2071945), or the drive is changed by PATCH (Lenovo XCC);
- an eject goes on for a while after its answer, and an insert in between fails (Dell: storyboard 2008504,
  dell/iDRAC-Redfish-Scripting#60);
- an empty drive still says Inserted (Supermicro: ansible-collections/community.general#7470).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ingot.drivers.faults import Busy, DriverFault, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.client import HttpRefused
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, child, link, strings, text

#: Kinds of media by the Bare Metal API's device names; a DVD drive serves as CD drive.
KINDS = {
    "cdrom": ("CD", "DVD"),
    "disk": ("USBStick",),
    "floppy": ("Floppy", "USBStick"),
}
INSERT, EJECT = "#VirtualMedia.InsertMedia", "#VirtualMedia.EjectMedia"
EJECT_TRIES, EJECT_PAUSE = 3, 3.0
#: A controller may look at the whole image before it says that it is in.
INSERTED_SECONDS, INSERTED_PAUSE = 60.0, 2.0


class RedfishMedia:
    """Inserting and ejecting; both are safe to repeat."""

    def __init__(self, context: DriverContext) -> None:
        self._clock = context.clock
        self._systems = context.shared(Systems, lambda: Systems(context))

    async def drives(self, access: Access) -> list[Json]:
        """All virtual drives, as the service describes them."""
        return [drive async for drive in self._each(access)]

    async def insert(self, access: Access, image_url: str, device: str = "cdrom") -> None:
        """Put `image_url` into a drive of that kind, ejecting what else is there.

        The first drive that takes it; waits until the service says that it is in. Raises Unsupported
        when there is no such drive, else the last drive's refusal.
        """
        last: DriverFault | None = None
        async for drive in self._each(access, device):
            if text(drive, "Image") == image_url and _inserted(drive):
                return
            if not _insertable(drive):
                continue
            try:
                if _inserted(drive):
                    await self._eject(access, drive)
                await self._insert_patiently(access, drive, image_url)
            except (Refused, Unsupported) as fault:
                last = fault
                continue
            await self._until_inserted(access, drive)
            return
        raise last or _no_drive(device)

    async def eject(self, access: Access, devices: Sequence[str] = ("cdrom",)) -> bool:
        """Leave the drives of these kinds empty; whether any was not."""
        found = False
        for drive in await self.drives(access):
            wanted = any(_is_kind(drive, device) for device in devices)
            if wanted and (_inserted(drive) or text(drive, "Image")):
                await self._eject(access, drive)
                found = True
        return found

    async def has(self, access: Access, device: str) -> bool:
        """Whether there is a drive of that kind that takes images by URL."""
        return any([_insertable(drive) async for drive in self._each(access, device)])

    # -- one drive ---------------------------------------------------------------------------

    async def _insert_patiently(self, access: Access, drive: Json, url: str) -> None:
        for left in range(EJECT_TRIES - 1, -1, -1):
            try:
                await self._insert(access, drive, url)
                return
            except (Busy, HttpRefused) as fault:
                server = isinstance(fault, Busy) or fault.status >= 500
                if not server or not left:
                    raise
            await self._clock.sleep(EJECT_PAUSE)

    async def _insert(self, access: Access, drive: Json, url: str) -> None:
        action = text(child(drive, "Actions", INSERT), "target")
        client = self._systems.client
        if not action:
            full: Json = {"Image": url, "Inserted": True, "WriteProtected": True}
            await client.patch(access, text(drive, "@odata.id"), full, text(drive, "@odata.etag"))
            return
        body: Json = {"Image": url}
        while True:
            try:
                await client.post(access, action, body)
                return
            except HttpRefused as fault:
                more = _demanded(fault, body)
                if not more:
                    raise
                body = {**body, **more}

    async def _until_inserted(self, access: Access, drive: Json) -> None:
        """Wait for services that fetch the image first; what never shows is told."""
        left = INSERTED_SECONDS
        while True:
            now = (await self._systems.client.get(access, text(drive, "@odata.id"))).body
            if now.get("Inserted") is not False:
                return
            if left <= 0:
                raise Refused(
                    f"the image was accepted, but {text(drive, '@odata.id')} is still empty after "
                    f"{INSERTED_SECONDS:.0f} s",
                    next_action="Check that the controller reaches the image's URL.",
                )
            await self._clock.sleep(INSERTED_PAUSE)
            left -= INSERTED_PAUSE

    async def _eject(self, access: Access, drive: Json) -> None:
        action = text(child(drive, "Actions", EJECT), "target")
        client = self._systems.client
        if action:
            await client.post(access, action, {})
            return
        body: Json = {"Image": None, "Inserted": False}
        await client.patch(access, text(drive, "@odata.id"), body, text(drive, "@odata.etag"))

    async def _each(self, access: Access, device: str = "") -> AsyncIterator[Json]:
        """Drives of a kind ("" for all), the System's before its Managers', none twice."""
        _, system, _ = await self._systems.read(access)
        collections = [link(system, "VirtualMedia")]
        if not collections[0]:
            managers = await self._systems.linked(access, system, "ManagedBy")
            collections = [link(manager, "VirtualMedia") for manager in managers]
        for collection in filter(None, dict.fromkeys(collections)):
            for path in await self._systems.members(access, collection):
                drive = (await self._systems.client.get(access, path)).body
                if not device or _is_kind(drive, device):
                    yield {**drive, "@odata.id": path}


def _is_kind(drive: Json, device: str) -> bool:
    kinds = strings(drive, "MediaTypes")
    return any(kind in kinds for kind in KINDS[device])


def _inserted(drive: Json) -> bool:
    """Whether something is in it; a drive that does not say counts as full."""
    if text(drive, "ConnectedVia") == "NotConnected" and not text(drive, "Image"):
        return False
    return drive.get("Inserted") is not False


def _insertable(drive: Json) -> bool:
    """Whether images by URL can be asked for: by the action, or (no actions at all) by PATCH."""
    actions = child(drive, "Actions")
    return bool(text(child(actions, INSERT), "target")) or not any(
        name.startswith("#VirtualMedia") for name in actions
    )


def _demanded(fault: HttpRefused, body: Json) -> Json:
    """What the refusal asks for besides the image; {} when it asks for nothing that we could add."""
    said = fault.text
    missing = "missing" in said.lower() or "required" in said.lower()
    if "TransferMethod" in said and "TransferMethod" not in body:
        return {"TransferMethod": "Stream"}
    if ("UserName" in said or "Password" in said) and "UserName" not in body:
        return {"UserName": "none", "Password": "none"}
    if ("TransferProtocolType" in said or missing) and "TransferProtocolType" not in body:
        return {"TransferProtocolType": str(body["Image"]).partition(":")[0].upper()}
    if "Inserted" not in body and ("Inserted" in said or "WriteProtected" in said):
        return {"Inserted": True, "WriteProtected": True}
    return {}


def _no_drive(device: str) -> Unsupported:
    name = "CD drive" if device == "cdrom" else f"{device} drive"
    return Unsupported(
        f"the service offers no virtual {name} that takes images by URL",
        next_action="Choose the boot interface ipxe."
        if device == "cdrom"
        else "Choose another device.",
    )
