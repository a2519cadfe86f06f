"""The services below, as the workflows of this service need them.

The workflows know only the protocols `Images` and `Networks`; here are their implementations over our own services. A
body over an outside service would stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Still
from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Failed, Fault, Invalid, Kind, Missing
from ingot.services.baremetal.boot.imagerights import Right, of_project, viewer
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.types import ImageFacts, ImageFile, Node, Port
from ingot.services.image import Image
from ingot.services.image import Images as ImageService
from ingot.services.network import Networks as NetworkService
from ingot.services.network import Port as NetworkPort

#: device_owner of the addresses that machines have while the agent runs, as upstream writes it.
OURS = "baremetal:none"


@dataclass(frozen=True)
class OwnImages:
    """Images from the image service, as raw disks: the agent streams them to the disk while they come.

    still: who somebody is by now.
    """

    service: ImageService
    still: Still

    async def for_deploy(self, ident: str, ttl: float, right: Right, node: str) -> ImageFacts:
        image = await self._opened(ident, right)
        if image.status != "active":
            raise Invalid(
                f"Image {image.name or image.id} is {image.status}, so it cannot be deployed.",
                next_action="Upload its content first.",
            )
        if image.disk_format not in ("raw", "qcow2"):
            raise Invalid(
                f"Image {image.name or image.id} has disk_format {image.disk_format}; only raw and "
                "qcow2 whole-disk images can be deployed.",
            )
        raw = await self.service.raw_view(image.id)
        hold = await self.service.hold(_holder(node))
        url = self.service.deploy_url(image.id, ttl, raw=True, hold=hold)
        return ImageFacts(
            id=image.id,
            url=url,
            disk_format="raw",
            hash_algo="sha512",
            hash_value=raw.sha512,
            size=raw.size,
            sent=self.service.sent(url),
        )

    async def properties(self, ident: str, right: Right) -> tuple[dict[str, str], Right]:
        image = await self._opened(ident, right)
        return dict(image.properties), msgspec.structs.replace(right, through=image.owner or "")

    async def file(self, ident: str, ttl: float, right: Right, node: str) -> ImageFile:
        image = await self._opened(ident, right)
        if image.status != "active":
            raise Invalid(
                f"Image {image.name or image.id} is {image.status}, so nothing can boot from it.",
                next_action="Upload its content first.",
            )
        hold = await self.service.hold(_holder(node))
        return ImageFile(image.id, self.service.deploy_url(image.id, ttl, hold=hold))

    def revoke(self, conn: sa.Connection, node: str) -> None:
        self.service.let_go(conn, _holder(node))

    def problem(self, conn: sa.Connection, ident: str, right: Right) -> str | None:
        """Why this right, as it was given, does not open an image, named by id or name; None when it does."""
        try:
            self.service.find(conn, ident, None if right.cloud else right.caller())
        except Fault as fault:
            return fault.text
        return None

    async def _opened(self, ident: str, right: Right) -> Image:
        """An image as far as `right` sees it now; somebody else's is like none."""
        image = await self.service.get(ident, await viewer(right, self.still))
        if right.through is not None:
            seen = await self.service.get(ident, of_project(right.through).caller())
            if seen.id != image.id:  # the name means another image there
                raise Missing(f"No image found with ID or name {ident}")
        return image


def _holder(node: str) -> str:
    return f"node:{node}"


@dataclass(frozen=True)
class OwnNetworks:
    """Addresses from the network service.

    provisioning: name of the network on which agents run. project: gives the project that owns our ports there;
    known once identity has been bootstrapped. has_wires: whether we give DHCP at all; where others do, the
    machines get their addresses from them and only VIFs are bound.
    """

    service: NetworkService
    provisioning: str
    project: Callable[[], str]
    has_wires: bool = True

    def reach(self, caller: Caller) -> str | None:
        """The project whose network ports a caller may put on machines; None for everyone's."""
        return self.service.reach(caller)

    def physical_networks(
        self, conn: sa.Connection, vif: str, node: Node, project_id: str | None
    ) -> frozenset[str]:
        """Where a network port of this project (None: of anyone) can live."""
        port = self.service.find_port(conn, vif, project_id, host_id=node.uuid)
        network = self.service.get_network(conn, port.network_id)
        return frozenset({network.physical_network} if network.physical_network else ())

    def plug_provisioning(
        self, conn: sa.Connection, node: Node, port: Port, vif: str | None
    ) -> str | None:
        """The instance's own address where there is one (flat networks), else one of ours."""
        if vif is not None:
            self.plug_vif(conn, node, port, vif)
            return None
        if not self.has_wires:
            return None
        for known in self._ours(conn, node):
            if known.mac_address == port.address:
                return known.id
        network = self.service.find_network(conn, self.provisioning)
        try:
            made = self.service.create_port(
                conn,
                network_id=network.id,
                project_id=self.project(),
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
        for port in self._ours(conn, node):
            self.service.delete_port(conn, port.id)

    def _ours(self, conn: sa.Connection, node: Node) -> list[NetworkPort]:
        """The addresses that we have made for a machine. Tenants may write device and owner on ports of theirs."""
        return [
            port
            for port in self.service.ports_of_device(conn, node.uuid)
            if port.device_owner == OURS and port.project_id == self.project()
        ]

    def free_card(self, conn: sa.Connection, node: Node, port: Port) -> None:
        """The agent's address stays reserved, and its own, until its lease ends.

        Should it end in the middle of a deploy, the agent is lost and booted anew.
        """
        for known in self._ours(conn, node):
            if known.mac_address == port.address:
                self.service.unbind_port(conn, known.id)

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        self.free_card(conn, node, port)
        links = list(port.links) or [port.local_link_connection]
        profile = {"local_link_information": links} if any(links) else {}
        self.service.bind_port(conn, vif, host_id=node.uuid, mac=port.address, profile=profile)

    def static_data(self, conn: sa.Connection, node: Node, ports: Sequence[Port]) -> dict[str, Any]:
        ours = {known.mac_address: known.id for known in self._ours(conn, node)}
        plugged = [self.vif_of(port) or ours.get(port.address) for port in ports]
        document = self.service.network_data(conn, [id for id in plugged if id])
        if all(net["type"].endswith("_dhcp") for net in document["networks"]):
            return {}
        return document

    def vif_of(self, port: Port) -> str | None:
        """The network port of the instance that this card has."""
        return port.vif

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        try:
            self.service.unbind_port(conn, vif, host_id=node.uuid)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:  # its owner may have deleted it
                raise


@dataclass(frozen=True)
class AloneNetworks(OwnNetworks):
    """Where no network service is offered: VIFs are only names, and our DHCP gives each card one address.

    The instance keeps the address that the agent had, until it is taken away.
    """

    def physical_networks(
        self, conn: sa.Connection, vif: str, node: Node, project_id: str | None
    ) -> frozenset[str]:
        return frozenset()

    def plug_provisioning(
        self, conn: sa.Connection, node: Node, port: Port, vif: str | None
    ) -> str | None:
        return super().plug_provisioning(conn, node, port, None)

    def unplug_provisioning(self, conn: sa.Connection, node: Node) -> None:
        if node.provision_state not in (states.DEPLOYING, states.DEPLOYWAIT):
            super().unplug_provisioning(conn, node)

    def free_card(self, conn: sa.Connection, node: Node, port: Port) -> None:
        return None

    def plug_vif(self, conn: sa.Connection, node: Node, port: Port, vif: str) -> None:
        return None

    def unplug_vif(self, conn: sa.Connection, node: Node, vif: str) -> None:
        return None

    def vif_of(self, port: Port) -> str | None:
        return None
