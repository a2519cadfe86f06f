"""A machine for a server: found, wired, told what to become, and given back. Functions of a connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot import workflow
from ingot.kit.faults import Fault, Kind
from ingot.kit.tasks import events
from ingot.services.baremetal import Candidate, CandidateQuery, HeldNode, ImageRight, Node
from ingot.services.compute import placement, states
from ingot.services.compute.documents import documents
from ingot.services.compute.types import Address, Nic, RequestedNetwork, Server
from ingot.services.network import Network

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

#: So many machines that fit are kept in mind, since others may take the best; so many are told of when none fits.
CHOICE = 8
SURVEY = 256
#: What networks call the owner of our ports.
OWNER = "compute:"
#: States in which a machine has nothing of its server (any more) and can be released at once.
CLEAN = frozenset({"available", "manageable", "enroll", "cleaning", "clean wait", "clean failed"})


# -- finding -------------------------------------------------------------------------------------


def placing(
    compute: Compute,
    conn: sa.Connection,
    server: Server,
    excluded: Collection[str],
    traits: Collection[str],
) -> placement.Placement:
    """What the server's machine must be."""
    flavor = server.flavor
    request = placement.request_of(
        flavor.extra_specs, flavor.vcpus, flavor.ram, flavor.disk, traits
    )
    wires = [_network_of(compute, conn, wish_).physical_network for wish_ in server.networks]
    return placement.Placement(
        request=request,
        networks=tuple(wire for wire in wires if wire),
        ports=len(server.networks),
        node=server.wanted_node,
        project_id=server.project_id,
        excluded=frozenset(excluded),
        any_class=compute.settings.any_class,
    )


def choose(compute: Compute, conn: sa.Connection, wanted: placement.Placement) -> list[str]:
    """Some machines that fit, the best first; none when there is none. Nothing is taken yet."""
    for batch in compute.baremetal.candidates(conn, wanted.look()):
        if found := placement.rank(batch, wanted):
            return [candidate.uuid for candidate in found[:CHOICE]]
    return []


def claim(
    compute: Compute,
    conn: sa.Connection,
    server: Server,
    wanted: placement.Placement,
    chosen: Sequence[str],
) -> dict[str, str]:
    """Claim the first of the chosen that still fits; {"node", "name"}, {} when all have been taken meanwhile."""
    for uuid in chosen:
        look = replace(wanted.look(), node=uuid)
        found = [c for batch in compute.baremetal.candidates(conn, look) for c in batch]
        for candidate in placement.rank(found, wanted):
            if not compute.baremetal.claim(conn, uuid, server.uuid, instance_name=server.name):
                continue
            name = candidate.name or uuid
            compute.step(
                conn,
                server.uuid,
                states.NETWORKING,
                node_uuid=uuid,
                node_name=name,
                availability_zone=compute.settings.availability_zone,
            )
            return {"node": uuid, "name": name}
    return {}


def no_valid_host(compute: Compute, conn: sa.Connection, wanted: placement.Placement) -> Fault:
    """What was missing, told of some hundred machines."""
    free = compute.baremetal.count_free(conn)
    seen: list[Candidate] = []
    for batch in compute.baremetal.candidates(conn, CandidateQuery()) if free else ():
        seen += batch
        if len(seen) >= SURVEY:
            break
    return placement.no_valid_host(seen, wanted, free)


def _network_of(compute: Compute, conn: sa.Connection, request: RequestedNetwork) -> Network:
    if request.port is not None:
        return compute.networks.get_network(
            conn, compute.networks.get_port(conn, request.port).network_id
        )
    return compute.networks.get_network(conn, request.network or "")


# -- wiring --------------------------------------------------------------------------------------


def make_ports(compute: Compute, conn: sa.Connection, server: Server) -> int:
    """The server's network ports: those that were given, and new ones on the networks wanted."""
    groups = _groups(compute, conn, server) if server.networks else []
    nics = tuple(_port(compute, conn, server, request, groups) for request in server.networks)
    compute.update(conn, server.uuid, ports=nics)
    return len(nics)


def _groups(compute: Compute, conn: sa.Connection, server: Server) -> list[str]:
    """Ids of the security groups that were ordered."""
    found: list[str] = []
    for name in server.security_groups:
        if name == "default":
            found.append(compute.networks.ensure_default_group(conn, server.project_id))
        else:
            found.append(compute.networks.find_group(conn, server.project_id, name).id)
    return list(dict.fromkeys(found))


def _port(
    compute: Compute,
    conn: sa.Connection,
    server: Server,
    request: RequestedNetwork,
    groups: list[str],
) -> Nic:
    networks = compute.networks
    owner = f"{OWNER}{server.availability_zone or compute.settings.availability_zone}"
    if request.port is None:
        fixed = [{"ip_address": request.fixed_ip}] if request.fixed_ip else None
        made = networks.create_port(
            conn,
            network_id=request.network or "",
            project_id=server.project_id,
            fixed_ips=fixed,
            device_id=server.uuid,
            device_owner=owner,
            security_groups=groups,
        )
        networks.check_quota(conn, server.project_id, "port")
        return Nic(port=made.id, network=made.network_id, ours=True)
    port = networks.claim_port(conn, request.port, device_id=server.uuid, device_owner=owner)
    return Nic(port=port.id, network=port.network_id, ours=False)


def wire(compute: Compute, conn: sa.Connection, server: Server, node_uuid: str) -> None:
    """Put the ports on the machine's NICs: from now on they have the NICs' MACs."""
    held = compute.baremetal.hold(conn, node_uuid, server.uuid)
    for nic in server.ports:
        card = held.attach_vif(nic.port)
        held.free_card(card)
        compute.networks.bind_port(
            conn, nic.port, host_id=node_uuid, mac=card.address, device_id=server.uuid
        )
    refresh(compute, conn, server)


def refresh(compute: Compute, conn: sa.Connection, server: Server) -> None:
    """Write down the addresses that clients are shown."""
    compute.update(conn, server.uuid, addresses=addresses(compute, conn, server))


def addresses(compute: Compute, conn: sa.Connection, server: Server) -> tuple[Address, ...]:
    found: list[Address] = []
    for port in compute.ports(conn, server):
        label = compute.networks.get_network(conn, port.network_id).name
        found.extend(
            Address(
                label=label,
                addr=ip.ip_address,
                version=6 if ":" in ip.ip_address else 4,
                mac=port.mac_address,
                port=port.id,
            )
            for ip in port.fixed_ips
        )
    return tuple(found)


def drop_gone(compute: Compute, conn: sa.Connection, server: Server, held: HeldNode) -> None:
    """Take ports off the machine that the server's project has deleted: nothing can be wired to them any more."""
    there = {port.id for port in compute.ports(conn, server)}
    gone = {nic.port for nic in server.ports} - there
    if not gone:
        return
    for vif in gone.intersection(held.vifs()):
        held.detach_vif(vif)
    left = tuple(nic for nic in server.ports if nic.port in there)
    compute.update(conn, server.uuid, ports=left)
    refresh(compute, conn, replace(server, ports=left))


def free_ports(compute: Compute, conn: sa.Connection, server: Server) -> None:
    """Delete the ports that were made for the server; give back those that were brought."""
    networks = compute.networks
    for nic in server.ports:
        if nic.ours:
            networks.delete_port(conn, nic.port)
            continue
        try:
            port = networks.unbind_port(conn, nic.port)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:  # its owner may have deleted it
                raise
            continue
        if port.device_id == server.uuid:
            networks.update_port(conn, port, {"device_id": "", "device_owner": ""})
    if server.ports or server.addresses:
        compute.update(conn, server.uuid, ports=(), addresses=())


# -- what it is to become ------------------------------------------------------------------------


def prepare(
    compute: Compute, conn: sa.Connection, server: Server, node_uuid: str, right: ImageRight
) -> None:
    """Write instance_info and the config drive; right: opens the image."""
    flavor = server.flavor
    specs = placement.request_of(flavor.extra_specs, 0, 0, 0)
    info: dict[str, Any] = {
        "image_source": server.image_id,
        "display_name": server.name,
        "vcpus": str(flavor.vcpus),
        "memory_mb": str(flavor.ram),
        "local_gb": str(flavor.disk),
        "root_gb": str(flavor.disk),
        "nova_host_id": compute.settings.host,
    }
    if specs.capabilities:
        info["capabilities"] = dict(specs.capabilities)
    if specs.required:
        info["traits"] = sorted(specs.required)
    drive = documents(
        server,
        compute.secrets_of(server),
        compute.networks.network_data(conn, [port.id for port in compute.ports(conn, server)]),
        compute.settings.domain,
    )
    held = compute.baremetal.hold(conn, node_uuid, server.uuid)
    held.prepare(instance_info=info, right=right, configdrive=drive)


def image_traits(properties: dict[str, str]) -> list[str]:
    """Traits that an image requires of its machine (`trait:CUSTOM_T=required`)."""
    return sorted(
        name.partition(":")[2]
        for name, value in properties.items()
        if name.startswith("trait:") and value == "required"
    )


# -- giving back ---------------------------------------------------------------------------------


def give_back(compute: Compute, conn: sa.Connection, server: Server) -> bool:
    """Let go of a machine on which the deploy has failed or was never begun.

    It keeps its own state and history; what can be undone on it is undone by its own undeploy. False while
    an operation holds it.
    """
    held = compute.baremetal.hold_any(conn, server.uuid)
    if held is not None:
        if workflow.live_operation(conn, held.node.subject) is not None:
            return False
        for vif in held.vifs():
            held.detach_vif(vif)
        if not held.release():
            _undeploy(conn, held)
    if server.node_uuid is not None or server.addresses:
        compute.update(conn, server.uuid, node_uuid=None, node_name=None, addresses=())
    return True


def _undeploy(conn: sa.Connection, held: HeldNode) -> None:
    held.forsake()
    try:
        held.undeploy()
    except Fault as fault:
        _note(conn, held.node, fault)


def _note(conn: sa.Connection, node: Node, fault: Fault) -> None:
    """A machine that stays in its failure: its operator must know why."""
    events.record(
        conn,
        node.subject,
        "note",
        f"The failed machine could not be taken back: {fault.sentence()}",
        severity="warning",
    )


def users_fault(kind: str | None) -> bool:
    """Whether a deploy failed by what was ordered, so that another machine would fail alike."""
    return kind in (Kind.INVALID, Kind.MISSING, Kind.CONFLICT)
