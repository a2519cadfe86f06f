"""Create: find a machine, wire it, deploy the image on it; on another machine when one fails."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Failed, Fault, Kind
from ingot.services.compute import states
from ingot.services.compute.placement import Placement
from ingot.services.compute.types import Server
from ingot.services.compute.workflows import machines
from ingot.services.compute.workflows.server_task import ServerTask

#: So often is a machine looked for when those that fit were taken meanwhile.
_TURNS = 20


async def create(task: ServerTask, _order: Any) -> None:
    """scheduling -> networking -> spawning -> active."""
    server = await task.server()
    traits = await task.image(server.image_id or "")
    failed: list[str] = []
    last: Fault | None = None
    for attempt in range(1, task.compute.settings.attempts + 1):
        key = str(attempt)
        place = await _find(task, key, server, (failed, traits), last)
        if attempt == 1:
            await task.op.commit("make the network ports", lambda conn: _ports(task, conn))
        try:
            await _deploy(task, key, place)
            return
        except Fault as fault:
            machine = fault.details.get("machine")
            if fault.kind is Kind.ABORTED or machine is None:
                raise
            last = fault
        await task.op.commit("let the machine go", lambda conn: _let_go(task, conn), key=key)
        if machines.users_fault(str(machine)):
            raise last
        failed.append(place["node"])
    raise _exhausted(len(failed), last)


async def _find(
    task: ServerTask,
    key: str,
    ordered: Server,
    limits: tuple[list[str], list[str]],
    last: Fault | None,
) -> dict[str, str]:
    """ordered: of which the search takes what no request changes. limits: machines that failed, traits of the image."""
    failed, traits = limits

    def wanted(conn: sa.Connection, server: Server) -> Placement:
        return machines.placing(task.compute, conn, server, failed, traits)

    def choose(conn: sa.Connection) -> list[str] | Fault:
        sought = wanted(conn, ordered)
        found = machines.choose(task.compute, conn, sought)
        return found or machines.no_valid_host(task.compute, conn, sought)

    try:
        for turn in range(1, _TURNS + 1):
            # The search is no transaction: only the claim is, so that nobody waits for who searches.
            chosen = [] if task.op.recorded else await task.compute.db.scan(choose)

            def claim(conn: sa.Connection, chosen: list[str] | Fault = chosen) -> dict[str, str]:
                if isinstance(chosen, Fault):
                    raise chosen
                server = task.here(conn)
                return machines.claim(task.compute, conn, server, wanted(conn, server), chosen)

            again = key if turn == 1 else f"{key}, again {turn}"
            if found := await task.op.commit("find a machine", claim, key=again):
                return found
        raise Failed("Machines that fit were taken by other servers again and again.")
    except Fault as fault:
        if last is None or fault.kind is Kind.ABORTED:
            raise
        raise Failed(
            f"{last.text} And there is no other machine to try: {fault.text}",
            next_action=fault.next_action,
        ) from None


def _ports(task: ServerTask, conn: sa.Connection) -> int:
    return machines.make_ports(task.compute, conn, task.here(conn))


async def _deploy(task: ServerTask, key: str, place: dict[str, str]) -> None:
    """One attempt on one machine. Faults that are the machine's have details["machine"]."""
    compute, node_uuid = task.compute, place["node"]

    def begin(conn: sa.Connection) -> dict[str, str]:
        machines.wire(compute, conn, task.here(conn), node_uuid)
        machines.prepare(compute, conn, task.here(conn), node_uuid, task.right)
        compute.step(conn, task.uuid, states.SPAWNING)
        held = compute.baremetal.hold(conn, node_uuid, task.uuid)
        return {"operation": held.deploy(notify=task.op.subject, by=task.by)}

    try:
        await task.order("start the deploy", begin, key)
    except Fault as fault:
        if fault.kind is not Kind.ABORTED:
            # A machine that refuses: wrongly enrolled, in maintenance by now, no port that fits.
            fault.details["machine"] = "refused"
        raise
    await task.ended(
        "deploy", compute.settings.build_seconds, f"machine {place['name']} to be deployed", key
    )


def _let_go(task: ServerTask, conn: sa.Connection) -> bool:
    return machines.give_back(task.compute, conn, task.here(conn))


def _exhausted(count: int, last: Fault | None) -> Fault:
    why = last.text if last else ""
    return Failed(
        f"Exceeded maximum number of retries. The server was tried on {count} machines; the last "
        f"one said: {why}",
        next_action="Look at the machines' last_error and history; then delete the server and create "
        "it again.",
    )


def created(task: ServerTask, conn: sa.Connection) -> None:
    task.settle(
        conn,
        vm_state=states.ACTIVE,
        power_state=states.RUNNING,
        launched_at=task.compute.now(),
        fault=None,
    )


def not_created(task: ServerTask, conn: sa.Connection, fault: Fault) -> None:
    """Nothing stays claimed: the machine goes back, the ports go away."""
    if not task.compute.fails(conn, task.uuid, fault):
        return  # what it has is taken back by its deletion
    server = task.here(conn)
    if machines.give_back(task.compute, conn, server):
        machines.free_ports(task.compute, conn, server)
