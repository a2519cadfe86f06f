"""Stories of a server that has its machine: power, rebuild, rescue."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import HeldNode
from ingot.compute import states
from ingot.compute.workflows import machines
from ingot.compute.workflows.room import Case
from ingot.kit.faults import Fault, Kind
from ingot.workflow import StepContext

#: Causes that lie with the controller itself, whatever it is asked.
_NO_CONTROLLER = frozenset({Kind.UNREACHABLE, Kind.BAD_CREDENTIALS, Kind.WRONG_MACHINE})

# -- power ---------------------------------------------------------------------------------------


async def start(case: Case, _order: Any) -> None:
    await _power(case, "power on")


async def stop(case: Case, _order: Any) -> None:
    """The operating system first; the machine is switched off when it does not listen."""
    await _softly(case, "soft power off", "power off")


async def reboot(case: Case, order: dict[str, Any]) -> None:
    if order.get("type") == "SOFT":
        await _softly(case, "soft rebooting", "rebooting")
    else:
        await _power(case, "rebooting")


async def _softly(case: Case, soft: str, hard: str) -> None:
    try:
        await _power(case, soft, timeout=case.compute.settings.soft_seconds)
    except Fault as fault:
        if fault.kind is Kind.ABORTED or fault.details.get("machine") in _NO_CONTROLLER:
            # Whoever does not answer, or does not know us, will not switch it off by force either.
            raise
        await _power(case, hard)


async def _power(case: Case, target: str, timeout: int | None = None) -> None:
    def order(conn: sa.Connection) -> dict[str, str]:
        started = _machine(case, conn).power(target, timeout, notify=case.op.subject, by=case.by)
        return {"operation": started}

    await case.order(f"order: {target}", order)
    await case.ended("power", case.compute.settings.power_seconds, f"the machine: {target}", target)


def _machine(case: Case, conn: sa.Connection) -> HeldNode:
    """The server's machine, if it is its own still."""
    return case.compute.machine(conn, case.here(conn))


def running(case: Case, conn: sa.Connection) -> None:
    case.settle(conn, vm_state=states.ACTIVE, power_state=states.RUNNING)


def stopped(case: Case, conn: sa.Connection) -> None:
    case.settle(conn, vm_state=states.STOPPED, power_state=states.SHUTDOWN)


def unchanged_well(case: Case, conn: sa.Connection) -> None:
    case.settle(conn)


def unchanged(case: Case, conn: sa.Connection, fault: Fault) -> None:
    """The server is as it was; the action's record says why."""
    case.settle(conn)


async def crash_dump(case: Case, _order: Any) -> None:
    """A non-maskable interrupt: the operating system writes its dump, if it is told to."""

    async def interrupt(_ctx: StepContext) -> None:
        node_uuid = (await case.server()).node_uuid or ""
        await case.compute.baremetal.interrupt(node_uuid, case.uuid)

    seconds = case.compute.settings.power_seconds
    await case.op.step("interrupt the machine", interrupt, deadline=seconds)


# -- rebuild -------------------------------------------------------------------------------------


async def rebuild(case: Case, order: dict[str, Any]) -> None:
    """The image (the same or another) again on the same machine."""

    await case.image((await case.server()).image_id or "")

    def begin(conn: sa.Connection) -> dict[str, str]:
        machine = _machine(case, conn)
        off = case.here(conn).vm_state == states.STOPPED
        machines.drop_gone(case.compute, conn, case.here(conn), machine)
        machines.prepare(case.compute, conn, case.here(conn), machine.node.uuid, case.right)
        case.compute.step(conn, case.uuid, states.REBUILD_SPAWNING)
        started = machine.rebuild(
            notify=case.op.subject,
            preserve_ephemeral=bool(order.get("preserve_ephemeral")),
            by=case.by,
        )
        return {"operation": started, "off": "off" if off else ""}

    begun = await case.order("start the rebuild", begin)
    await case.ended("deploy", case.compute.settings.build_seconds, "the machine to be rebuilt")
    if begun.get("off"):
        # A server that was shut off is shut off afterwards.
        await _power(case, "power off")


def rebuilt(case: Case, conn: sa.Connection) -> None:
    off = case.here(conn).vm_state == states.STOPPED
    case.settle(
        conn,
        vm_state=states.STOPPED if off else states.ACTIVE,
        power_state=states.SHUTDOWN if off else states.RUNNING,
        launched_at=case.compute.now(),
        fault=None,
    )


def broken(case: Case, conn: sa.Connection, fault: Fault) -> None:
    """What was on the machine is not sure to be there any more."""
    if fault.kind is not Kind.ABORTED:
        case.compute.set_fault(conn, case.uuid, fault)
    case.settle(conn, vm_state=states.ERROR)


# -- rescue --------------------------------------------------------------------------------------


async def rescue(case: Case, order: dict[str, Any]) -> None:
    """A system from the network with a log-in, the disk beside it: the agent's own, whatever image was named."""
    if order.get("image"):
        await case.image(order["image"])

    def begin(conn: sa.Connection) -> dict[str, str]:
        password = case.compute.secrets_of(case.here(conn)).admin_pass
        started = _machine(case, conn).rescue(
            rescue_password=password, notify=case.op.subject, by=case.by
        )
        return {"operation": started}

    await case.order("start the rescue", begin)
    await case.ended("rescue", case.compute.settings.build_seconds, "the rescue system")


def rescued(case: Case, conn: sa.Connection) -> None:
    case.settle(conn, vm_state=states.RESCUED, power_state=states.RUNNING)


async def unrescue(case: Case, _order: Any) -> None:
    """The machine's own disk again."""

    def begin(conn: sa.Connection) -> dict[str, str]:
        started = _machine(case, conn).unrescue(notify=case.op.subject, by=case.by)
        return {"operation": started}

    await case.order("end the rescue", begin)
    await case.ended("unrescue", case.compute.settings.build_seconds, "the machine's own system")
