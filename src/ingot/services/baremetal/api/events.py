"""POST /v1/events: what a network service tells of the ports that it binds for machines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from ingot.kit.api.operations import Call, Reply
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.api.common import Handlers
from ingot.services.baremetal.nodes import schemas
from ingot.services.baremetal.ports import schemas as port_schemas


class NetworkEvent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One thing that happened to a network port."""

    event: Literal["network.bind_port", "network.unbind_port", "network.delete_port"]
    port_id: str
    mac_address: str
    status: str
    device_id: str | None = None
    host_id: str | None = msgspec.field(default=None, name="binding:host_id")
    vnic_type: str | None = msgspec.field(default=None, name="binding:vnic_type")


class EventsBody(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[NetworkEvent], Meta(min_length=1)]


class Events(Handlers):
    """Told on the timeline of the node that has the MAC; upstream writes them to its log only."""

    async def post(self, call: Call) -> Reply:
        body: EventsBody = call.body
        for event in body.events:
            schemas.uuid("port_id", event.port_id)
            port_schemas.mac(event.mac_address)
            for name, value in (("device_id", event.device_id), ("host_id", event.host_id)):
                if value is not None:
                    schemas.uuid(name, value)

        def note(conn: sa.Connection) -> Reply:
            for event in body.events:
                self._note(conn, event)
            return Reply()

        return await self.write(note)

    def _note(self, conn: sa.Connection, event: NetworkEvent) -> None:
        port = store.port_by_address(conn, port_schemas.mac(event.mac_address))
        if port is None:
            return
        verb = event.event.removeprefix("network.").replace("_", " ")
        data: dict[str, Any] = {"port_id": event.port_id, "status": event.status}
        title = f"Network service: {verb} of {port.address}, {event.status}"
        events.record(conn, f"node:{port.node_uuid}", "note", title, data=data)
