"""Allocations: machines claimed by what they must have.

The claim is decided in the transaction that makes the allocation, so none is ever left half way, and two
requests never get the same machine: on SQLite there is one writer, on PostgreSQL the chosen node's row is
locked, and those that others are just choosing are passed over.

Source: the Bare Metal API's allocations (1.52, 1.57 update, 1.58 back-fill, 1.60 owner).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import IntegrityError, PreparedStatement, from_json, to_json
from ingot.kit.faults import Conflict, Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.allocations.candidates import free
from ingot.services.baremetal.context import NOBODY, By, Context
from ingot.services.baremetal.nodes import guards, states
from ingot.services.baremetal.tables import allocations, node_traits, nodes
from ingot.services.baremetal.types import Node

ALLOCATING, ACTIVE, ERROR = "allocating", "active", "error"


@dataclass(frozen=True, kw_only=True)
class AllocationRequest:
    """What an allocation asks for. candidate_nodes: uuids. owner: only machines that it may use."""

    uuid: str
    name: str | None = None
    resource_class: str | None = None
    traits: Sequence[str] = ()
    candidate_nodes: Sequence[str] = ()
    owner: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])


class _ChosenNode(NamedTuple):
    """A machine that was chosen; instance_info as it is stored."""

    uuid: str
    instance_info: str


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


def _choose(conn: sa.Connection, request: AllocationRequest) -> tuple[_ChosenNode | None, str]:
    """A free machine, its row locked; or why there is none."""
    holder = _HOLDER.scalar(conn, {"instance": request.uuid})
    if holder is not None:
        return None, f"instance {request.uuid} is already associated with node {holder}"
    found = _find(conn, request)
    if found is not None:
        return found, ""
    kind, values = _kind(request), _values(request)
    if request.traits and _any_free(kind).scalar(conn, values):
        return None, f"no suitable nodes have the requested traits {', '.join(request.traits)}"
    if request.candidate_nodes:
        return None, (
            "none of the requested nodes are available and match the resource class "
            f"{request.resource_class}"
        )
    return None, f"no available nodes match the resource class {request.resource_class}"


_HOLDER = PreparedStatement(
    sa.select(nodes.c.uuid).where(nodes.c.instance_uuid == sa.bindparam("instance"))
)


def _find(conn: sa.Connection, request: AllocationRequest) -> _ChosenNode | None:
    kind = _kind(request)
    # From anywhere on, so that requests at one moment do not all look at the same row; by name first.
    values = {**_values(request), "start": ids.new_uuid(), "named": request.name}
    places = ("named", "after", "before") if request.name else ("after", "before")
    # All that fit may be locked for a moment: then wait for them, in one order, so nobody waits round.
    for place in (*places, "anywhere"):
        found = _fitting(kind, place).first(conn, values)
        if found is not None:
            return _ChosenNode(*found)
    return None


class _StatementShape(NamedTuple):
    """What decides the text of the statements for a request: how many of each it names."""

    traits: int
    candidates: int
    owned: bool


def _kind(request: AllocationRequest) -> _StatementShape:
    return _StatementShape(len(request.traits), len(request.candidate_nodes), bool(request.owner))


def _values(request: AllocationRequest) -> dict[str, Any]:
    return {
        "wanted": request.resource_class,
        "owner": request.owner,
        **{f"trait{place}": trait for place, trait in enumerate(request.traits)},
        **{f"node{place}": uuid for place, uuid in enumerate(request.candidate_nodes)},
    }


@functools.lru_cache(maxsize=200)
def _fitting(kind: _StatementShape, place: str) -> PreparedStatement:
    """A machine that fits and is free, its row locked. place: where it is looked for."""
    query = (
        sa.select(nodes.c.uuid, nodes.c.instance_info)
        .where(*_free(kind), *(_has(number) for number in range(kind.traits)))
        .order_by(nodes.c.uuid)
        .limit(1)
    )
    if place == "anywhere":
        return PreparedStatement(query.with_for_update())
    where = {
        "named": nodes.c.name == sa.bindparam("named"),
        "after": nodes.c.uuid >= sa.bindparam("start"),
        "before": nodes.c.uuid < sa.bindparam("start"),
    }
    return PreparedStatement(query.where(where[place]).with_for_update(skip_locked=True))


@functools.lru_cache(maxsize=200)
def _any_free(kind: _StatementShape) -> PreparedStatement:
    return PreparedStatement(sa.select(sa.exists().where(*_free(kind))))


def _free(kind: _StatementShape) -> list[sa.ColumnElement[bool]]:
    """Machines without an instance that the request would take, whatever their traits."""
    where = [
        nodes.c.resource_class == sa.bindparam("wanted"),
        *free(),
    ]
    if kind.candidates:
        named: list[Any] = [sa.bindparam(f"node{number}") for number in range(kind.candidates)]
        where.append(nodes.c.uuid.in_(named))
    if kind.owned:
        where.append(
            sa.or_(nodes.c.owner == sa.bindparam("owner"), nodes.c.lessee == sa.bindparam("owner"))
        )
    return where


def _has(number: int) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        node_traits.c.node_uuid == nodes.c.uuid,
        node_traits.c.trait == sa.bindparam(f"trait{number}"),
    )


_INSERT = PreparedStatement.insert(
    allocations,
    *("uuid", "name", "created_at", "updated_at", "node_uuid", "state", "last_error", "owner"),
    *("resource_class", "traits", "candidate_nodes", "extra"),
)


def _insert(
    ctx: Context,
    conn: sa.Connection,
    request: AllocationRequest,
    node_uuid: str | None,
    reason: str | None,
) -> None:
    try:
        _INSERT.change(
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


_WITH = {
    name: PreparedStatement(
        sa.select(allocations.c.id).where(allocations.c[name] == sa.bindparam("value"))
    )
    for name in ("uuid", "name")
}


def _unique(conn: sa.Connection, **wanted: str | None) -> None:
    for column, value in wanted.items():
        if value is not None and _WITH[column].first(conn, {"value": value}) is not None:
            what = "UUID" if column == "uuid" else column
            raise Conflict(f"An allocation with {what} {value} already exists.")


# -- changing and ending -------------------------------------------------------------------------


def update(
    ctx: Context, conn: sa.Connection, uuid: str, name: str | None, extra: Mapping[str, Any]
) -> None:
    """A new name and new notes; everything else stays as it was decided."""
    query = sa.select(allocations.c.uuid).where(allocations.c.name == name)
    if name is not None and conn.execute(query).scalar() not in (None, uuid):
        raise Conflict(f"An allocation with name {name} already exists.")
    try:
        conn.execute(
            sa.update(allocations)
            .where(allocations.c.uuid == uuid)
            .values(name=name, extra=to_json(extra), updated_at=ctx.now())
        )
    except IntegrityError as error:
        raise Conflict(
            f"An allocation with name {name} already exists.", internal=str(error.orig)
        ) from error


def delete(ctx: Context, conn: sa.Connection, uuid: str, by: By = NOBODY) -> None:
    """Give the machine back; refused while something runs on it."""
    node_uuid = _HELD.scalar(conn, {"ident": uuid})
    if node_uuid is not None:
        node = store.lock_node(conn, node_uuid)
        if node is not None:
            guards.deallocation(node, uuid)
            _give_back(ctx, conn, node)
            title = f"Allocation {uuid} was given up"
            events.record(conn, node.subject, "node released", title, project_id=by.project_id)
    _DELETE.change(conn, {"ident": uuid})


_HELD = PreparedStatement(
    sa.select(allocations.c.node_uuid).where(allocations.c.uuid == sa.bindparam("ident"))
)
_DELETE = PreparedStatement(
    sa.delete(allocations).where(allocations.c.uuid == sa.bindparam("ident"))
)
_DELETE_OF_NODE = PreparedStatement(
    sa.delete(allocations).where(allocations.c.node_uuid == sa.bindparam("ident"))
)


def end_with_instance(ctx_now: str, conn: sa.Connection, node_uuid: str) -> bool:
    """The instance has left the machine: so does its allocation. False when it had none."""
    gone = _DELETE_OF_NODE.change(conn, {"ident": node_uuid})
    if gone:
        store.update_node(
            conn, node_uuid, allocation_uuid=None, instance_uuid=None, updated_at=ctx_now
        )
    return bool(gone)


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
