"""Create: find a machine, wire it, deploy the image on it; on another machine when one fails."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.compute import states
from ingot.compute.placement import Placing
from ingot.compute.workflows import machines
from ingot.compute.workflows.room import Case
from ingot.kit.faults import Failed, Fault, Kind

#: So often is a machine looked for when those that fit were taken meanwhile.
_TURNS = 20


async def create(case: Case, _order: Any) -> None:
    """scheduling -> networking -> spawning -> active."""
    traits = await case.image((await case.server()).image_id or "")
    failed: list[str] = []
    last: Fault | None = None
    for attempt in range(1, case.compute.settings.attempts + 1):
        key = str(attempt)
        place = await _find(case, key, failed, traits, last)
        if attempt == 1:
            await case.op.commit("make the network ports", lambda conn: _ports(case, conn))
        try:
            await _deploy(case, key, place)
            return
        except Fault as fault:
            machine = fault.details.get("machine")
            if fault.kind is Kind.ABORTED or machine is None:
                raise
            last = fault
        await case.op.commit("let the machine go", lambda conn: _let_go(case, conn), key=key)
        if machines.users_fault(str(machine)):
            raise last
        failed.append(place["node"])
    raise _exhausted(len(failed), last)


async def _find(
    case: Case, key: str, failed: list[str], traits: list[str], last: Fault | None
) -> dict[str, str]:
    def wanted(conn: sa.Connection) -> Placing:
        return machines.placing(case.compute, conn, case.here(conn), failed, traits)

    def choose(conn: sa.Connection) -> list[str]:
        return machines.choose(case.compute, conn, wanted(conn))

    try:
        for turn in range(1, _TURNS + 1):
            # The search is no transaction: only the claim is, so that nobody waits for who searches.
            chosen = [] if case.op.recorded else await case.compute.db.scan(choose)

            def claim(conn: sa.Connection, chosen: list[str] = chosen) -> dict[str, str]:
                if not chosen:
                    raise machines.no_valid_host(case.compute, conn, wanted(conn))
                return machines.claim(case.compute, conn, case.here(conn), wanted(conn), chosen)

            again = key if turn == 1 else f"{key}, again {turn}"
            if found := await case.op.commit("find a machine", claim, key=again):
                return found
        raise Failed("Machines that fit were taken by other servers again and again.")
    except Fault as fault:
        if last is None or fault.kind is Kind.ABORTED:
            raise
        raise Failed(
            f"{last.text} And there is no other machine to try: {fault.text}",
            next_action=fault.next_action,
        ) from None


def _ports(case: Case, conn: sa.Connection) -> int:
    return machines.make_ports(case.compute, conn, case.here(conn))


async def _deploy(case: Case, key: str, place: dict[str, str]) -> None:
    """One attempt on one machine. Faults that are the machine's have details["machine"]."""
    compute, node_uuid = case.compute, place["node"]

    def begin(conn: sa.Connection) -> dict[str, str]:
        machines.wire(compute, conn, case.here(conn), node_uuid)
        machines.prepare(compute, conn, case.here(conn), node_uuid, case.right)
        compute.step(conn, case.uuid, states.SPAWNING)
        held = compute.baremetal.hold(conn, node_uuid, case.uuid)
        return {"operation": held.deploy(notify=case.op.subject, by=case.by)}

    try:
        await case.order("start the deploy", begin, key)
    except Fault as fault:
        if fault.kind is not Kind.ABORTED:
            # A machine that refuses: wrongly enrolled, in maintenance by now, no port that fits.
            fault.details["machine"] = "refused"
        raise
    await case.ended(
        "deploy", compute.settings.build_seconds, f"machine {place['name']} to be deployed", key
    )


def _let_go(case: Case, conn: sa.Connection) -> bool:
    return machines.give_back(case.compute, conn, case.here(conn))


def _exhausted(count: int, last: Fault | None) -> Fault:
    why = last.text if last else ""
    return Failed(
        f"Exceeded maximum number of retries. The server was tried on {count} machines; the last "
        f"one said: {why}",
        next_action="Look at the machines' last_error and history; then delete the server and create "
        "it again.",
    )


def created(case: Case, conn: sa.Connection) -> None:
    case.settle(
        conn,
        vm_state=states.ACTIVE,
        power_state=states.RUNNING,
        launched_at=case.compute.now(),
        fault=None,
    )


def not_created(case: Case, conn: sa.Connection, fault: Fault) -> None:
    """Nothing stays claimed: the machine goes back, the ports go away."""
    if not case.compute.fails(conn, case.uuid, fault):
        return  # what it has is taken back by its deletion
    server = case.here(conn)
    if machines.give_back(case.compute, conn, server):
        machines.free_ports(case.compute, conn, server)
