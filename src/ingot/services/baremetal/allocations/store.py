"""Queries of allocations."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import PreparedStatement, to_json
from ingot.services.baremetal.allocations.candidate_store import free
from ingot.services.baremetal.allocations.types import AllocationRequest, ChosenNode
from ingot.services.baremetal.tables import allocations, node_traits, nodes

_HOLDER = PreparedStatement(
    sa.select(nodes.c.uuid).where(nodes.c.instance_uuid == sa.bindparam("instance"))
)


def holder(conn: sa.Connection, instance_uuid: str) -> str | None:
    """The node that an instance is on."""
    return _HOLDER.scalar(conn, {"instance": instance_uuid})


def find_free(conn: sa.Connection, request: AllocationRequest) -> ChosenNode | None:
    """A free machine that fits, its row locked."""
    kind = _kind(request)
    # From anywhere on, so that requests at one moment do not all look at the same row; by name first.
    values = {**_values(request), "start": ids.new_uuid(), "named": request.name}
    places = ("named", "after", "before") if request.name else ("after", "before")
    # All that fit may be locked for a moment: then wait for them, in one order, so nobody waits round.
    for place in (*places, "anywhere"):
        found = _fitting(kind, place).first(conn, values)
        if found is not None:
            return ChosenNode(*found)
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


def any_free_without_traits(conn: sa.Connection, request: AllocationRequest) -> bool:
    """Whether a free machine would fit, but for its traits."""
    return bool(_any_free(_kind(request)).scalar(conn, _values(request)))


_INSERT = PreparedStatement.insert(
    allocations,
    *("uuid", "name", "created_at", "updated_at", "node_uuid", "state", "last_error", "owner"),
    *("resource_class", "traits", "candidate_nodes", "extra"),
)


def insert(conn: sa.Connection, row: Mapping[str, Any]) -> None:
    """A new allocation, JSON as text. Raises IntegrityError when its name or uuid is taken."""
    _INSERT.change(conn, row)


_WITH = {
    name: PreparedStatement(
        sa.select(allocations.c.uuid).where(allocations.c[name] == sa.bindparam("value"))
    )
    for name in ("uuid", "name")
}


def uuid_with(conn: sa.Connection, column: str, value: str) -> str | None:
    """The uuid of the allocation with this uuid or name (column)."""
    return _WITH[column].scalar(conn, {"value": value})


def update(
    conn: sa.Connection, uuid: str, name: str | None, extra: Mapping[str, Any], now: str
) -> None:
    """Set name and extra. Raises IntegrityError when the name is taken."""
    change = sa.update(allocations).where(allocations.c.uuid == uuid)
    conn.execute(change.values(name=name, extra=to_json(extra), updated_at=now))


_HELD = PreparedStatement(
    sa.select(allocations.c.node_uuid).where(allocations.c.uuid == sa.bindparam("ident"))
)
_DELETE = PreparedStatement(
    sa.delete(allocations).where(allocations.c.uuid == sa.bindparam("ident"))
)
_DELETE_OF_NODE = PreparedStatement(
    sa.delete(allocations).where(allocations.c.node_uuid == sa.bindparam("ident"))
)


def node_of(conn: sa.Connection, uuid: str) -> str | None:
    """The uuid of an allocation's node."""
    return _HELD.scalar(conn, {"ident": uuid})


def delete(conn: sa.Connection, uuid: str) -> None:
    _DELETE.change(conn, {"ident": uuid})


def delete_of_node(conn: sa.Connection, node_uuid: str) -> bool:
    """Delete the allocation of a node; whether it had one."""
    return bool(_DELETE_OF_NODE.change(conn, {"ident": node_uuid}))
