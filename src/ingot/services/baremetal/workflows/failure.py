"""The bad ends of all workflows: failure states, flags, and the cause where people look for it.

What a failure does to a node: its state's failure state; `last_error` and an entry in the history; nothing of
the operation left behind. A cleaning or service that failed in one of its steps also puts the node into
maintenance with a fault (`clean failure`, `service failure`), since nobody knows what the step has left; so does
a rescue whose abort could not switch the machine off again (`rescue abort failure`). Source: the Bare Metal API's
error handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ingot.kit.faults import Fault, Kind
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import followup_store, states
from ingot.services.baremetal.orders import ACTS, RESTORE
from ingot.services.baremetal.ramdisk import store as agent_store
from ingot.services.baremetal.steps import secrets as step_secrets
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows.node_task import Deps, NodeTask, enter, release, unplug
from ingot.workflow import Op

CLEAN_FAILURE = "clean failure"
SERVICE_FAILURE = "service failure"
RESCUE_ABORT_FAILURE = "rescue abort failure"
#: Kinds that leave the provisioning state, and what the machine runs, alone.
_PASSING = ACTS | {"power", "boot mode", "secure boot", "virtual media", "vendor call", "restore"}


def failing(deps: Deps) -> Callable[[sa.Connection, Op, Fault], None]:
    """The bad end of all workflows: the state's failure state, with the cause where people look for it."""

    def on_failure(conn: sa.Connection, op: Op, fault: Fault) -> None:
        task = NodeTask(deps, op)
        # A request may be about to give it up for another verb.
        node = store.lock_node(conn, task.uuid)
        if node is None:
            return
        store.write_secret(conn, deps.vault, node.uuid, store.VENDOR_ARGS, None)
        if followup_store.verb_of(conn, node.uuid) is not None:
            _made_way(task, conn, node)
            text = f"{op.kind.capitalize()} was given up: {fault.text}"
        else:
            text = _failed(task, conn, node, fault)
        # A cause that lasted until the deadline tells more than the deadline.
        kind = str(fault.details.get("last_kind") or fault.kind)
        task.tell(conn, {"ok": False, "error": text, "kind": kind})

    return on_failure


def _made_way(task: NodeTask, conn: sa.Connection, node: Node) -> None:
    """Another verb waits for this end, and the node is in its state already."""
    task.note(conn, f"The {task.op.kind} was given up for another request.")
    tidy(task.deps, conn, node)
    # Still reserved: the lock passes over to the verb that waits.
    store.update_node(conn, node.uuid, target_power_state=None)


def _failed(task: NodeTask, conn: sa.Connection, node: Node, fault: Fault) -> str:
    op, deps = task.op, task.deps
    passing = op.kind in _PASSING
    failure = node.provision_state
    if not passing:
        failure = states.STATES[node.provision_state].failure or node.provision_state
    given_up = failure == states.SERVICEFAIL and fault.kind is Kind.ABORTED
    text = explain(op, fault, states.ACTIVE if given_up else failure)
    task.note(conn, text, "ERROR")
    flags = _flags(conn, op, node, fault, text)
    if not passing:
        step_secrets.forget(conn, deps.vault, node.uuid)
        give_up(deps, conn, node)
    if given_up:
        _back_to_the_instance(task, conn)
    release(conn, node.uuid, last_error=text, target_power_state=None, **flags)
    return text


def _flags(conn: sa.Connection, op: Op, node: Node, fault: Fault, text: str) -> dict[str, Any]:
    """Maintenance and fault, where what the machine is in is not known any more."""
    aborted = fault.kind is Kind.ABORTED
    state = node.provision_state
    found = ""
    if state in _CLEANING and not aborted and store.shows_step(conn, node.uuid, "clean_step"):
        found = CLEAN_FAILURE
    if state in _SERVICING and not aborted and store.shows_step(conn, node.uuid, "service_step"):
        found = SERVICE_FAILURE
    if op.kind == RESTORE:
        found = SERVICE_FAILURE
    if op.kind == "rescue" and aborted and fault.details.get("undo_failed"):
        found = RESCUE_ABORT_FAILURE
    if not found:
        return {}
    reason = store.maintenance_reason(conn, node.uuid)
    return {"maintenance": True, "fault": found, "maintenance_reason": reason or text}


_CLEANING = frozenset({states.CLEANING, states.CLEANWAIT, states.CLEANHOLD})
_SERVICING = frozenset({states.SERVICING, states.SERVICEWAIT, states.SERVICEHOLD})


def _back_to_the_instance(task: NodeTask, conn: sa.Connection) -> None:
    """An aborted service goes on to active; an instance that was stopped for it is started again."""
    node = store.get_node(conn, task.uuid)
    task.shift(conn, "abort")
    if node.instance_stopped:
        followup_store.add(conn, task.uuid, RESTORE, {}, {"user": ""}, task.deps.now())


def give_up(deps: Deps, conn: sa.Connection, node: Node) -> str:
    """Put a node whose work is over into its state's failure state, and leave nothing behind."""
    failure = states.STATES[node.provision_state].failure
    if failure:
        target = node.target_provision_state
        enter(conn, node.uuid, node.provision_state, failure, target, deps.now())
    tidy(deps, conn, node)
    return failure or node.provision_state


def tidy(deps: Deps, conn: sa.Connection, node: Node) -> None:
    """What an operation may have left at a node: agent, boot intent, steps shown, addresses."""
    agent_store.forget_agent(conn, node.uuid, "rescue_password")
    store.update_node(
        conn, node.uuid, boot_intent=None, clean_step={}, deploy_step={}, service_step={}
    )
    unplug(deps, conn, node)
    deps.images.revoke(conn, node.uuid)


#: What a controller's own words often leave unclear.
_SORTS = frozenset({Kind.BAD_CREDENTIALS, Kind.UNREACHABLE, Kind.BUSY, Kind.UNSUPPORTED})


def explain(op: Op, fault: Fault, state: str) -> str:
    """One text for last_error: which step, why, and what to do next."""
    step = fault.details.get("step")
    where = f" at step '{step}'" if step and f"'{step}'" not in fault.text else ""
    what = "was aborted" if fault.kind is Kind.ABORTED else "failed"
    sort = f"{fault.kind}: " if fault.kind in _SORTS else ""
    parts = [f"{op.kind.capitalize()} {what}{where}: {sort}{fault.sentence()}"]
    broken = fault.details.get("undo_failed")
    if isinstance(broken, list):
        parts += [f"Besides, {text}" for text in broken]  # pyright: ignore[reportUnknownVariableType]
        parts.append("The machine may still be on.")
    verbs = states.verbs_of(state)
    if not fault.next_action and verbs:
        parts.append(f"Possible now: {', '.join(verbs)}.")
    return " ".join(parts)
