"""The rooms below, as the stories of this room need them.

The stories know only the protocols `Images` and `Networks`; here are their bodies over our own rooms. A
body over an outside service would stand beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ingot.baremetal.types import Node, Port
from ingot.kit.faults import Failed, Fault, Kind
from ingot.network import Networks as NetworkRoom

#: device_owner of the addresses that machines have while the agent runs, as upstream writes it.
OURS = "baremetal:none"


@dataclass(frozen=True)
class OwnNetworks:
    """Addresses from the network room. provisioning: name of the network on which agents run."""

    room: NetworkRoom
    provisioning: str
    project_id: str

    def plug_provisioning(
        self, conn: sa.Connection, node: Node, port: Port, vif: str | None
    ) -> str | None:
        """The instance's own address where there is one (flat networks), else one of ours."""
        if vif is not None:
            self.plug_vif(conn, node, port, vif)
            return None
        for known in self.room.ports_of_device(conn, node.uuid):
            if known.device_owner == OURS and known.mac_address == port.address:
                return known.id
        network = self.room.find_network(conn, self.provisioning)
        try:
            made = self.room.create_port(
                conn,
                network_id=network.id,
                project_id=self.project_id,
                mac=port.address,
                device_id=node.uuid,
                device_owner=OURS,
                name=f"{node.label} agent"[:255],
                host_id=node.uuid,
            )
        except Fault as fault:
            raise Failed(
                f"The card {port.address} gets no address on network {self.provisioning}: {fault.text}",
                next_action=fault.next_action
                or "Widen the subnet's allocation pool or delete ports that are not used, then try again.",
            ) from None
        return made.id

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None:
        for port in self.room.ports_of_device(conn, node.uuid):
            if port.device_owner == OURS:
                self.room.delete_port(conn, port.id)

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        profile = (
            {"local_link_information": [port.local_link_connection]}
            if port.local_link_connection
            else {}
        )
        self.room.bind_port(conn, vif, host_id=node.uuid, mac=port.address, profile=profile)

    def unplug_vif(self, conn: sa.Connection, vif: str) -> None:
        try:
            self.room.unbind_port(conn, vif)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:  # its owner may have deleted it
                raise
