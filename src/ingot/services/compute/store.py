"""All SQL of the compute service. Functions of a connection; values come out as the service's types."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from ingot.kit import patterns
from ingot.kit.db.database import PreparedStatement, from_json, to_json
from ingot.services.compute import states
from ingot.services.compute.tables import flavor_access, flavors, server_groups, servers
from ingot.services.compute.types import (
    Address,
    Flavor,
    Key,
    Nic,
    RequestedNetwork,
    Server,
    ServerFault,
    ServerGroup,
)

Where = sa.ColumnElement[bool]
Row = Mapping[str, Any]

#: JSON columns of a server and what they hold.
_JSON: dict[str, Any] = {
    "flavor": Flavor,
    "key": Key | None,
    "networks": tuple[RequestedNetwork, ...],
    "ports": tuple[Nic, ...],
    "addresses": tuple[Address, ...],
    "security_groups": tuple[str, ...],
    "metadata": dict[str, str],
    "tags": tuple[str, ...],
    "fault": ServerFault | None,
}
_DECODERS = {name: msgspec.json.Decoder(shape) for name, shape in _JSON.items()}

# -- servers -------------------------------------------------------------------------------------


def _server(row: sa.RowMapping | dict[str, Any]) -> Server:
    values: dict[str, Any] = dict(row)
    for name, decoder in _DECODERS.items():
        values[name] = decoder.decode(values[name] or "null")
    return Server(**values)


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: to_json(value) if name in _JSON and value is not None else value
        for name, value in values.items()
    }


_LATER = frozenset({"number", "launched_at", "terminated_at", "deleted_at", "locked_by"})
_INSERT = PreparedStatement.insert(servers, *(c.name for c in servers.c if c.name not in _LATER))


def insert_server(conn: sa.Connection, values: Mapping[str, Any]) -> None:
    """values: all columns but those that come later in a server's life."""
    _INSERT.change(conn, _written(values))


def update_server(conn: sa.Connection, uuid: str, **values: Any) -> None:
    """Set columns of a server that is there; its states change by `shift` alone."""
    assert not _STATES & values.keys(), "states change by conditions (shift)"
    _update_of(tuple(values)).change(conn, {**_written(values), "ident": uuid})


#: Columns that several writers race for.
_STATES = frozenset({"vm_state", "task_state", "deleted_at"})
#: Nobody has asked for its deletion. A deletion that was accepted is never written over.
WANTED = sa.func.coalesce(servers.c.task_state, "") != states.DELETING
GOING = servers.c.task_state == states.DELETING
RESTING = servers.c.task_state.is_(None)


def shift(conn: sa.Connection, uuid: str, *where: Where, **values: Any) -> bool:
    """Change a server that is there and meets the conditions, by one statement; False when it does not."""
    if len(where) == 1 and where[0] is WANTED:
        kept = _update_of(tuple(values), wanted=True)
        return kept.change(conn, {**_written(values), "ident": uuid}) == 1
    change = sa.update(servers).where(servers.c.uuid == uuid, servers.c.deleted_at.is_(None))
    return conn.execute(change.where(*where).values(**_written(values))).rowcount == 1


@functools.lru_cache(maxsize=64)
def _update_of(names: tuple[str, ...], wanted: bool = False) -> PreparedStatement:
    """The change of these columns of a server that is there; wanted: and that nobody wants deleted."""
    there = (servers.c.uuid == sa.bindparam("ident"), servers.c.deleted_at.is_(None))
    change = sa.update(servers).where(*there, *((WANTED,) if wanted else ()))
    return PreparedStatement(change.values({name: sa.bindparam(name) for name in names}))


def settle(conn: sa.Connection, uuid: str, **values: Any) -> bool:
    """Values of a server on which an operation has ended: it is at rest now, or to be deleted.

    False when its deletion was asked for: that stays.
    """
    rest = sa.case((GOING, servers.c.task_state), else_=None)
    change = sa.update(servers).where(servers.c.uuid == uuid, servers.c.deleted_at.is_(None))
    after = conn.execute(
        change.values(**_written(values), task_state=rest).returning(servers.c.task_state)
    ).first()
    return after is not None and after.task_state is None


def count_servers(conn: sa.Connection, project_id: str) -> int:
    """Of a project, without the deleted."""
    query = sa.select(sa.func.count()).select_from(servers)
    where = (servers.c.project_id == project_id) & servers.c.deleted_at.is_(None)
    return int(conn.execute(query.where(where)).scalar_one())


def in_states(vm_states: Collection[str]) -> Where:
    return servers.c.vm_state.in_(sorted(vm_states))


_ONE_SERVER = PreparedStatement(sa.select(servers).where(servers.c.uuid == sa.bindparam("ident")))
_LOCK_SERVER = PreparedStatement(
    sa.select(servers).where(servers.c.uuid == sa.bindparam("ident")).with_for_update()
)


def find_server(
    conn: sa.Connection, uuid: str, *, deleted: bool = False, lock: bool = False
) -> Server | None:
    """deleted: also one that is gone. lock: nobody changes it until this transaction ends."""
    found = (_LOCK_SERVER if lock else _ONE_SERVER).mappings(conn, {"ident": uuid})
    if not found or (found[0]["deleted_at"] is not None and not deleted):
        return None
    return _server(found[0])


#: Sort keys of the API -> columns.
SORTABLE: dict[str, sa.Column[Any]] = {
    "created_at": servers.c.created_at,
    "updated_at": servers.c.updated_at,
    "display_name": servers.c.name,
    "name": servers.c.name,
    "uuid": servers.c.uuid,
    "vm_state": servers.c.vm_state,
    "task_state": servers.c.task_state,
    "power_state": servers.c.power_state,
    "launched_at": servers.c.launched_at,
    "terminated_at": servers.c.terminated_at,
    "project_id": servers.c.project_id,
    "user_id": servers.c.user_id,
    "image_ref": servers.c.image_id,
    "key_name": servers.c.key_name,
    "locked_by": servers.c.locked_by,
    "locked": servers.c.locked,
    "launch_index": servers.c.launch_index,
    "host": servers.c.node_uuid,
    "node": servers.c.node_name,
    "availability_zone": servers.c.availability_zone,
    "display_description": servers.c.description,
    "access_ip_v4": servers.c.access_ip_v4,
    "access_ip_v6": servers.c.access_ip_v6,
}


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key; the number of the row breaks ties."""

    key: str = "created_at"
    descending: bool = True


def select_servers(
    conn: sa.Connection,
    where: Sequence[Where],
    orders: Sequence[Order] = (Order(),),
    *,
    limit: int | None = None,
    after: Server | None = None,
    sealed: bool = False,
) -> list[Server]:
    """Servers in order; `after`: those that come behind this one. sealed: with what is long and seldom shown, and the key."""
    query = _sorted(conn, sa.select(*(_ALL if sealed else _BRIEF)).where(*where), orders, after)
    if limit is not None:
        query = query.limit(limit)
    return [_server({"sealed": "", "key": None, **row}) for row in conn.execute(query).mappings()]


_ALL = tuple(servers.c)
_BRIEF = tuple(column for column in _ALL if column.name not in ("sealed", "key"))


def _sorted(conn: sa.Connection, query: Any, orders: Sequence[Order], after: Server | None) -> Any:
    columns = _settled(orders)
    if after is not None:
        query = query.where(_behind(conn, columns, after))
    for column, descending in columns:
        if column.nullable:
            query = query.order_by(column.is_(None))
        query = query.order_by(column.desc() if descending else column.asc())
    return query


def _settled(orders: Sequence[Order]) -> list[tuple[sa.Column[Any], bool]]:
    """Each column once, up to one that is unique: nothing that follows it changes the order."""
    columns: dict[str, tuple[sa.Column[Any], bool]] = {}
    for order in orders:
        column = SORTABLE[order.key]
        columns.setdefault(column.name, (column, order.descending))
        if column is servers.c.uuid:
            return list(columns.values())
    last = orders[-1].descending if orders else True
    return [*columns.values(), (servers.c.number, last)]


class SearchFields(NamedTuple):
    """What filters that the database does not have look at."""

    number: int
    name: str
    stored_addresses: str
    stored_tags: str

    @property
    def addresses(self) -> tuple[Address, ...]:
        return _DECODERS["addresses"].decode(self.stored_addresses)

    @property
    def tags(self) -> tuple[str, ...]:
        return _DECODERS["tags"].decode(self.stored_tags)


def tested_servers(
    conn: sa.Connection,
    where: Sequence[Where],
    orders: Sequence[Order],
    tests: Sequence[Callable[[SearchFields], bool]],
    most: int,
    after: Server | None,
    sealed: bool = False,
) -> list[Server]:
    """The first servers in order that pass the tests; only those are read whole."""
    seen = sa.select(servers.c.number, servers.c.name, servers.c.addresses, servers.c.tags)
    numbers: list[int] = []
    for row in conn.execute(_sorted(conn, seen.where(*where), orders, after)):
        glimpse = SearchFields(*row)
        if all(test(glimpse) for test in tests):
            numbers.append(glimpse.number)
            if len(numbers) == most:
                break
    if not numbers:
        return []
    return select_servers(conn, [servers.c.number.in_(numbers)], orders, sealed=sealed)


def listed(project_id: str) -> list[Where]:
    """A project's servers that are there."""
    return [servers.c.project_id == project_id, servers.c.deleted_at.is_(None)]


# Conditions of lists. What stands in a JSON column is found by its text, and looked at again where that can err.


def named_like(pattern: str) -> Where | None:
    """Servers whose names a pattern finds; None when that takes an engine."""
    text = patterns.like(pattern)
    return None if text is None else sa.func.lower(servers.c.name).like(text, escape="\\")


def has_address(pattern: str) -> Where:
    """Servers that may have an address which a pattern finds."""
    text = patterns.like(pattern)
    if text is None:
        return servers.c.addresses != "[]"
    return servers.c.addresses.like(f'%"addr":"{text}"%', escape="\\")


def of_flavor(flavor_id: str) -> Where:
    """Servers that were ordered with this flavor: its id stands first."""
    start = f'{{"id":{to_json(flavor_id)},'
    return sa.func.substr(servers.c.flavor, 1, len(start)) == start


def has_tags(wanted: Collection[str], *, every: bool) -> Where:
    """Servers that may have these tags, or one of them."""
    found = [servers.c.tags.contains(to_json(tag), autoescape=True) for tag in sorted(wanted)]
    return sa.and_(*found) if every else sa.or_(*found)


def _behind(
    conn: sa.Connection, columns: Sequence[tuple[sa.Column[Any], bool]], after: Server
) -> Where:
    row = conn.execute(
        sa.select(*(column for column, _ in columns)).where(servers.c.number == after.number)
    ).one()
    clauses: list[Where] = []
    same: list[Where] = []
    for (column, descending), value in zip(columns, row, strict=True):
        if value is None:
            same.append(column.is_(None))
            continue
        further = column < value if descending else column > value
        clauses.append(sa.and_(*same, sa.or_(further, column.is_(None))))
        same.append(column == value)
    return sa.or_(*clauses)


def deleting(conn: sa.Connection) -> tuple[str, ...]:
    """Servers whose deletion was asked for and is not over."""
    query = sa.select(servers.c.uuid).where(
        servers.c.task_state == states.DELETING, servers.c.deleted_at.is_(None)
    )
    return tuple(conn.execute(query).scalars())


def consoles(conn: sa.Connection, held: sa.Subquery) -> dict[str, str | None]:
    """The machine of each server that has one."""
    query = sa.select(servers.c.uuid, servers.c.node_uuid).where(
        _ours(held), servers.c.deleted_at.is_(None)
    )
    return {row.uuid: row.node_uuid for row in conn.execute(query)}


def consoles_since(
    conn: sa.Connection, held: sa.Subquery, changes: sa.Subquery, since: str
) -> dict[str, str | None]:
    """The machine, or None, of servers that have changed since a time, or whose machine has."""
    found: dict[str, str | None] = {}
    reported = sa.select(changes.c.server)
    for changed in (servers.c.updated_at >= since, servers.c.uuid.in_(reported)):
        there = sa.and_(_ours(held), servers.c.deleted_at.is_(None))
        query = sa.select(servers.c.uuid, held.c.node).select_from(servers.outerjoin(held, there))
        found.update((row.uuid, row.node) for row in conn.execute(query.where(changed)))
    return found


# -- servers and their machines ------------------------------------------------------------------
# held: the machines that have an instance (`Baremetal.held`).


def _ours(held: sa.Subquery) -> Where:
    """The machine is the one that the server names, and has the server as its instance."""
    return sa.and_(held.c.instance == servers.c.uuid, held.c.node == servers.c.node_uuid)


def holds(conn: sa.Connection, held: sa.Subquery, uuid: str, node_uuid: str) -> bool:
    """Whether this machine is this server's."""
    mine = sa.and_(held.c.instance == uuid, held.c.node == node_uuid)
    return conn.execute(sa.select(held.c.node).where(mine)).first() is not None


def without_machine(held: sa.Subquery) -> Where:
    """The machine that the server names is not its own any more."""
    mine = sa.exists().where(_ours(held)).correlate(servers)
    return sa.and_(servers.c.node_uuid.is_not(None), ~mine)


class MachineChange(NamedTuple):
    """A server that nothing works on, or that is deleted, and its machine, which changed since."""

    server: str
    node: str


def machine_changes(conn: sa.Connection, changes: sa.Subquery) -> list[MachineChange]:
    """changes: as in `Baremetal.unreported_changes`. Servers that an operation works on come later."""
    live = sa.and_(servers.c.uuid == changes.c.server, servers.c.deleted_at.is_(None))
    query = (
        sa.select(changes.c.server, changes.c.node)
        .select_from(changes.outerjoin(servers, live))
        .where(servers.c.task_state.is_(None), changes.c.operation.is_(None))
    )
    return [MachineChange(*row) for row in conn.execute(query)]


class MachineStatus(NamedTuple):
    """A server's machine: its power, and the operation that works on it."""

    power: str | None
    operation: str | None


def power_of(conn: sa.Connection, held: sa.Subquery, uuid: str, node: str) -> MachineStatus | None:
    """The server's machine; None when it is not its own any more."""
    mine = sa.and_(held.c.instance == uuid, held.c.node == node)
    row = conn.execute(sa.select(held.c.power, held.c.operation).where(mine)).first()
    return None if row is None else MachineStatus(*row)


def count_members(conn: sa.Connection, group_id: str) -> int:
    """Servers of a group."""
    mine = sa.and_(servers.c.group_id == group_id, servers.c.deleted_at.is_(None))
    return conn.execute(sa.select(sa.func.count()).where(mine)).scalar_one()


# -- flavors -------------------------------------------------------------------------------------


def _flavor(row: Mapping[Any, Any]) -> Flavor:
    values = {name: row[name] for name in Flavor.__struct_fields__}
    return Flavor(**{**values, "extra_specs": from_json(row["extra_specs"])})


def visible_flavors(project_id: str | None, everything: bool) -> Where:
    """Public flavors and those that a project was given."""
    if everything:
        return sa.true()
    mine = sa.select(flavor_access.c.flavor_id).where(flavor_access.c.project_id == project_id)
    return sa.or_(flavors.c.is_public, flavors.c.id.in_(mine))


FLAVOR_SORT: dict[str, sa.Column[Any]] = {
    "flavorid": flavors.c.id,
    "id": flavors.c.number,
    "name": flavors.c.name,
    "memory_mb": flavors.c.ram,
    "vcpus": flavors.c.vcpus,
    "root_gb": flavors.c.disk,
    "created_at": flavors.c.created_at,
}


def select_flavors(
    conn: sa.Connection,
    *where: Where,
    sort_key: str = "flavorid",
    descending: bool = False,
) -> list[Flavor]:
    column = FLAVOR_SORT[sort_key]
    query = sa.select(flavors).where(*where)
    query = query.order_by(column.desc() if descending else column.asc(), flavors.c.number)
    return [_flavor(row) for row in conn.execute(query).mappings()]


def find_flavor(conn: sa.Connection, flavor_id: str, *where: Where) -> Flavor | None:
    found = select_flavors(conn, flavors.c.id == flavor_id, *where)
    return found[0] if found else None


_MINE = sa.select(flavor_access.c.flavor_id).where(
    flavor_access.c.project_id == sa.bindparam("project")
)
_ANY_FLAVOR, _SEEN_FLAVOR = (
    PreparedStatement(sa.select(flavors).where(flavors.c.id == sa.bindparam("ident"), seen))
    for seen in (sa.true(), sa.or_(flavors.c.is_public, flavors.c.id.in_(_MINE)))
)


def find_visible_flavor(
    conn: sa.Connection, flavor_id: str, project_id: str | None, everything: bool
) -> Flavor | None:
    """A flavor that `visible_flavors` of the same project shows."""
    query = _ANY_FLAVOR if everything else _SEEN_FLAVOR
    rows = query.mappings(conn, {"ident": flavor_id, "project": project_id})
    return _flavor(rows[0]) if rows else None


def flavor_where(name: str, value: Any) -> Where:
    """A filter of the list: is_public, least memory, least disk."""
    if name == "is_public":
        return flavors.c.is_public.is_(bool(value))
    return {"minRam": flavors.c.ram, "minDisk": flavors.c.disk}[name] >= value


def insert_flavor(conn: sa.Connection, flavor: Flavor, now: str) -> None:
    values = msgspec.to_builtins(flavor)
    values["extra_specs"] = to_json(flavor.extra_specs)
    conn.execute(sa.insert(flavors).values(**values, created_at=now, updated_at=now))


def update_flavor(conn: sa.Connection, flavor_id: str, now: str, **values: Any) -> None:
    if "extra_specs" in values:
        values["extra_specs"] = to_json(values["extra_specs"])
    conn.execute(
        sa.update(flavors).where(flavors.c.id == flavor_id).values(**values, updated_at=now)
    )


def delete_flavor(conn: sa.Connection, flavor_id: str) -> None:
    conn.execute(sa.delete(flavor_access).where(flavor_access.c.flavor_id == flavor_id))
    conn.execute(sa.delete(flavors).where(flavors.c.id == flavor_id))


def access_of(conn: sa.Connection, flavor_id: str) -> list[str]:
    query = sa.select(flavor_access.c.project_id).where(flavor_access.c.flavor_id == flavor_id)
    return list(conn.execute(query.order_by(flavor_access.c.project_id)).scalars())


def give_access(conn: sa.Connection, flavor_id: str, project_id: str) -> None:
    conn.execute(sa.insert(flavor_access).values(flavor_id=flavor_id, project_id=project_id))


def take_access(conn: sa.Connection, flavor_id: str, project_id: str) -> bool:
    done = conn.execute(
        sa.delete(flavor_access).where(
            flavor_access.c.flavor_id == flavor_id, flavor_access.c.project_id == project_id
        )
    )
    return done.rowcount > 0


# -- server groups -------------------------------------------------------------------------------


def _group(row: sa.RowMapping) -> ServerGroup:
    return ServerGroup(
        row["id"],
        row["project_id"],
        row["user_id"],
        row["name"],
        row["policy"],
        from_json(row["rules"]),
    )


def groups(conn: sa.Connection, project_id: str | None) -> list[ServerGroup]:
    query = sa.select(server_groups).order_by(server_groups.c.number)
    if project_id is not None:
        query = query.where(server_groups.c.project_id == project_id)
    return [_group(row) for row in conn.execute(query).mappings()]


def find_group(conn: sa.Connection, group_id: str) -> ServerGroup | None:
    row = conn.execute(sa.select(server_groups).where(server_groups.c.id == group_id))
    found = row.mappings().first()
    return None if found is None else _group(found)


def insert_group(conn: sa.Connection, group: ServerGroup, now: str) -> None:
    conn.execute(
        sa.insert(server_groups).values(
            id=group.id,
            project_id=group.project_id,
            user_id=group.user_id,
            name=group.name,
            policy=group.policy,
            rules=to_json(group.rules),
            created_at=now,
        )
    )


def delete_group(conn: sa.Connection, group_id: str) -> None:
    conn.execute(sa.delete(server_groups).where(server_groups.c.id == group_id))


def members(conn: sa.Connection, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Servers by group, one query for all."""
    query = sa.select(servers.c.group_id, servers.c.uuid).where(
        servers.c.group_id.in_(list(group_ids)), servers.c.deleted_at.is_(None)
    )
    found: dict[str, list[str]] = {}
    for row in conn.execute(query.order_by(servers.c.number)):
        found.setdefault(row.group_id, []).append(row.uuid)
    return found
