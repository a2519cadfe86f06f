"""Machines that can be taken: one idea of them for allocations and for servers, and how servers look through them.

An operation that passes (a power change) does not make a machine less free: whoever takes it waits for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ingot.baremetal import machine
from ingot.baremetal.tables import node_traits, nodes, ports
from ingot.kit import ids
from ingot.kit.db import Kept, from_json

#: So many machines are looked at together; of more than that the best of some is taken, not of all.
TOGETHER = 64
Where = sa.ColumnElement[bool]


def free() -> list[Where]:
    """Machines without an instance that may get one now."""
    return [
        # Written out, since only then the databases use the index of free machines.
        nodes.c.provision_state == sa.literal(machine.AVAILABLE, literal_execute=True),
        nodes.c.target_provision_state.is_(None),
        nodes.c.instance_uuid.is_(None),
        nodes.c.maintenance.is_(sa.false()),
        nodes.c.retired.is_(sa.false()),
        nodes.c.power_state.in_([sa.literal("power on"), sa.literal("power off")]),
    ]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that an instance could take now.

    cpus, memory_mb, local_gb: as inspection or an operator wrote them, 0 where unknown.
    capabilities: {"boot_mode": "uefi", …}. networks: physical networks of its ports, without None.
    """

    uuid: str
    name: str | None
    resource_class: str | None
    traits: frozenset[str]
    cpus: int
    memory_mb: int
    local_gb: int
    cpu_arch: str | None
    capabilities: Mapping[str, str]
    networks: frozenset[str]
    conductor_group: str
    owner: str | None
    lessee: str | None
    shard: str | None
    ports: int = 0
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What the database can tell of machines that are looked for.

    accepts: says of a resource class, as it is written at machines, whether such machines would do. required: traits.
    node: uuid or name of the only one wanted. project: machines that are lent to others are passed over. excluded:
    uuids.
    """

    accepts: Callable[[str | None], bool] = lambda _name: True
    required: Collection[str] = ()
    node: str | None = None
    project: str | None = None
    excluded: Collection[str] = ()

    def where(self) -> list[Where]:
        found = free()
        found += [_has(trait) for trait in sorted(self.required)]
        if self.node is not None:
            column = nodes.c.uuid if ids.is_uuid(self.node) else nodes.c.name
            found.append(column == self.node)
        if self.project is not None:
            found.append(sa.or_(nodes.c.lessee.is_(None), nodes.c.lessee == self.project))
        if self.excluded:
            found.append(nodes.c.uuid.not_in(sorted(self.excluded)))
        return found


def _has(trait: str) -> Where:
    return sa.exists().where(node_traits.c.node_uuid == nodes.c.uuid, node_traits.c.trait == trait)


def batches(
    conn: sa.Connection, look: Look, together: int = TOGETHER
) -> Iterator[tuple[Candidate, ...]]:
    """Free machines, some at a time, each time in the order of their enrolment.

    The first are from anywhere, so that servers ordered at one moment do not all want the same machine. What
    is read does not grow with the fleet.
    """
    rows: list[sa.RowMapping] = []
    for row in _rows(conn, look, together):
        rows.append(row)
        if len(rows) == together:
            yield _candidates(conn, rows)
            rows = []
    if rows:
        yield _candidates(conn, rows)


_COLUMNS = (
    nodes.c.id,
    nodes.c.uuid,
    nodes.c.name,
    nodes.c.resource_class,
    nodes.c.properties,
    nodes.c.conductor_group,
    nodes.c.owner,
    nodes.c.lessee,
    nodes.c.shard,
)


def _rows(conn: sa.Connection, look: Look, together: int) -> Iterator[sa.RowMapping]:
    where = look.where()
    if look.node is not None:
        found = conn.execute(sa.select(*_COLUMNS).where(*where)).mappings().all()
        yield from (row for row in found if look.accepts(row["resource_class"]))
        return
    start = ids.new_uuid()
    kinds = [kind for kind in classes(conn) if look.accepts(kind)]
    for half in (nodes.c.uuid >= start, nodes.c.uuid < start):
        for kind in kinds:
            yield from _along(
                conn, [*where, nodes.c.resource_class.is_not_distinct_from(kind), half], together
            )


def _along(conn: sa.Connection, where: list[Where], together: int) -> Iterator[sa.RowMapping]:
    """All that match by the index of free machines, read in pieces."""
    query = sa.select(*_COLUMNS).where(*where).order_by(nodes.c.uuid).limit(together)
    after = ""
    while True:
        rows = conn.execute(query.where(nodes.c.uuid > after)).mappings().all()
        yield from rows
        if len(rows) < together:
            return
        after = rows[-1]["uuid"]


def _classes() -> Kept:
    """One look into the index for each class, however many machines it has."""
    first = sa.select(sa.func.min(nodes.c.resource_class).label("kind")).where(*free())
    kinds = first.cte("kinds", recursive=True)
    following = (
        sa.select(sa.func.min(nodes.c.resource_class))
        .where(*free(), nodes.c.resource_class > kinds.c.kind)
        .scalar_subquery()
    )
    return Kept(
        sa.select(kinds.union_all(sa.select(following).where(kinds.c.kind.is_not(None))).c.kind)
    )


_CLASSES = _classes()


def classes(conn: sa.Connection) -> list[str | None]:
    """The resource classes of machines that are free; None (first) for those without one."""
    return [None, *(kind for (kind,) in _CLASSES.rows(conn, {}) if kind is not None)]


def count(conn: sa.Connection) -> int:
    """How many machines are free: for the words of a refusal only."""
    return conn.execute(sa.select(sa.func.count()).where(*free())).scalar_one()


# -- values --------------------------------------------------------------------------------------


def _candidates(conn: sa.Connection, rows: list[sa.RowMapping]) -> tuple[Candidate, ...]:
    uuids = [row["uuid"] for row in rows]
    traits: dict[str, set[str]] = {}
    of_these = sa.select(node_traits.c.node_uuid, node_traits.c.trait)
    for uuid, trait in conn.execute(of_these.where(node_traits.c.node_uuid.in_(uuids))):
        traits.setdefault(uuid, set()).add(trait)
    wires: dict[str, list[str | None]] = {}
    cards = sa.select(ports.c.node_uuid, ports.c.physical_network)
    for uuid, network in conn.execute(cards.where(ports.c.node_uuid.in_(uuids))):
        wires.setdefault(uuid, []).append(network)
    ordered = sorted(rows, key=lambda row: row["id"])
    return tuple(_candidate(row, traits, wires) for row in ordered)


def _candidate(
    row: sa.RowMapping, traits: Mapping[str, set[str]], wires: Mapping[str, list[str | None]]
) -> Candidate:
    properties: dict[str, Any] = from_json(row["properties"])
    networks = wires.get(row["uuid"], [])
    return Candidate(
        uuid=row["uuid"],
        name=row["name"],
        resource_class=row["resource_class"],
        traits=frozenset(traits.get(row["uuid"], ())),
        cpus=_whole(properties.get("cpus")),
        memory_mb=_whole(properties.get("memory_mb")),
        local_gb=_whole(properties.get("local_gb")),
        cpu_arch=properties.get("cpu_arch"),
        capabilities=capabilities(properties.get("capabilities")),
        networks=frozenset(name for name in networks if name),
        conductor_group=row["conductor_group"],
        owner=row["owner"],
        lessee=row["lessee"],
        shard=row["shard"],
        ports=len(networks),
        properties=properties,
    )


def capabilities(value: object) -> dict[str, str]:
    """ "boot_mode:uefi,cpu_vt:true" (or an object) as a mapping; what is malformed is left out."""
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    pairs = (part.partition(":") for part in str(value or "").split(","))
    return {name.strip(): text.strip() for name, colon, text in pairs if colon and name.strip()}


def _whole(value: object) -> int:
    try:
        return max(0, int(float(str(value))))
    except (ValueError, OverflowError):
        return 0
