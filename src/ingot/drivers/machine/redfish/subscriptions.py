"""Event subscriptions of a Redfish service: whom the controller tells when something happens."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.context import DriverContext
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, as_list, is_map, link

SHOWN = ("Id", "Context", "Protocol", "Destination", "EventTypes")


class Subscriptions:
    def __init__(self, context: DriverContext) -> None:
        self._systems = context.shared(Systems, lambda: Systems(context))

    async def all(self, access: Access) -> Json:
        """The collection as the service has it."""
        return (await self._systems.client.get(access, await self._collection(access))).body

    async def get(self, access: Access, ident: str) -> Json:
        path = await self._path(access, ident)
        return _shown((await self._systems.client.get(access, path)).body)

    async def create(self, access: Access, args: Mapping[str, object]) -> Json:
        """Args as in the Redfish schema EventDestination; gives what the service made."""
        body = _checked(args)
        reply = await self._systems.client.post(access, await self._collection(access), body)
        if reply.body.get("Id") is not None:
            return _shown(reply.body)
        path = reply.location
        made = (await self._systems.client.get(access, path)).body if path else body
        return _shown(made)

    async def delete(self, access: Access, ident: str) -> None:
        path = await self._path(access, ident)
        await self._systems.client.call(access, "DELETE", path)

    async def _path(self, access: Access, ident: str) -> str:
        """The member of that id; the service's own list says where it is."""
        collection = await self._collection(access)
        for path in await self._systems.members(access, collection):
            if path.rstrip("/").rsplit("/", 1)[-1] == ident:
                return path
        raise Refused(f"there is no subscription {ident}")

    async def _collection(self, access: Access) -> str:
        client = self._systems.client
        root = (await client.get(access, self._systems.root(access))).body
        service = link(root, "EventService")
        path = link((await client.get(access, service)).body, "Subscriptions") if service else ""
        if not path:
            raise Unsupported("the service has no event subscriptions")
        return path


def _checked(args: Mapping[str, object]) -> Json:
    destination = args.get("Destination")
    if not isinstance(destination, str) or not urlsplit(destination).hostname:
        raise Refused(f"Destination {destination} is not a valid URI")
    types = as_list(args.get("EventTypes", ["Alert"]))
    if not types or not all(isinstance(item, str) for item in types):
        raise Refused("EventTypes must be a list of strings")
    context, protocol = args.get("Context", ""), args.get("Protocol", "Redfish")
    if not isinstance(context, str) or not isinstance(protocol, str):
        raise Refused("Context and Protocol must be strings")
    body: Json = {
        "Destination": destination,
        "Protocol": protocol,
        "Context": context,
        "EventTypes": types,
    }
    headers = args.get("HttpHeaders")
    if headers is not None:
        if not as_list(headers) or not all(is_map(item) for item in as_list(headers)):
            raise Refused("HttpHeaders must be a list of objects")
        body["HttpHeaders"] = as_list(headers)
    return body


def _shown(body: Json) -> Json:
    return {name: value for name, value in body.items() if name in SHOWN}
