"""VIFs: which network port an instance has on which NIC (or bond of NICs) of its machine.

Attaching remembers the choice in the internal_info of the port or port group; deploying binds it on the wire (at once where
the machine already runs its instance).
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.types import PortFacts, VifFacts
from ingot.kit.faults import Conflict, Fault, Invalid, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.nodes.verbs import free
from ingot.services.baremetal.ports import store as port_store
from ingot.services.baremetal.types import Node, Port

KEY = "tenant_vif_port_id"
#: In these states the instance's system runs on the machine.
RUNNING = frozenset({states.ACTIVE, states.RESCUE})


def attach(
    ctx: Context,
    conn: sa.Connection,
    ident: str,
    vif: str,
    *,
    port_uuid: str | None = None,
    portgroup_uuid: str | None = None,
    project_id: str | None = None,
) -> Port:
    """Put a VIF on a NIC of the node; the NIC that was chosen.

    project_id: whose network ports may be taken; None for anyone's. Conflict (409) when it is attached already or
    bound elsewhere, Invalid (400) when no NIC is free or fits, or there is no such port for this project.
    """
    node = store.hold_node(conn, ident)
    network = ctx.registry.network(node.driver, node.interfaces.get("network"))
    if not network.accepts_vifs:
        raise Invalid(
            f"Node {node.uuid} has the network interface {node.interfaces.get('network')}, which "
            "takes no VIFs."
        )
    free(conn, node)
    ports = port_store.carriers(conn, node.uuid)
    for port in ports:
        if port.vif == vif:
            raise Conflict(
                f"Unable to attach VIF because VIF {vif} is already attached to "
                f"{port.kind.title()} {port.uuid}."
            )
    try:
        wires = frozenset[str]()
        if network.binds_ports:
            wires = ctx.networks.physical_networks(conn, vif, node, project_id)
        chosen = network.choose_port(
            [_facts(port) for port in ports], VifFacts(vif, wires, port_uuid, portgroup_uuid)
        )
    except Fault as fault:
        raise (Conflict if fault.kind is Kind.CONFLICT else Invalid)(
            f"Unable to attach VIF {vif} to node {node.uuid}: {fault.text}.",
            next_action=fault.next_action,
        ) from None
    taken = next(port for port in ports if port.uuid == chosen.id)
    port_store.set_internal(conn, taken, {KEY: vif})
    if network.binds_ports and node.provision_state in RUNNING:
        ctx.networks.plug_vif(conn, node, taken, vif)
    return taken


def detach(ctx: Context, conn: sa.Connection, ident: str, vif: str) -> None:
    """Take a VIF off the node; Invalid (400) when it is not there."""
    node = store.hold_node(conn, ident)
    port = _carrying(conn, node, vif)
    if port is None:
        raise Invalid(
            f"Unable to detach VIF {vif} from node {node.uuid} because it is not attached to it."
        )
    free(conn, node)
    network = ctx.registry.network(node.driver, node.interfaces.get("network"))
    port_store.set_internal(conn, port, {KEY: None})
    if network.binds_ports:
        try:
            ctx.networks.unplug_vif(conn, node, vif)
        except Fault as fault:
            # The network port may be gone already; the NIC is free in any case.
            if fault.kind is not Kind.MISSING:
                raise


def are_words(conn: sa.Connection, ident: str) -> bool:
    """Whether the node's network interface does nothing (`noop`): clients may say of VIFs what they like."""
    return store.get_node(conn, ident).interfaces.get("network") == "noop"


def listed(conn: sa.Connection, node: Node) -> list[dict[str, str]]:
    """[{"id": vif}] as the API shows them."""
    return [{"id": port.vif} for port in port_store.carriers(conn, node.uuid) if port.vif]


def _carrying(conn: sa.Connection, node: Node, vif: str) -> Port | None:
    return next((p for p in port_store.carriers(conn, node.uuid) if p.vif == vif), None)


def _facts(port: Port) -> PortFacts:
    return PortFacts(
        port.uuid,
        port.address,
        kind=port.kind,
        standalone_ports_supported=port.standalone_ports_supported,
        physical_network=port.physical_network,
        pxe_enabled=port.pxe_enabled,
        portgroup_id=port.portgroup_uuid,
        vif=port.vif,
    )
