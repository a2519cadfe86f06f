"""Verbs: what starts long work on a node. State change and operation are one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ingot import workflow
from ingot.drivers.machine.types import PowerTarget
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Locked
from ingot.services.baremetal import orders, store
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import conductors, followup_store, guards, validation
from ingot.services.baremetal.nodes import (
    states as machine,
)
from ingot.services.baremetal.nodes import store as node_store
from ingot.services.baremetal.nodes.lock_store import LockedNode
from ingot.services.baremetal.orders import RESTORE
from ingot.services.baremetal.steps import known as known_steps
from ingot.services.baremetal.steps import secrets as step_secrets
from ingot.services.baremetal.types import Node


@dataclass(frozen=True, slots=True)
class VerbArguments:
    """What may come with a verb.

    steps: clean_steps, deploy_steps or service_steps. configdrive: documents
    {meta_data, network_data, user_data, vendor_data} or gzip+base64 text or URL. notify: subject
    (such as "server:<uuid>") that gets a signal "<kind> ended" {"ok", "error"} at the end.
    """

    steps: list[dict[str, Any]] | None = None
    disable_ramdisk: bool = False
    preserve_ephemeral: bool = False
    configdrive: dict[str, Any] | str | None = None
    rescue_password: str | None = None
    notify: str = ""


NOTHING = VerbArguments()


def provision(
    ctx: Context,
    conn: sa.Connection,
    ident: str | store.NodeForAction,
    verb: str,
    extras: VerbArguments = NOTHING,
    by: By = NOBODY,
    *,
    instance: str = "",
) -> str | None:
    """Do a verb of the state table; the id of the operation that was started, if one was.

    ident: a node's uuid or name, or what this transaction has read of it. instance: the one that asks for itself.

    Raises Invalid (400) when the state does not have the verb, Locked (409) while an operation works.
    """
    if isinstance(ident, store.NodeForAction):
        found = ident
    else:
        store.hold(conn, ident)
        found = store.get_for_action(conn, ident)
    node = found.node
    event, _since = machine.VERBS.get(verb, ("", 0))
    state = machine.STATES[node.provision_state]
    if event in ("deploy", "rebuild"):
        guards.maintenance(node, event)
    row = None if state.kind == "working" else machine.following(state.name, event)
    live = workflow.live_operation(conn, node.subject) if found.operation is not None else None
    if live is None and found.successor is not None:
        raise locked(node, None)
    if row is None:
        if live is not None or node.reservation is not None:
            raise locked(node, live)
        raise Invalid(
            f'The requested action "{verb}" can not be performed on node "{node.uuid}" while it '
            f'is in state "{state.name}".',
            next_action=_possible(state.name),
        )
    guards.verb(node, event, ctx.settings.allow_provisioning_in_maintenance)
    if event == "delete" and ctx.settings.undeploy_under_server == "refuse":
        guards.occupied(node, instance)
    if event == "abort":
        return _abort(ctx, conn, node, row, by)
    if event == "unhold":
        return _unhold(ctx, conn, node, row)
    kind = machine.STATES[row.next].operation
    if live is not None:
        if event in ("delete", "service") and state.kind in ("waiting", "held"):
            return _supersede(ctx, conn, found, row, verb, live.kind, extras, by)
        raise locked(node, live)
    if kind:
        conductors.need_conductor(ctx, conn, node.conductor_group)
        _crowd(ctx, conn, event)
        _check(ctx, conn, found, kind, extras)
    if event == "deploy":
        _lend(ctx, conn, node)
    extras = _keep_secrets(ctx, conn, node, event, extras)
    return _enter(ctx, conn, node, row, kind, _order(kind, event, extras), by)


def locked(node: Node, live: workflow.OperationRow | None) -> Locked:
    """The 409 that clients wait for and repeat on."""
    host = node.reservation or "of its operation"
    doing = f" It is a {live.kind}" if live is not None else ""
    return Locked(
        f"Node {node.uuid} is locked by host {host}, please retry after the current operation is "
        "completed."
        + (doing + (f", at step '{live.step}'." if live.step else ".") if live else ""),
        next_action="Wait for it to end, or abort it.",
        details={"operation_id": live.id, "kind": live.kind} if live is not None else {},
    )


def free(conn: sa.Connection, node: Node | LockedNode) -> None:
    """Raise Locked while an operation holds the node, or another verb is about to begin on it."""
    if isinstance(node, LockedNode):
        if node.operation is None and node.successor is None:
            return
        node = node.node
    live = workflow.live_operation(conn, node.subject)
    if live is not None or followup_store.verb_of(conn, node.uuid) is not None:
        raise locked(node, live)


def unheld(conn: sa.Connection, node: Node | LockedNode) -> None:
    """As `free`, but what waits for the machine, or for a person, holds nothing meanwhile.

    For changes of ports, traits and the like, which upstream takes while the agent boots.
    """
    state = (node.node if isinstance(node, LockedNode) else node).provision_state
    if machine.STATES[state].kind not in ("waiting", "held"):
        free(conn, node)


def power(
    ctx: Context,
    conn: sa.Connection,
    ident: str,
    target: str,
    timeout: int | None = None,
    by: By = NOBODY,
    notify: str = "",
) -> str:
    """Ask for a power state; the operation's id. timeout: seconds, for soft targets mainly."""
    node = store.hold_node(conn, ident)
    if timeout is not None and timeout < 1:
        raise Invalid("timeout has to be positive integer")
    if target not in set(PowerTarget):
        raise Invalid(
            f'The requested action "{target}" can not be performed on node "{node.uuid}" while '
            f'it is in state "{node.power_state}".',
            next_action=f"Possible targets: {', '.join(PowerTarget)}.",
        )
    driver = ctx.registry.power(node.driver, node.interfaces.get("power"))
    guards.power(node, target, [str(one) for one in driver.supported()])
    free(conn, node)
    conductors.need_conductor(ctx, conn, node.conductor_group)
    ctx.access(conn, node, "power")
    wanted = PowerTarget(target)
    if timeout is None and wanted in (PowerTarget.SOFT_OFF, PowerTarget.SOFT_REBOOT):
        timeout = ctx.settings.soft_power_timeout
    store.update_node(
        conn,
        node.uuid,
        target_power_state=str(wanted.final),
        reservation=ctx.host,
        last_error=None,
        updated_at=ctx.now(),
    )
    return start(
        conn, node, "power", orders.PowerOrder(target=target, timeout=timeout, notify=notify), by
    )


def follow_up(ctx: Context, conn: sa.Connection, node_uuid: str) -> str | None:
    """Begin the verb that waited for the end of an operation; the operation's id if there was one.

    The node is in the verb's state since it was asked for, so nothing is checked again here.
    """
    store.hold(conn, node_uuid)
    waiting = followup_store.take(conn, node_uuid)
    node = store.find_node(conn, node_uuid)
    if waiting is None or node is None:
        return None
    verb, extras, asked_by = waiting
    kind, order = _succession(verb, extras)
    wanted = machine.ACTIVE if kind == RESTORE else ""
    state = machine.STATES[node.provision_state]
    if workflow.live_operation(conn, node.subject) is not None:
        raise locked(node, workflow.live_operation(conn, node.subject))
    if state.operation != kind and state.name != wanted:
        store.update_node(conn, node.uuid, reservation=None)
        return None
    store.update_node(conn, node.uuid, reservation=ctx.host)
    return start(conn, node, kind, order, By(**asked_by))


def _succession(verb: str, extras: dict[str, Any]) -> tuple[str, orders.Order]:
    """The operation of a verb that waited, and what it is asked to do."""
    if verb == RESTORE:
        return RESTORE, orders.RestoreOrder()
    given = VerbArguments(**extras)
    if verb == "service":
        return "service", _order("service", "service", given) or orders.ServiceOrder()
    return "undeploy", orders.UndeployOrder(notify=given.notify)


def followers(conn: sa.Connection) -> tuple[str, ...]:
    """Nodes with a verb that waits and no operation any more."""
    waiting = followup_store.nodes_waiting(conn)
    busy = workflow.live_operations(conn, [f"node:{uuid}" for uuid in waiting]) if waiting else {}
    return tuple(uuid for uuid in waiting if f"node:{uuid}" not in busy)


# -- inside --------------------------------------------------------------------------------------


def _possible(state: str) -> str:
    verbs = machine.verbs_of(state)
    return f"Possible now: {', '.join(verbs)}." if verbs else "Wait for the operation to end."


def _abort(ctx: Context, conn: sa.Connection, node: Node, row: machine.Row, by: By) -> str | None:
    if node.provision_state == machine.SERVICEFAIL and node.maintenance:
        raise Conflict(
            f'Can not abort service on node "{node.uuid}" while it is in maintenance mode. Please '
            "remove the node from maintenance prior to issuing the request to abort the service "
            "operation."
        )
    live = workflow.live_operation(conn, node.subject)
    if live is not None and live.kind in orders.ACTS:
        raise locked(node, live)  # over in a moment, and nothing of the state that is to be left
    if live is not None:
        reason = f"By request, the {live.kind} operation was aborted."
        workflow.cancel(conn, node.subject, reason, by=by.user)
        return live.id
    if node.provision_state == machine.SERVICEFAIL and node.instance_stopped:
        return _enter(ctx, conn, node, row, RESTORE, orders.RestoreOrder(), by)
    # Nothing works on it any more: the state itself is all there is to leave.
    return _enter(ctx, conn, node, row, "", None, by)


def _unhold(ctx: Context, conn: sa.Connection, node: Node, row: machine.Row) -> str | None:
    now = ctx.now()
    moved = {"provision_state": row.next, "provision_updated_at": now, "updated_at": now}
    if not store.move_node(conn, node.uuid, node.provision_state, **moved):
        raise locked(node, None)
    if not workflow.signal(conn, node.subject, "unhold"):
        raise Locked(f"Node {node.uuid} is held, but no operation waits for it to go on.")
    return None


def _supersede(
    ctx: Context,
    conn: sa.Connection,
    found: store.NodeForAction,
    row: machine.Row,
    verb: str,
    kind: str,
    extras: VerbArguments,
    by: By,
) -> None:
    """End the operation that waits, and let this verb follow it.

    The node is in the new verb's state at once: the old one's failure is nobody's concern any more.
    """
    node = found.node
    _check(ctx, conn, found, machine.STATES[row.next].operation, extras)
    extras = _keep_secrets(ctx, conn, node, verb, extras)
    asked_by = {"user": by.user, "project_id": by.project_id, "request_id": by.request_id}
    waiting = {"notify": extras.notify, "steps": extras.steps}
    waiting |= {"disable_ramdisk": extras.disable_ramdisk}
    followup_store.add(conn, node.uuid, verb, waiting, asked_by, ctx.now())
    _enter(ctx, conn, node, row, "", None, by)
    store.update_node(conn, node.uuid, reservation=ctx.host)
    workflow.cancel(conn, node.subject, f"The {kind} makes way for {verb}.", by=by.user)


#: Verb -> what the API calls it, and the states that count towards its limit.
_CROWDS = {
    **dict.fromkeys(
        ("deploy", "rebuild"), ("provisioning", (machine.DEPLOYING, machine.DEPLOYWAIT))
    ),
    "delete": ("unprovisioning", (machine.DELETING, machine.CLEANING, machine.CLEANWAIT)),
    "clean": ("cleaning", (machine.DELETING, machine.CLEANING, machine.CLEANWAIT)),
}


def _crowd(ctx: Context, conn: sa.Connection, event: str) -> None:
    """503 when as many machines are at it already as the operator allows."""
    called, states = _CROWDS.get(event, ("", ()))
    deploys = called == "provisioning"
    most = ctx.settings.max_concurrent_deploy if deploys else ctx.settings.max_concurrent_clean
    if not states or not most:
        return
    if node_store.count_in(conn, states) >= most:
        raise Fault(
            "Unable to process request at this time. The concurrent action limit for "
            f"{called} has been reached. Please contact your administrator and try again later.",
            kind=Kind.UNAVAILABLE,
            retry_after=30,
        )


def _lend(ctx: Context, conn: sa.Connection, node: Node) -> None:
    """The instance's project uses the machine as long as the instance is on it."""
    project: object = node.instance_info.get("project_id")
    if ctx.settings.automatic_lessee and node.lessee is None and project:
        store.update_node(conn, node.uuid, lessee=str(project), automatic_lessee=True)


def _check(
    ctx: Context,
    conn: sa.Connection,
    standing: store.NodeForAction,
    kind: str,
    extras: VerbArguments,
) -> None:
    """What can be known to be wrong before anything is done."""
    node, info = standing.node, standing.driver_info(ctx.vault)
    _check_steps(ctx, conn, node, kind, extras)
    if kind == "rescue" and not (extras.rescue_password or "").strip():
        raise Invalid(
            'A non-empty "rescue_password" is required when setting target provision state to rescue'
        )
    if kind in ("deploy", "adopt"):
        found = ctx.registry.validate(node.driver, info, node.interfaces)
        problems = [p.text for name in ("power", "boot", "deploy") for p in found[name]]
        if kind == "deploy":
            style = ctx.registry.deploy(node.driver, node.interfaces.get("deploy"))
            wanted = standing.instance_info(ctx.vault)
            problems += style.problems(wanted)
            problems += validation.image_problems(ctx, conn, node, wanted)
        if problems:
            raise Invalid(
                f"Cannot {kind} node {node.uuid}: {'; '.join(dict.fromkeys(problems))}.",
                next_action="Correct driver_info or instance_info; `validate` tells the same.",
            )
    elif kind in ("clean", "undeploy", "rescue", "unrescue", "service", "inspect"):
        ctx.access_by(node, info, "power")


def _check_steps(
    ctx: Context, conn: sa.Connection, node: Node, kind: str, extras: VerbArguments
) -> None:
    if extras.steps:
        ctx.settings.steps.refuse(kind, extras.steps)
        no_ramdisk = extras.disable_ramdisk
        known_steps.check(conn, ctx.registry, node, kind, extras.steps, disable_ramdisk=no_ramdisk)
    if kind == "deploy" and (
        wrong := known_steps.template_problems(conn, ctx.registry, ctx.vault, node)
    ):
        raise Invalid(
            wrong[0], next_action="Correct the deploy templates, or instance_info.traits."
        )


def _keep_secrets(
    ctx: Context, conn: sa.Connection, node: Node, event: str, extras: VerbArguments
) -> VerbArguments:
    """Seal what must not stand in an order; the extras without it."""
    if event in ("deploy", "rebuild") and extras.configdrive:
        store.write_secret(conn, ctx.vault, node.uuid, "configdrive", extras.configdrive)
    if event == "rescue":
        store.write_secret(conn, ctx.vault, node.uuid, "rescue_password", extras.rescue_password)
    if not extras.steps:
        return extras
    return replace(extras, steps=step_secrets.hide(conn, ctx.vault, node.uuid, extras.steps))


def _order(kind: str, event: str, extras: VerbArguments) -> orders.Order | None:
    if not kind:
        return None
    if kind == "clean":
        steps = extras.steps if event == "clean" else None
        return orders.CleanOrder(
            steps=steps, disable_ramdisk=extras.disable_ramdisk, notify=extras.notify
        )
    if kind == "service":
        return orders.ServiceOrder(
            steps=extras.steps or [],
            disable_ramdisk=extras.disable_ramdisk,
            notify=extras.notify,
        )
    if kind == "deploy":
        return orders.DeployOrder(
            rebuild=event == "rebuild",
            preserve_ephemeral=extras.preserve_ephemeral,
            steps=extras.steps,
            notify=extras.notify,
        )
    return orders.ORDERS[kind](notify=extras.notify)


def _enter(
    ctx: Context,
    conn: sa.Connection,
    node: Node,
    row: machine.Row,
    kind: str,
    order: orders.Order | None,
    by: By,
) -> str | None:
    now = ctx.now()
    extra: dict[str, Any] = {}
    if kind == "inspect":
        extra = {"inspection_started_at": now, "inspection_finished_at": None}
    resting = machine.STATES[row.next].kind == "stable"
    moved = store.move_node(
        conn,
        node.uuid,
        node.provision_state,
        provision_state=row.next,
        target_provision_state=None if resting else (row.target or node.target_provision_state),
        provision_updated_at=now,
        updated_at=now,
        last_error=None,
        reservation=ctx.host if order is not None else None,
        **extra,
    )
    if not moved:
        raise locked(node, workflow.live_operation(conn, node.subject))
    if order is None:
        return None
    return start(conn, node, kind, order, by)


def start(
    conn: sa.Connection,
    node: Node,
    kind: str,
    order: orders.Order,
    by: By,
    held_until: datetime | None = None,
) -> str:
    """A new operation on a node; its id. held_until: as in `workflow.start`."""
    return workflow.start(
        conn,
        kind,
        node.subject,
        order,
        profile=_profile(node),
        project_id=by.project_id,
        request_id=by.request_id,
        group=node.conductor_group,
        requested_by=by.user,
        held_until=held_until,
    )


def _profile(node: Node) -> str:
    """The hardware model, for deadlines that are learned."""
    vendor: object = node.properties.get("vendor")
    return "/".join(str(part) for part in (node.driver, node.resource_class, vendor) if part)
