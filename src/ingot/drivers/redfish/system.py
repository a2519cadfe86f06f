"""Finding one machine's resources in a Redfish service."""

from __future__ import annotations

from ingot.drivers.context import DriverContext
from ingot.drivers.faults import Busy, Refused, Unsupported
from ingot.drivers.redfish.client import RedfishClient, service_of
from ingot.drivers.shape import Json, child, items, link, text
from ingot.drivers.types import Access

MOST_MEMBERS = 64


class Systems:
    """Looks machines up. Paths are remembered per service: they do not change while it runs."""

    def __init__(self, context: DriverContext) -> None:
        self.client = context.shared(RedfishClient, lambda: RedfishClient(context))
        self._paths: dict[str, str] = {}

    async def path(self, access: Access) -> str:
        """Path of the machine's System resource: redfish_system_id, or the only one there is."""
        given = access.text("redfish_system_id").strip()
        if given:
            return given if given.startswith("/") else f"/{given}"
        service = service_of(access)
        if service.base not in self._paths:
            root = (await self.client.get(access, service.root)).body
            collection = link(root, "Systems") or f"{service.prefix}/Systems"
            members = await self.members(access, collection)
            if len(members) != 1:
                raise Unsupported(
                    f"{service.base} has {len(members)} systems: {', '.join(members) or 'none'}",
                    next_action="Set redfish_system_id to one of them.",
                )
            self._paths[service.base] = members[0]
        return self._paths[service.base]

    def root(self, access: Access) -> str:
        """Path of the service root."""
        return service_of(access).root

    async def read(self, access: Access) -> tuple[str, Json, str]:
        """Path, body and ETag ("" if none) of the machine's System resource."""
        path = await self.path(access)
        try:
            reply = await self.client.get(access, path)
        except (Busy, Refused, Unsupported):
            # Another machine may answer at this address now: then its system has another path.
            before, path = path, await self._look_again(access)
            if path == before:
                raise
            reply = await self.client.get(access, path)
        etag = reply.headers.get("etag", "") or text(reply.body, "@odata.etag")
        return path, reply.body, etag

    async def _look_again(self, access: Access) -> str:
        self._paths.pop(service_of(access).base, None)
        return await self.path(access)

    async def members(self, access: Access, collection: str) -> list[str]:
        """Paths of a collection's members, at most 64, over all its pages."""
        found: list[str] = []
        page = collection
        while page and len(found) < MOST_MEMBERS:
            body = (await self.client.get(access, page)).body
            found += [text(item, "@odata.id") for item in items(body, "Members")]
            page = text(body, "Members@odata.nextLink")
        return [path for path in found if path][:MOST_MEMBERS]

    async def each(self, access: Access, collection: str) -> list[Json]:
        """Bodies of a collection's members."""
        paths = await self.members(access, collection)
        return [(await self.client.get(access, path)).body for path in paths]

    async def linked(self, access: Access, system: Json, name: str) -> list[Json]:
        """Bodies of the resources under the System's Links ("Chassis", "ManagedBy")."""
        paths = [text(item, "@odata.id") for item in items(child(system, "Links"), name)]
        return [(await self.client.get(access, path)).body for path in paths if path]


def health_of(resource: Json) -> str:
    """The roll-up of a resource's Status, else its own health; "unknown" when it tells neither."""
    status = child(resource, "Status")
    told = text(status, "HealthRollup") or text(status, "Health")
    return told.lower() if told in ("OK", "Warning", "Critical") else "unknown"
