"""What a controller sends by itself: one subscription of ours at its EventService, made, looked after, removed."""

from __future__ import annotations

from ingot.drivers.faults import Refused, Unsupported
from ingot.drivers.machine.redfish.client import ResourceMissing
from ingot.drivers.machine.redfish.system import Systems
from ingot.drivers.machine.types import Access
from ingot.drivers.shape import Json, child, link, strings, text

#: What services that only know the old way are asked for.
OLD_TYPES = ("Alert", "StatusChange")
TEST = "#EventService.SubmitTestEvent"


class RedfishEvents:
    """The part of Redfish management that is `base.EventSource`."""

    _systems: Systems

    async def subscribe(self, access: Access, destination: str, context: str, owner: str) -> str:
        """The path of the subscription that sends to `destination`; one that is there already is kept.

        owner: what only our destinations for this machine contain: others with it are old ones of ours and go.
        """
        service, collection = await self._event_service(access)
        found = ""
        for path in await self._systems.members(access, collection):
            told = text((await self._systems.client.get(access, path)).body, "Destination")
            if told == destination and not found:
                found = path
            elif owner in told:
                await self._systems.client.call(access, "DELETE", path)
        return found or await self._create(access, service, collection, destination, context)

    async def subscribed(self, access: Access, path: str) -> bool:
        """Whether the subscription is still there."""
        try:
            await self._systems.client.get(access, path)
        except ResourceMissing:
            return False
        return True

    async def unsubscribe(self, access: Access, path: str) -> None:
        """Harmless when it is gone."""
        try:
            await self._systems.client.call(access, "DELETE", path)
        except ResourceMissing:
            return

    async def ask_for_event(self, access: Access) -> None:
        """Ask for a test event, so that it shows whether events arrive. Unsupported where there is none."""
        service, _ = await self._event_service(access)
        target = text(child(service, "Actions", TEST), "target")
        if not target:
            raise Unsupported("the service sends no test events")
        body: Json = {
            "EventId": "1",
            "EventType": "Alert",
            "Message": "Test event",
            "MessageArgs": [],
            "MessageId": "Base.1.0.Success",
            "Severity": "OK",
        }
        await self._systems.client.post(access, target, body)

    async def _event_service(self, access: Access) -> tuple[Json, str]:
        """The service and the path of its subscriptions."""
        client = self._systems.client
        root = (await client.get(access, self._systems.root(access))).body
        path = link(root, "EventService")
        service = (await client.get(access, path)).body if path else {}
        collection = link(service, "Subscriptions")
        if not collection or service.get("ServiceEnabled") is False:
            raise Unsupported("the service has no event subscriptions")
        return service, collection

    async def _create(
        self, access: Access, service: Json, collection: str, destination: str, context: str
    ) -> str:
        """Without a choice of types services send all; old ones want to be told which."""
        plain: Json = {"Destination": destination, "Protocol": "Redfish", "Context": context}
        offered = strings(service, "EventTypesForSubscription")
        types = [name for name in OLD_TYPES if name in offered] or list(OLD_TYPES)
        client = self._systems.client
        try:
            reply = await client.post(access, collection, plain)
        except Refused:
            reply = await client.post(access, collection, {**plain, "EventTypes": types})
        path = reply.location
        path = path or text(reply.body, "@odata.id")
        if not path:
            raise Refused("the service does not say where its new subscription is")
        return path
