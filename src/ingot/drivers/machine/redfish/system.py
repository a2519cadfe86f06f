"""Finding one machine's resources in a Redfish service."""

from __future__ import annotations

from collections.abc import Iterable

from ingot.drivers.faults import Busy, Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.client import AccessDenied, RedfishClient, service_of
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, child, items, link, text

#: Of a collection: members that are read, and pages.
MOST_MEMBERS, MOST_PAGES = 256, 64
MOST_EXPANDED = 2048


class Systems:
    """Looks machines up. Paths are remembered per service: they do not change while it runs."""

    def __init__(self, context: DriverContext) -> None:
        self.context = context
        self.client = context.shared(RedfishClient, lambda: RedfishClient(context))
        self._paths: dict[str, str] = {}
        self._ways: dict[str, str] = {}

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

    async def members(self, access: Access, collection: str, most: int = MOST_MEMBERS) -> list[str]:
        """Paths of a collection's members, at most `most`, over all its pages.

        A page that links to one already read is the last. Refused when the pages do not end.
        """
        found: dict[str, None] = {}
        pages: set[str] = set()
        page = collection
        while page and page not in pages and len(found) < most:
            if len(pages) >= MOST_PAGES:
                raise Refused(f"{collection} has more than {MOST_PAGES} pages")
            pages.add(page)
            body = await self.page(access, page)
            found |= {text(item, "@odata.id"): None for item in items(body, "Members")}
            page = text(body, "Members@odata.nextLink")
        return [path for path in found if path][:most]

    async def page(self, access: Access, path: str) -> Json:
        """A page of a collection."""
        return (await self.client.get(access, path)).body

    async def maybe(self, access: Access, path: str) -> Json | None:
        """Body of a resource; None where the service has none there, or does not show it."""
        if not path:
            return None
        try:
            return (await self.client.get(access, path)).body
        except (Unsupported, Refused, AccessDenied):
            return None

    async def present(self, access: Access, paths: Iterable[str]) -> list[Json]:
        """Bodies of those of these resources that are there, at most 256: a dead link drops no other."""
        bodies = [await self.maybe(access, path) for path in [*paths][:MOST_MEMBERS]]
        return [body for body in bodies if body is not None]

    async def each(self, access: Access, collection: str) -> list[Json]:
        """Bodies of a collection's members that are there; a fault where there is no collection."""
        return await self.present(access, await self.members(access, collection))

    async def expanded(self, access: Access, collection: str) -> list[Json]:
        """As `each`, in one question where the service says that it can."""
        if not (way := await self._expands(access)):
            return await self.each(access, collection)
        body = await self.maybe(access, f"{collection}?$expand={way}($levels=1)")
        members = items(body or {}, "Members")
        whole_list = members and not text(body or {}, "Members@odata.nextLink")
        if whole_list and all(set(one) - {"@odata.id"} for one in members):
            return members[:MOST_EXPANDED]
        return await self.each(access, collection)

    async def _expands(self, access: Access) -> str:
        """How the service puts members into a collection; "" where it does not say that it can."""
        base = service_of(access).base
        if base not in self._ways:
            root = await self.page(access, self.root(access))
            if not root:
                return ""  # it was not told; that is not to be remembered
            offered = child(root, "ProtocolFeaturesSupported", "ExpandQuery")
            without_links, everything = offered.get("NoLinks"), offered.get("ExpandAll")
            self._ways[base] = "." if without_links is True else "*" if everything is True else ""
        return self._ways[base]

    async def linked(self, access: Access, system: Json, name: str) -> list[Json]:
        """Bodies of the resources under the System's Links ("Chassis", "ManagedBy")."""
        return await self.present(access, links(child(system, "Links"), name))


def links(body: Json, name: str) -> list[str]:
    """The paths that a list property points to, each once."""
    found = dict.fromkeys(text(item, "@odata.id") for item in items(body, name)[:MOST_MEMBERS])
    return [path for path in found if path]


def health_of(resource: Json) -> str:
    """The roll-up of a resource's Status, else its own health; "unknown" when it tells neither."""
    status = child(resource, "Status")
    told = text(status, "HealthRollup") or text(status, "Health")
    return told.lower() if told in ("OK", "Warning", "Critical") else "unknown"
