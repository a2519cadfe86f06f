"""Changes of machines that their servers take over: gone, powered on or off. Functions of a connection, for the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.services.compute import states, store
from ingot.services.compute.types import Server

if TYPE_CHECKING:
    from ingot.services.compute.service import Compute

#: What a server is while its machine's power is so.
_SHOWN = {states.RUNNING: states.ACTIVE, states.SHUTDOWN: states.STOPPED}


def pending(compute: Compute, conn: sa.Connection) -> list[store.MachineChange]:
    """Servers whose machine changed since the server was written, with that machine."""
    return store.machine_changes(conn, compute.baremetal.unreported_changes())


def apply(compute: Compute, conn: sa.Connection, changes: Sequence[store.MachineChange]) -> None:
    """Write into servers that nothing works on what is true of their machines now: gone, on or off."""
    for uuid, node in changes:
        server = store.find_server(conn, uuid)
        ours = server is not None and server.node_uuid == node
        if server is None or not ours or _apply_to_server(compute, conn, server):
            compute.baremetal.mark_reported(conn, uuid, node)


def _apply_to_server(compute: Compute, conn: sa.Connection, server: Server) -> bool:
    """False when something has begun to work on the server."""
    held = store.power_of(conn, compute.baremetal.held(), server.uuid, server.node_uuid or "")
    if held is None:
        return _lost(compute, conn, server)
    shown = _SHOWN.get(states.power(held.power))
    if held.operation or server.task_state:
        return False
    if shown is None or server.vm_state not in _SHOWN.values() or server.vm_state == shown:
        return True
    resting = (store.RESTING, store.in_states(_SHOWN.values()))
    values = {"vm_state": shown, "power_state": states.power(held.power)}
    return compute.shift(conn, server.uuid, *resting, **values)


def _lost(compute: Compute, conn: sa.Connection, server: Server) -> bool:
    """The server's machine is gone: the server goes to ERROR, or is deleted, as `undeploy_under_server` says."""
    told = compute.server_fault(
        Fault(
            f"Machine {server.node_name} was taken from the server by the Bare Metal API.",
            next_action="Delete the server and create it again.",
        )
    )
    none: dict[str, Any] = {"node_uuid": None, "addresses": (), "fault": told}
    lost = (store.RESTING, store.without_machine(compute.baremetal.held()))
    if not compute.shift(conn, server.uuid, *lost, vm_state=states.ERROR, **none):
        return False
    _unplug(compute, conn, server)
    if compute.baremetal.ctx.settings.undeploy_under_server == "end":
        compute.let_go(conn, server, "", "")
    return True


def _unplug(compute: Compute, conn: sa.Connection, server: Server) -> None:
    """The server's network ports are on no machine any more."""
    for nic in server.ports:
        try:
            compute.networks.unbind_port(conn, nic.port)
        except Fault as fault:
            if fault.kind is not Kind.MISSING:
                raise
