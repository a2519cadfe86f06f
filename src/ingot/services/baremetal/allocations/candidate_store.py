"""Machines that can be taken: one idea of them for allocations and for servers, and how servers look through them.

An operation that passes (a power change) does not make a machine less free: whoever takes it waits for its end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import PreparedStatement, among, from_json
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.tables import node_traits, nodes, ports

#: So many machines are looked at together; of more than that the best of some is taken, not of all.
TOGETHER = 32
Where = sa.ColumnElement[bool]


def free() -> list[Where]:
    """Machines without an instance that may get one now."""
    return [
        # Written out, since only then the databases use the index of free machines.
        nodes.c.provision_state == sa.literal(states.AVAILABLE, literal_execute=True),
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
class CandidateQuery:
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

    def values(self) -> dict[str, Any]:
        """Parameters of the statements."""
        named = {f"trait{number}": trait for number, trait in enumerate(sorted(self.required))}
        return {**named, "project": self.project, "excluded": sorted(self.excluded)}


def batches(
    conn: sa.Connection, look: CandidateQuery, together: int = TOGETHER
) -> Iterator[tuple[Candidate, ...]]:
    """Free machines, some at a time, each time in the order of their enrolment.

    The first are from anywhere, so that servers ordered at one moment do not all want the same machine. What
    is read does not grow with the fleet.
    """
    rows: list[_Row] = []
    for row in _rows(conn, look, together):
        rows.append(row)
        if len(rows) == together:
            yield _candidates(conn, rows)
            rows = []
    if rows:
        yield _candidates(conn, rows)


class _Row(NamedTuple):
    """A machine as it is read."""

    id: int
    uuid: str
    name: str | None
    resource_class: str | None
    properties: str
    conductor_group: str
    owner: str | None
    lessee: str | None
    shard: str | None


_COLUMNS = tuple(nodes.c[name] for name in _Row._fields)


@functools.lru_cache(maxsize=100)
def _query(traits: int, lent: bool, place: str) -> PreparedStatement:
    """Free machines of one class by the index of free machines, or the one of a uuid or name."""
    where = free()
    where += [_has(number) for number in range(traits)]
    if lent:
        mine = nodes.c.lessee == sa.bindparam("project")
        where.append(sa.or_(nodes.c.lessee.is_(None), mine))
    where.append(sa.not_(among(nodes.c.uuid, "excluded")))
    kind, _, half = place.partition(" ")
    if kind in ("uuid", "name"):
        return PreparedStatement(
            sa.select(*_COLUMNS).where(*where, nodes.c[kind] == sa.bindparam("ident"))
        )
    classed = nodes.c.resource_class == sa.bindparam("kind")
    where.append(nodes.c.resource_class.is_(None) if kind == "none" else classed)
    where.append(nodes.c.uuid > sa.bindparam("after"))
    if half == "before":
        where.append(nodes.c.uuid < sa.bindparam("start"))
    many = sa.bindparam("many", type_=sa.Integer)
    return PreparedStatement(sa.select(*_COLUMNS).where(*where).order_by(nodes.c.uuid).limit(many))


def _has(number: int) -> Where:
    return sa.exists().where(
        node_traits.c.node_uuid == nodes.c.uuid,
        node_traits.c.trait == sa.bindparam(f"trait{number}"),
    )


def _rows(conn: sa.Connection, look: CandidateQuery, together: int) -> Iterator[_Row]:
    shape = (len(look.required), look.project is not None)
    values = look.values()
    if look.node is not None:
        query = _query(*shape, "uuid" if ids.is_uuid(look.node) else "name")
        for row in map(_Row._make, query.rows(conn, {**values, "ident": look.node})):
            if look.accepts(row.resource_class):
                yield row
        return
    start = ids.new_uuid()
    kinds = [kind for kind in classes(conn) if look.accepts(kind)]
    for half, after in (("after", start), ("before", "")):
        for kind in kinds:
            query = _query(*shape, f"{'none' if kind is None else 'some'} {half}")
            given = {**values, "kind": kind, "start": start, "many": together}
            yield from _along(conn, query, given, after)


def _along(
    conn: sa.Connection, query: PreparedStatement, values: Mapping[str, Any], after: str
) -> Iterator[_Row]:
    """All that match, read in pieces."""
    while True:
        rows = [_Row._make(row) for row in query.rows(conn, {**values, "after": after})]
        yield from rows
        if len(rows) < values["many"]:
            return
        after = rows[-1].uuid


def _classes() -> PreparedStatement:
    """One look into the index for each class, however many machines it has."""

    def least(*where: Where) -> sa.ScalarSelect[Any]:
        # All classes, not those of free machines: SQLite would take the index of instances for these, and read
        # all machines that have none. And not min(), for which it reads all of an index.
        query = sa.select(nodes.c.resource_class).where(*where)
        return query.order_by(nodes.c.resource_class).limit(1).scalar_subquery()

    first = sa.select(least(nodes.c.resource_class.is_not(None)).label("kind"))
    kinds = first.cte("kinds", recursive=True)
    following = least(nodes.c.resource_class > kinds.c.kind)
    more = sa.select(following).where(kinds.c.kind.is_not(None))
    return PreparedStatement(sa.select(kinds.union_all(more).c.kind))


_CLASSES = _classes()


def classes(conn: sa.Connection) -> list[str | None]:
    """The resource classes that machines have; None (first) for those without one."""
    return [None, *(kind for (kind,) in _CLASSES.rows(conn, {}) if kind is not None)]


_COUNT = PreparedStatement(sa.select(sa.func.count()).where(*free()))


def count(conn: sa.Connection) -> int:
    """How many machines are free: for the words of a refusal only."""
    return int(_COUNT.scalar(conn, {}))


# -- values --------------------------------------------------------------------------------------


_TRAITS_OF = PreparedStatement(
    sa.select(node_traits.c.node_uuid, node_traits.c.trait).where(
        among(node_traits.c.node_uuid, "uuids")
    )
)
_CARDS_OF = PreparedStatement(
    sa.select(ports.c.node_uuid, ports.c.physical_network).where(among(ports.c.node_uuid, "uuids"))
)


def _candidates(conn: sa.Connection, rows: list[_Row]) -> tuple[Candidate, ...]:
    uuids = {"uuids": [row.uuid for row in rows]}
    traits: dict[str, set[str]] = {}
    for uuid, trait in _TRAITS_OF.rows(conn, uuids):
        traits.setdefault(uuid, set()).add(trait)
    wires: dict[str, list[str | None]] = {}
    for uuid, network in _CARDS_OF.rows(conn, uuids):
        wires.setdefault(uuid, []).append(network)
    ordered = sorted(rows, key=lambda row: row.id)
    return tuple(_candidate(row, traits, wires) for row in ordered)


def _candidate(
    row: _Row, traits: Mapping[str, set[str]], wires: Mapping[str, list[str | None]]
) -> Candidate:
    properties: dict[str, Any] = from_json(row.properties)
    networks = wires.get(row.uuid, [])
    return Candidate(
        uuid=row.uuid,
        name=row.name,
        resource_class=row.resource_class,
        traits=frozenset(traits.get(row.uuid, ())),
        cpus=_whole(properties.get("cpus")),
        memory_mb=_whole(properties.get("memory_mb")),
        local_gb=_whole(properties.get("local_gb")),
        cpu_arch=properties.get("cpu_arch"),
        capabilities=capabilities(properties.get("capabilities")),
        networks=frozenset(name for name in networks if name),
        conductor_group=row.conductor_group,
        owner=row.owner,
        lessee=row.lessee,
        shard=row.shard,
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
