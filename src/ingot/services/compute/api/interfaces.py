"""A server's addresses, interfaces, security groups and volumes."""

from __future__ import annotations

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Missing
from ingot.services.compute.api import views
from ingot.services.compute.api.common import (
    Handlers,
    Wire,
    unimplemented,
)
from ingot.services.network import Port


class Interfaces(Handlers):
    """/servers/{id}/ips, os-interface, os-security-groups, os-volume_attachments."""

    async def ips(self, call: Call) -> Reply:
        server = await self.server(call, "ips:index")
        return Reply({"addresses": views.addresses(server, short=True)})

    async def ips_of(self, call: Call) -> Reply:
        server = await self.server(call, "ips:show")
        found, label = views.addresses(server, short=True), call.params["label"]
        if label not in found:
            raise Missing("Instance is not a member of specified network")
        return Reply({label: found[label]})

    async def interfaces(self, call: Call) -> Reply:
        server = await self.server(call, "os-attach-interfaces:list")
        shown = await self.compute.db.read(
            lambda conn: [self._interface(call, port) for port in self.compute.ports(conn, server)]
        )
        return Reply({"interfaceAttachments": shown})

    async def interface(self, call: Call) -> Reply:
        server = await self.server(call, "os-attach-interfaces:show")
        port_id = call.params["port"]
        found = await self.compute.db.read(lambda conn: self.compute.ports(conn, server))
        for port in found:
            if port.id == port_id:
                return Reply({"interfaceAttachment": self._interface(call, port)})
        raise Missing(f"Instance {server.uuid} does not have a port with id {port_id}")

    @staticmethod
    def _interface(call: Call, port: Port) -> Wire:
        shown: Wire = {
            "net_id": port.network_id,
            "port_id": port.id,
            "mac_addr": port.mac_address,
            "port_state": "ACTIVE" if port.bound else "DOWN",
            "fixed_ips": [
                {"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips
            ],
        }
        if call.version.minor >= 70:
            shown["tag"] = None
        return shown

    async def attach(self, call: Call) -> Reply:
        await self.server(call, "os-attach-interfaces:create")
        raise unimplemented(
            "The requested functionality is not supported: network ports are attached when a server is "
            "built.",
            "Name all networks when the server is created.",
        )

    async def detach(self, call: Call) -> Reply:
        await self.server(call, "os-attach-interfaces:delete")
        raise unimplemented(
            "The requested functionality is not supported: network ports leave with their server."
        )

    async def groups(self, call: Call) -> Reply:
        server = await self.server(call, "os-security-groups:list")
        found = await self.compute.db.read(
            lambda conn: self.compute.networks.groups_of_ports(
                conn, [nic.port for nic in server.ports]
            )
        )
        groups = {group.id: group for some in found.values() for group in some}
        shown: list[Wire] = [
            {
                "id": group.id,
                "name": group.name,
                "description": group.description,
                "tenant_id": group.project_id,
                "rules": [],
            }
            for group in groups.values()
        ]
        return Reply({"security_groups": shown})

    async def volumes(self, call: Call) -> Reply:
        await self.server(call, "os-volumes-attachments:index")
        return Reply({"volumeAttachments": []})
