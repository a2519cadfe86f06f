"""Queries of the loops that watch idle machines."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.tables import nodes

POWER_FAILURE = "power failure"
_RESTING = tuple(
    name
    for name, state in states.STATES.items()
    if state.kind in ("stable", "failed") and name != states.ENROLL
)


@dataclass(frozen=True, slots=True)
class IdleNode:
    """A node whose power nobody is changing. updated_at tells whether what was read of it still holds."""

    uuid: str
    name: str | None
    group: str
    driver: str
    power_state: str | None
    fault: str | None
    health: str | None
    instance_uuid: str | None
    provision_state: str
    updated_at: str | None


_COLUMNS = (
    nodes.c.uuid,
    nodes.c.name,
    nodes.c.conductor_group,
    nodes.c.driver,
    nodes.c.power_state,
    nodes.c.fault,
    nodes.c.health,
    nodes.c.instance_uuid,
    nodes.c.provision_state,
    nodes.c.updated_at,
)
_IDLE = (
    sa.select(*_COLUMNS)
    .where(
        nodes.c.provision_state.in_(_RESTING),
        nodes.c.reservation.is_(None),
        nodes.c.target_power_state.is_(None),
        sa.or_(nodes.c.maintenance.is_(sa.false()), nodes.c.fault == POWER_FAILURE),
    )
    .order_by(nodes.c.id)
)
_PRESENT = sa.select(
    nodes.c.reservation,
    nodes.c.target_power_state,
    nodes.c.power_state,
    nodes.c.maintenance,
    nodes.c.fault,
).where(nodes.c.uuid == sa.bindparam("ident"))


def idle_nodes(conn: sa.Connection, only: str | None = None) -> Iterator[IdleNode]:
    """All idle nodes, or the one with this uuid if it is idle."""
    query = _IDLE if only is None else _IDLE.where(nodes.c.uuid == only)
    return (IdleNode(*row) for row in conn.execute(query))


def still_idle(conn: sa.Connection, idle: IdleNode) -> bool:
    """Whether nobody has begun something, or set the state, since it was read."""
    row = conn.execute(_PRESENT, {"ident": idle.uuid}).first()
    if row is None or row.reservation is not None or row.target_power_state is not None:
        return False
    by_operator = row.maintenance and row.fault != POWER_FAILURE
    return not by_operator and row.power_state == idle.power_state and row.fault == idle.fault


def existing(conn: sa.Connection, node_uuids: Collection[str]) -> set[str]:
    """Those of some nodes that are there."""
    return set(conn.execute(sa.select(nodes.c.uuid).where(nodes.c.uuid.in_(node_uuids))).scalars())
