"""All SQL of the network room. Private; every function is synchronous on a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa

from ingot.kit.db import from_json, to_json, when
from ingot.kit.ids import new_uuid
from ingot.network import tables
from ingot.network.dhcpplan import Known
from ingot.network.types import (
    FixedIp,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

T = TypeVar("T", Network, Subnet, Port, SecurityGroup, SecurityGroupRule)
Where = sa.ColumnElement[bool]

#: How many ids go in one IN list.
CHUNK = 500


@dataclass(frozen=True)
class Collection(Generic[T]):
    """One kind of resource: its table, its value, and what hangs on it (loaded for all rows at once)."""

    what: str
    table: sa.Table
    shape: Callable[..., T]
    extra: Callable[[sa.Connection, Sequence[str]], Mapping[str, dict[str, Any]]] | None = None

    def names(self) -> tuple[str, ...]:
        return tuple(self.table.c.keys())


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _subnets_of_networks(conn: sa.Connection, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, list[str]] = {id: [] for id in ids}
    table = tables.subnets
    for part in _chunks(ids):
        query = sa.select(table.c.network_id, table.c.id).where(table.c.network_id.in_(part))
        for network_id, id in conn.execute(query.order_by(table.c.created_at, table.c.id)):
            found[network_id].append(id)
    return {id: {"subnets": tuple(subnets)} for id, subnets in found.items()}


def _ips_of_ports(conn: sa.Connection, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, list[FixedIp]] = {id: [] for id in ids}
    table = tables.fixed_ips
    for part in _chunks(ids):
        query = sa.select(table.c.port_id, table.c.subnet_id, table.c.ip_address)
        query = query.where(table.c.port_id.in_(part)).order_by(table.c.position)
        for port_id, subnet_id, ip_address in conn.execute(query):
            found[port_id].append(FixedIp(subnet_id, ip_address))
    return {id: {"fixed_ips": tuple(ips)} for id, ips in found.items()}


def _rules_of_groups(conn: sa.Connection, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, list[SecurityGroupRule]] = {id: [] for id in ids}
    column = tables.security_group_rules.c.security_group_id
    for part in _chunks(ids):
        for rule in select(conn, RULES, column.in_(part)):
            found[rule.security_group_id].append(rule)
    return {id: {"rules": tuple(rules)} for id, rules in found.items()}


NETWORKS = Collection("Network", tables.networks, Network, _subnets_of_networks)
SUBNETS = Collection("Subnet", tables.subnets, Subnet)
PORTS = Collection("Port", tables.ports, Port, _ips_of_ports)
GROUPS = Collection("SecurityGroup", tables.security_groups, SecurityGroup, _rules_of_groups)
RULES = Collection("SecurityGroupRule", tables.security_group_rules, SecurityGroupRule)


def _from_row(columns: Sequence[sa.Column[Any]], row: Sequence[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if "json" in column.info:
            value = from_json(value)
        elif "moment" in column.info:
            value = when(value)
        values[column.name] = value
    return values


def _to_row(collection: Collection[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in values.items():
        info = collection.table.c[name].info
        row[name] = to_json(value) if "json" in info else value
    return row


def select(
    conn: sa.Connection,
    collection: Collection[T],
    *where: Where,
    order: Sequence[sa.ColumnElement[Any]] = (),
    limit: int | None = None,
) -> list[T]:
    """Whole resources, in the given order or by creation."""
    table = collection.table
    columns = list(table.c)
    query = sa.select(*columns).where(*where)
    query = query.order_by(*(order or (table.c.created_at, table.c.id)))
    if limit is not None:
        query = query.limit(limit)
    rows = [_from_row(columns, cast("Sequence[Any]", row)) for row in conn.execute(query)]
    if collection.extra is not None and rows:
        extra = collection.extra(conn, [row["id"] for row in rows])
        for row in rows:
            row.update(extra[row["id"]])
    return [collection.shape(**row) for row in rows]


def get(conn: sa.Connection, collection: Collection[T], id: str, *where: Where) -> T | None:
    found = select(conn, collection, collection.table.c.id == id, *where, limit=1)
    return found[0] if found else None


def count(conn: sa.Connection, collection: Collection[Any], *where: Where) -> int:
    query = sa.select(sa.func.count()).select_from(collection.table).where(*where)
    return int(conn.execute(query).scalar_one())


def insert(
    conn: sa.Connection, collection: Collection[T], now: str, values: Mapping[str, Any]
) -> str:
    """A new row; its id comes back. Defaults of all kinds are the caller's."""
    id = str(values.get("id") or new_uuid())
    row = _to_row(collection, values)
    row.update(id=id, created_at=now, updated_at=now)
    conn.execute(collection.table.insert().values(**row))
    return id


def update(
    conn: sa.Connection,
    collection: Collection[T],
    now: str,
    id: str,
    values: Mapping[str, Any],
) -> None:
    table = collection.table
    row = _to_row(collection, values)
    conn.execute(
        table.update()
        .where(table.c.id == id)
        .values(updated_at=now, revision_number=table.c.revision_number + 1, **row)
    )


def delete(conn: sa.Connection, collection: Collection[Any], id: str) -> None:
    conn.execute(collection.table.delete().where(collection.table.c.id == id))


# -- addresses -----------------------------------------------------------------------------------


#: So many questions about single addresses are cheaper than reading all of a subnet's.
FEW = 64


class Taken:
    """The addresses in use on a subnet, read only as far as somebody asks.

    also: addresses that count as taken too; without: those that do not (a port's own).
    """

    def __init__(
        self, conn: sa.Connection, subnet_id: str, also: Set[str], without: Set[str]
    ) -> None:
        self._conn = conn
        self._also = also
        self._without = without
        self._table = tables.fixed_ips
        self._here = self._table.c.subnet_id == subnet_id
        self._asked = 0
        self._all: Set[str] | None = None

    def __len__(self) -> int:
        query = sa.select(sa.func.count()).where(self._here)
        return int(self._conn.execute(query).scalar_one())

    def __contains__(self, address: object) -> bool:
        if address in self._without:
            return False
        if address in self._also:
            return True
        self._asked += 1
        if self._all is None and self._asked > FEW:
            rows = self._conn.execute(sa.select(self._table.c.ip_address).where(self._here))
            self._all = frozenset(rows.scalars())
        if self._all is not None:
            return address in self._all
        query = sa.select(sa.literal(1)).where(self._here, self._table.c.ip_address == str(address))
        return self._conn.execute(query).first() is not None


def set_fixed_ips(conn: sa.Connection, port_id: str, ips: Sequence[FixedIp]) -> None:
    table = tables.fixed_ips
    conn.execute(table.delete().where(table.c.port_id == port_id))
    if ips:
        conn.execute(
            table.insert(),
            [
                {
                    "port_id": port_id,
                    "position": position,
                    "subnet_id": ip.subnet_id,
                    "ip_address": ip.ip_address,
                }
                for position, ip in enumerate(ips)
            ],
        )


def port_count_of_subnet(conn: sa.Connection, subnet_id: str) -> int:
    table = tables.fixed_ips
    query = sa.select(sa.func.count()).where(table.c.subnet_id == subnet_id)
    return int(conn.execute(query).scalar_one())


def contains(column: sa.ColumnElement[Any], member: str) -> Where:
    """Whether a JSON list of texts has this member: exact, alike on both databases."""
    return sa.func.replace(column, to_json(member), "") != column


def known_addresses(
    conn: sa.Connection, network_ids: Sequence[str], port_ids: Sequence[str] | None = None
) -> list[Known]:
    """All addresses of all ports of these networks, in the order of each port's addresses.

    port_ids: only of these.
    """
    port, ip = tables.ports.c, tables.fixed_ips.c
    query = (
        sa.select(
            port.id,
            port.network_id,
            ip.subnet_id,
            port.mac_address,
            ip.ip_address,
            port.admin_state_up,
            port.vif_type.not_in(["unbound", "binding_failed"]),
        )
        .join_from(tables.ports, tables.fixed_ips, port.id == ip.port_id)
        .where(port.network_id.in_(network_ids))
        .order_by(ip.position)
    )
    if port_ids is None:
        return [Known(*row) for row in conn.execute(query)]
    return [
        Known(*row)
        for part in _chunks(port_ids)
        for row in conn.execute(query.where(port.id.in_(part)))
    ]


# -- quotas --------------------------------------------------------------------------------------


def quotas(conn: sa.Connection, project_id: str) -> dict[str, int]:
    """The limits that were set for a project; others have the default."""
    table = tables.quotas
    query = sa.select(table.c.resource, table.c.most).where(table.c.project_id == project_id)
    return {str(row[0]): int(row[1]) for row in conn.execute(query)}


def quota_projects(conn: sa.Connection) -> list[str]:
    column = tables.quotas.c.project_id
    return list(conn.execute(sa.select(column).distinct().order_by(column)).scalars())


def set_quotas(conn: sa.Connection, project_id: str, limits: Mapping[str, int]) -> None:
    clear_quotas(conn, project_id, list(limits))
    table = tables.quotas
    for resource, most in limits.items():
        conn.execute(table.insert().values(project_id=project_id, resource=resource, most=most))


def clear_quotas(
    conn: sa.Connection, project_id: str, resources: Sequence[str] | None = None
) -> None:
    table = tables.quotas
    statement = table.delete().where(table.c.project_id == project_id)
    if resources is not None:
        statement = statement.where(table.c.resource.in_(resources))
    conn.execute(statement)


# -- what DHCP must know -------------------------------------------------------------------------


def next_generation(conn: sa.Connection) -> int:
    """Count one more change of what DHCP must know."""
    table = tables.generations
    changed = conn.execute(table.update().values(generation=table.c.generation + 1))
    if not changed.rowcount:
        conn.execute(table.insert().values(id="dhcp", generation=1))
    return generation(conn)


def generation(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(tables.generations.c.generation)).scalar() or 0)


def note_dhcp_change(conn: sa.Connection, port_id: str, generation: int, now: str) -> None:
    """DHCP must look at this port again ("": at everything)."""
    table = tables.dhcp_changes
    values = {"generation": generation, "changed_at": now}
    changed = conn.execute(table.update().where(table.c.port_id == port_id).values(**values))
    if not changed.rowcount:
        conn.execute(table.insert().values(port_id=port_id, **values))


def dhcp_changes(conn: sa.Connection, since: int, limit: int) -> list[tuple[str, int]]:
    """Ports that changed after a generation, with the generation of each one's newest change."""
    table = tables.dhcp_changes
    query = sa.select(table.c.port_id, table.c.generation).where(table.c.generation > since)
    return [(row[0], row[1]) for row in conn.execute(query.limit(limit))]


def forget_dhcp_changes(conn: sa.Connection, before: str) -> None:
    """Those before a time: whoever has not seen them reads the whole plan."""
    table = tables.dhcp_changes
    conn.execute(table.delete().where(table.c.changed_at < before))
