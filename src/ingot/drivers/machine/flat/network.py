"""Choosing the port for a VIF: a pure choice, the same for flat and switched networks.

Order of preference as in the Bare Metal API: port with a physical network, then port group before
port, then pxe_enabled. `flat` puts tenants and provisioning on the same wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingot.drivers.faults import Refused
from ingot.drivers.machine.types import PortFacts, VifFacts

NEXT = "Free a port by detaching a VIF, or correct physical_network of the ports."


def choose_port(ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
    """The port or port group for `vif`; the one that already carries it, if any.

    ports: all ports and port groups of the node. Raises Refused with the reason when none fits.
    """
    for port in ports:
        if port.vif == vif.id:
            return port
    wished = vif.port_id or vif.portgroup_id
    if wished:
        return _wished(ports, vif, wished)
    free = [port for port in ports if port.vif is None and _usable(port, ports)]
    if not free:
        raise Refused(f"no free port for VIF {vif.id}", next_action=NEXT)
    fitting = [port for port in free if _fits(port, vif)]
    if not fitting:
        nets = ", ".join(sorted(vif.physical_networks))
        raise Refused(f"no free port on physical network {nets}", next_action=NEXT)
    return max(fitting, key=_preference)


def _wished(ports: Sequence[PortFacts], vif: VifFacts, wished: str) -> PortFacts:
    kind = "port" if vif.port_id else "portgroup"
    for port in ports:
        if port.id != wished or port.kind != kind:
            continue
        if port.vif is not None:
            raise Refused(f"{kind} {wished} already carries VIF {port.vif}", next_action=NEXT)
        if not _fits(port, vif):
            raise Refused(
                f"{kind} {wished} is on physical network {port.physical_network}, "
                f"the VIF on {', '.join(sorted(vif.physical_networks))}",
                next_action=NEXT,
            )
        return port
    raise Refused(f"the node has no {kind} {wished}", next_action=NEXT)


def _usable(port: PortFacts, ports: Sequence[PortFacts]) -> bool:
    """A member of a port group is used alone only where the group allows it and is unused."""
    if port.kind == "portgroup":
        members_taken = any(p.portgroup_id == port.id and p.vif for p in ports)
        return not members_taken and any(p.portgroup_id == port.id for p in ports)
    if port.portgroup_id is None:
        return True
    for group in ports:
        if group.kind == "portgroup" and group.id == port.portgroup_id:
            return group.standalone_ports_supported and group.vif is None
    return True


def _fits(port: PortFacts, vif: VifFacts) -> bool:
    """A port with no physical network fits every VIF, and a VIF with none fits every port."""
    if port.physical_network is None or not vif.physical_networks:
        return True
    return port.physical_network in vif.physical_networks


def _preference(port: PortFacts) -> tuple[bool, bool, bool]:
    return (port.physical_network is not None, port.kind == "portgroup", port.pxe_enabled)


class FlatNetwork:
    """Provisioning and tenant traffic share one network; VIFs bind real ports on it."""

    accepts_vifs = True
    binds_ports = True
    separate_networks = False

    def choose_port(self, ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
        return choose_port(ports, vif)


class NoopNetwork:
    """The operator wires it; VIFs are recorded on ports and have no other effect."""

    accepts_vifs = True
    binds_ports = False
    separate_networks = False

    def choose_port(self, ports: Sequence[PortFacts], vif: VifFacts) -> PortFacts:
        return choose_port(ports, vif)
