"""Allocations: machines claimed by what they must have.

The claim is decided in the transaction that makes the allocation, so none is ever left half way, and two
requests never get the same machine: on SQLite there is one writer, on PostgreSQL the chosen node's row is
locked, and those that others are just choosing are passed over.

Source: the Bare Metal API's allocations (1.52, 1.57 update, 1.58 back-fill, 1.60 owner).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit.db.database import IntegrityError, from_json, to_json
from ingot.kit.faults import Conflict, Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations import store as allocation_store
from ingot.services.baremetal.allocations.types import AllocationRequest, ChosenNode
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import guards, states
from ingot.services.baremetal.types import Node

ALLOCATING, ACTIVE, ERROR = "allocating", "active", "error"


# -- making --------------------------------------------------------------------------------------


def create(ctx: Context, conn: sa.Connection, request: AllocationRequest, by: By = NOBODY) -> None:
    """A new allocation, decided at once: active with its node, or in error with the reason."""
    _unique(conn, uuid=request.uuid, name=request.name)
    node, reason = _choose(conn, request)
    if reason:
        reason = f"Failed to process allocation {request.uuid}: {reason}."
    _insert(ctx, conn, request, None if node is None else node.uuid, reason)
    if node is not None:
        _claim(ctx, conn, node.uuid, from_json(node.instance_info), request, by)


def backfill(
    ctx: Context, conn: sa.Connection, request: AllocationRequest, node_uuid: str, by: By = NOBODY
) -> None:
    """An allocation for a machine that is in use already; refused when the machine does not fit."""
    _unique(conn, uuid=request.uuid, name=request.name)
    node = store.lock_node(conn, node_uuid)
    if node is None:
        raise Invalid(f"Node {node_uuid} could not be found.")
    if node.instance_uuid and node.instance_uuid != request.uuid:
        raise Conflict(f"Node {node.uuid} is associated with instance {node.instance_uuid}.")
    if problems := _unfit(node, request):
        raise Conflict(
            f"Failed to process allocation {request.uuid}: Cannot backfill an allocation for node "
            f"{node.uuid}: {'; '.join(problems)}."
        )
    _insert(ctx, conn, request, node.uuid, None)
    _claim(ctx, conn, node.uuid, node.instance_info, request, by)


def _unfit(node: Node, request: AllocationRequest) -> list[str]:
    problems: list[str] = []
    if node.provision_state != states.ACTIVE:
        problems.append(
            f'Node must be in the "active" state, but the current state is "{node.provision_state}"'
        )
    if request.resource_class and node.resource_class != request.resource_class:
        problems.append(
            f"Resource class {node.resource_class} does not match the requested resource class "
            f"{request.resource_class}"
        )
    if not set(request.traits) <= set(node.traits):
        problems.append(
            f"List of traits {list(node.traits)} does not match the requested traits "
            f"{list(request.traits)}"
        )
    if request.candidate_nodes and node.uuid not in request.candidate_nodes:
        problems.append(
            "Candidate nodes must be empty or contain the target node, but got "
            f"{list(request.candidate_nodes)}"
        )
    return problems


def _choose(conn: sa.Connection, request: AllocationRequest) -> tuple[ChosenNode | None, str]:
    """A free machine, its row locked; or why there is none."""
    holder = allocation_store.holder(conn, request.uuid)
    if holder is not None:
        return None, f"instance {request.uuid} is already associated with node {holder}"
    found = allocation_store.find_free(conn, request)
    if found is not None:
        return found, ""
    if request.traits and allocation_store.any_free_without_traits(conn, request):
        return None, f"no suitable nodes have the requested traits {', '.join(request.traits)}"
    if request.candidate_nodes:
        return None, (
            "none of the requested nodes are available and match the resource class "
            f"{request.resource_class}"
        )
    return None, f"no available nodes match the resource class {request.resource_class}"


def _insert(
    ctx: Context,
    conn: sa.Connection,
    request: AllocationRequest,
    node_uuid: str | None,
    reason: str | None,
) -> None:
    try:
        allocation_store.insert(
            conn,
            {
                "uuid": request.uuid,
                "name": request.name,
                "created_at": ctx.now(),
                # The decision is a change of its own for whoever compares the two times.
                "updated_at": ctx.now(),
                "node_uuid": node_uuid,
                "state": ACTIVE if node_uuid else ERROR,
                "last_error": reason or None,
                "owner": request.owner,
                "resource_class": request.resource_class,
                "traits": to_json(list(request.traits)),
                "candidate_nodes": to_json(list(request.candidate_nodes)),
                "extra": to_json(request.extra),
            },
        )
    except IntegrityError as error:
        raise Conflict(
            "An allocation with this name or UUID already exists.", internal=str(error.orig)
        ) from error


def _claim(
    ctx: Context,
    conn: sa.Connection,
    node_uuid: str,
    info: Mapping[str, Any],
    request: AllocationRequest,
    by: By,
) -> None:
    """Bind a machine whose row is locked; info: its instance_info."""
    try:
        store.update_node(
            conn,
            node_uuid,
            allocation_uuid=request.uuid,
            instance_uuid=request.uuid,
            instance_info={**info, "traits": list(request.traits)},
            updated_at=ctx.now(),
        )
    except IntegrityError as error:
        raise Conflict(
            f"Instance {request.uuid} is already associated with a node.", internal=str(error.orig)
        ) from error
    title = f"Allocated to {request.name or request.uuid}"
    events.record(conn, f"node:{node_uuid}", "node allocated", title, project_id=by.project_id)


def _unique(conn: sa.Connection, **wanted: str | None) -> None:
    for column, value in wanted.items():
        if value is not None and allocation_store.uuid_with(conn, column, value) is not None:
            what = "UUID" if column == "uuid" else column
            raise Conflict(f"An allocation with {what} {value} already exists.")


# -- changing and ending -------------------------------------------------------------------------


def update(
    ctx: Context, conn: sa.Connection, uuid: str, name: str | None, extra: Mapping[str, Any]
) -> None:
    """A new name and new notes; everything else stays as it was decided."""
    if name is not None and allocation_store.uuid_with(conn, "name", name) not in (None, uuid):
        raise Conflict(f"An allocation with name {name} already exists.")
    try:
        allocation_store.update(conn, uuid, name, extra, ctx.now())
    except IntegrityError as error:
        raise Conflict(
            f"An allocation with name {name} already exists.", internal=str(error.orig)
        ) from error


def delete(ctx: Context, conn: sa.Connection, uuid: str, by: By = NOBODY) -> None:
    """Give the machine back; refused while something runs on it."""
    node_uuid = allocation_store.node_of(conn, uuid)
    if node_uuid is not None:
        node = store.lock_node(conn, node_uuid)
        if node is not None:
            guards.deallocation(node, uuid)
            _give_back(ctx, conn, node)
            title = f"Allocation {uuid} was given up"
            events.record(conn, node.subject, "node released", title, project_id=by.project_id)
    allocation_store.delete(conn, uuid)


def end_with_instance(ctx_now: str, conn: sa.Connection, node_uuid: str) -> bool:
    """The instance has left the machine: so does its allocation. False when it had none."""
    gone = allocation_store.delete_of_node(conn, node_uuid)
    if gone:
        store.update_node(
            conn, node_uuid, allocation_uuid=None, instance_uuid=None, updated_at=ctx_now
        )
    return gone


def _give_back(ctx: Context, conn: sa.Connection, node: Node) -> None:
    # The next instance's templates must not be chosen by the traits that this one asked for.
    info = {k: v for k, v in node.instance_info.items() if k != "traits"}
    store.update_node(
        conn,
        node.uuid,
        allocation_uuid=None,
        instance_uuid=None,
        instance_info=info,
        updated_at=ctx.now(),
    )
