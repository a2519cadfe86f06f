"""All SQL of the network service. Private; every function is synchronous on a connection."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa

from ingot.kit.db.database import BulkStatement, PreparedStatement, among, from_json, to_json, when
from ingot.kit.faults import Invalid
from ingot.kit.ids import new_uuid
from ingot.services.network import tables
from ingot.services.network.dhcpplan import Known
from ingot.services.network.faults import missing
from ingot.services.network.types import (
    FixedIp,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

T = TypeVar("T", Network, Subnet, Port, SecurityGroup, SecurityGroupRule)
Where = sa.ColumnElement[bool]


Rows = Iterable[Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Collection(Generic[T]):
    """One kind of resource: its table and its value.

    hanging: what hangs on each row, in one text that is read with it, by its name; and how that is read. more: the
    same where it takes another query, for all rows at once.
    """

    what: str
    table: sa.Table
    shape: Callable[..., T]
    hanging: tuple[sa.Label[str], Callable[[str | None], Any]] | None = None
    more: Callable[[sa.Connection, Sequence[str]], Mapping[str, dict[str, Any]]] | None = None

    @functools.cached_property
    def columns(self) -> tuple[sa.ColumnElement[Any], ...]:
        """What a query gives of which `_whole` makes resources."""
        return (*self.table.c, self.hanging[0]) if self.hanging else tuple(self.table.c)

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(str(column.key) for column in self.columns)

    @functools.cached_property
    def readers(self) -> Mapping[str, Callable[[Any], Any]]:
        """How columns are read that drivers do not give as they are meant."""
        found: dict[str, Callable[[Any], Any]] = {}
        for column in self.table.c:
            if "json" in column.info:
                found[column.name] = from_json
            elif "moment" in column.info:
                found[column.name] = when
            elif isinstance(column.type, sa.Boolean):
                found[column.name] = bool
        if self.hanging is not None:
            found[self.hanging[0].name] = self.hanging[1]
        return found


def _texts_of(
    owner: sa.Table, column: sa.ColumnElement[str], *parts: sa.ColumnElement[Any]
) -> sa.ScalarSelect[str]:
    """A correlated query: rows that belong to an owner, as "part part,part part"; sorted by whoever reads it."""
    space = sa.literal_column("' '", sa.Text)
    whole: sa.ColumnElement[Any] = sa.cast(parts[0], sa.Text)
    for part in parts[1:]:
        whole = whole + space + part
    query = sa.select(sa.func.aggregate_strings(whole, ",")).where(column == owner.c.id)
    return query.correlate(owner).scalar_subquery()


def _parts(text: str | None) -> list[list[str]]:
    return sorted(entry.split(" ") for entry in text.split(",")) if text else []


def _subnet_ids(text: str | None) -> tuple[str, ...]:
    return tuple(id for _, id in _parts(text))


def _fixed_ips(text: str | None) -> tuple[FixedIp, ...]:
    # A port has so few that their places sort as texts.
    return tuple(FixedIp(subnet_id, ip) for _, subnet_id, ip in _parts(text))


_SUBNETS = _texts_of(
    tables.networks,
    tables.subnets.c.network_id,
    tables.subnets.c.created_at,
    tables.subnets.c.id,
)
_IPS = _texts_of(
    tables.ports,
    tables.fixed_ips.c.port_id,
    tables.fixed_ips.c.position,
    tables.fixed_ips.c.subnet_id,
    tables.fixed_ips.c.ip_address,
)
_RULES_OF = PreparedStatement(
    sa.select(tables.security_group_rules)
    .where(among(tables.security_group_rules.c.security_group_id, "ids"))
    .order_by(tables.security_group_rules.c.created_at, tables.security_group_rules.c.id)
)


def _rules_of_groups(conn: sa.Connection, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, list[SecurityGroupRule]] = {id: [] for id in ids}
    for rule in _whole(conn, RULES, _RULES_OF.rows(conn, {"ids": ids})):
        found[rule.security_group_id].append(rule)
    return {id: {"rules": tuple(rules)} for id, rules in found.items()}


NETWORKS = Collection(
    "Network", tables.networks, Network, hanging=(_SUBNETS.label("subnets"), _subnet_ids)
)
SUBNETS = Collection("Subnet", tables.subnets, Subnet)
PORTS = Collection("Port", tables.ports, Port, hanging=(_IPS.label("fixed_ips"), _fixed_ips))
GROUPS = Collection("SecurityGroup", tables.security_groups, SecurityGroup, more=_rules_of_groups)
RULES = Collection("SecurityGroupRule", tables.security_group_rules, SecurityGroupRule)


def _to_row(collection: Collection[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    readers = collection.readers
    return {
        name: to_json(value) if readers.get(name) is from_json else value
        for name, value in values.items()
    }


def _whole(conn: sa.Connection, collection: Collection[T], rows: Rows) -> list[T]:
    """The resources of rows of `Collection.columns`."""
    found = _read(collection, rows)
    if collection.more is not None and found:
        more = collection.more(conn, [values["id"] for values in found])
        for values in found:
            values.update(more[values["id"]])
    return [collection.shape(**values) for values in found]


def _bare(collection: Collection[T], rows: Rows) -> list[T]:
    """The same of rows to which nothing belongs that takes another query."""
    return [collection.shape(**values) for values in _read(collection, rows)]


def _read(
    collection: Collection[Any], rows: Rows, without: Sequence[str] = ()
) -> list[dict[str, Any]]:
    names = [name for name in collection.names if name not in without]
    readers = [(name, read) for name, read in collection.readers.items() if name not in without]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for values in found:
        for name, read in readers:
            values[name] = read(values[name])
    return found


def select(
    conn: sa.Connection,
    collection: Collection[T],
    *where: Where,
    order: Sequence[sa.ColumnElement[Any]] = (),
    limit: int | None = None,
) -> list[T]:
    """Whole resources, in the given order or by creation."""
    table = collection.table
    query = sa.select(*collection.columns).where(*where)
    query = query.order_by(*(order or (table.c.created_at, table.c.id)))
    if limit is not None:
        query = query.limit(limit)
    return _whole(conn, collection, cast("Rows", conn.execute(query)))


@functools.cache
def _having(collection: Collection[Any], name: str) -> PreparedStatement:
    table = collection.table
    query = sa.select(*collection.columns).where(table.c[name] == sa.bindparam("value"))
    return PreparedStatement(query.order_by(table.c.created_at, table.c.id))


def having(conn: sa.Connection, collection: Collection[T], column: str, value: str) -> list[T]:
    """Whole resources with this value in one column, by creation: for what is asked often."""
    return _whole(conn, collection, _having(collection, column).rows(conn, {"value": value}))


def those(conn: sa.Connection, collection: Collection[T], ids: Sequence[str]) -> list[T]:
    """Whole resources by their ids, in this order; those that are there."""
    rows = select(conn, collection, collection.table.c.id.in_(list(ids))) if ids else []
    found: dict[str, T] = {row.id: row for row in cast("list[Any]", rows)}
    return [found[ident] for ident in ids if ident in found]


def get(conn: sa.Connection, collection: Collection[T], id: str, *where: Where) -> T | None:
    if where:
        found = select(conn, collection, collection.table.c.id == id, *where, limit=1)
    else:
        found = having(conn, collection, "id", id)
    return found[0] if found else None


def count(
    conn: sa.Connection, collection: Collection[Any], *where: Where, most: int | None = None
) -> int:
    """How many there are. most: so far is counted."""
    rows = sa.select(collection.table.c.id).where(*where).limit(most).subquery()
    query = sa.select(sa.func.count()).select_from(rows)
    return int(conn.execute(query).scalar_one())


@functools.cache
def _inserting(table: sa.Table) -> PreparedStatement:
    return PreparedStatement.insert(table, *table.c.keys())


def insert(
    conn: sa.Connection, collection: Collection[T], now: str, values: Mapping[str, Any]
) -> T:
    """A new resource, on which nothing hangs yet. Defaults of nearly all kinds are the caller's."""
    row = _new_row(collection, now, values)
    _inserting(collection.table).change(conn, row)
    return _bare(collection, [list(row.values())])[0]


@functools.cache
def _inserting_many(table: sa.Table) -> BulkStatement:
    return BulkStatement.insert(table, *table.c.keys())


def insert_all(
    conn: sa.Connection, collection: Collection[T], now: str, news: Sequence[Mapping[str, Any]]
) -> list[T]:
    """The same for several."""
    rows = [_new_row(collection, now, values) for values in news]
    _inserting_many(collection.table).run(conn, rows)
    return _bare(collection, [list(row.values()) for row in rows])


def _new_row(collection: Collection[Any], now: str, values: Mapping[str, Any]) -> dict[str, Any]:
    row = {**dict.fromkeys(collection.names), "description": "", **_to_row(collection, values)}
    id = str(row["id"] or new_uuid())
    row.update(id=id, revision_number=0, created_at=now, updated_at=now)
    return row


@functools.lru_cache(maxsize=200)
def _updating(table: sa.Table, names: tuple[str, ...]) -> PreparedStatement:
    """The statement that sets these columns; some dozens of combinations are met."""
    values: dict[str, Any] = {name: sa.bindparam(name) for name in names}
    values["revision_number"] = table.c.revision_number + 1
    change = table.update().where(table.c.id == sa.bindparam("ident")).values(values)
    return PreparedStatement(change.returning(*table.c))


def update(
    conn: sa.Connection,
    collection: Collection[T],
    now: str,
    id: str,
    values: Mapping[str, Any],
    **hanging: Any,
) -> T:
    """The resource as it is then; 404 when there is none. hanging: what hangs on it, where that is known."""
    row = {**_to_row(collection, values), "updated_at": now}
    changed = _updating(collection.table, tuple(row)).rows(conn, {**row, "ident": id})
    if not changed:
        raise missing(collection.what, id)
    if hanging:
        (known,) = _read(collection, changed, tuple(hanging))
        return collection.shape(**known, **hanging)
    return having(conn, collection, "id", id)[0]


@functools.cache
def _deleting(table: sa.Table) -> PreparedStatement:
    query = table.delete().where(table.c.id == sa.bindparam("ident"))
    return PreparedStatement(query.returning(table.c.project_id))


def delete(conn: sa.Connection, collection: Collection[Any], id: str) -> str | None:
    """Whose it was, None when it was gone. What hangs on a port or a group goes with it."""
    return _deleting(collection.table).scalar(conn, {"ident": id})


def delete_all(conn: sa.Connection, collection: Collection[Any], where: Where) -> Counter[str]:
    """Delete what meets a condition; how many of each project there were."""
    gone = collection.table.delete().where(where).returning(collection.table.c.project_id)
    return Counter(conn.execute(gone).scalars())


def _locking(network: sa.ColumnElement[Any]) -> sa.Update:
    # An update, not FOR UPDATE: a serializable transaction that has waited for that goes on with the picture that it
    # had before, in which an address is free that is not any more; after this it is begun anew.
    same = tables.networks.c.admin_state_up
    lock = tables.networks.update().where(tables.networks.c.id == network)
    return lock.values(admin_state_up=same)


def _network_of(port: sa.ColumnElement[Any], *where: Where) -> sa.ScalarSelect[str]:
    return (
        sa.select(tables.ports.c.network_id)
        .where(tables.ports.c.id == port, *where)
        .scalar_subquery()
    )


_LOCK_NETWORK = PreparedStatement(_locking(sa.bindparam("ident")))
_LOCK_NETWORK_OF = PreparedStatement(_locking(_network_of(sa.bindparam("ident"))))


def lock_network(conn: sa.Connection, id: str, *where: Where) -> None:
    """One change of addresses per network at a time (a cluster has several writers).

    404 when there is none that meets the conditions.
    """
    if where:
        found = conn.execute(_locking(sa.literal(id)).where(*where)).rowcount
    else:
        found = _LOCK_NETWORK.change(conn, {"ident": id})
    if not found:
        raise missing("Network", id)


def lock_port(conn: sa.Connection, id: str, *where: Where) -> None:
    """Nobody gives this port another address or place until this transaction ends (its network is locked)."""
    if where:
        found = conn.execute(_locking(_network_of(sa.literal(id), *where))).rowcount
    else:
        found = _LOCK_NETWORK_OF.change(conn, {"ident": id})
    if not found:
        raise missing("Port", id)


def _held(collection: Collection[Any], id: sa.ColumnElement[Any], shared: bool) -> sa.Select[Any]:
    query = sa.select(collection.table.c.id).where(collection.table.c.id == id)
    return query.with_for_update(read=shared, key_share=shared)


@functools.cache
def _holding(collection: Collection[Any], shared: bool) -> PreparedStatement:
    return PreparedStatement(_held(collection, sa.bindparam("ident"), shared))


def hold(
    conn: sa.Connection, collection: Collection[Any], id: str, *where: Where, shared: bool = False
) -> None:
    """Nobody deletes or (unless shared) changes it until this transaction ends; 404 as for `lock_network`.

    For transactions that are not serializable: those that are go on with the picture from before they waited.
    """
    if where:
        row = conn.execute(_held(collection, sa.literal(id), shared).where(*where)).first()
    else:
        row = _holding(collection, shared).first(conn, {"ident": id})
    if row is None:
        raise missing(collection.what, id)


@functools.cache
def _holding_whole(collection: Collection[Any]) -> PreparedStatement:
    query = sa.select(*collection.columns).where(collection.table.c.id == sa.bindparam("ident"))
    return PreparedStatement(query.with_for_update(of=collection.table))


def held(conn: sa.Connection, collection: Collection[T], id: str, *where: Where) -> T:
    """As `hold`, with the resource. What hangs on it in one text may be from before a wait for the lock."""
    if where:
        query = sa.select(*collection.columns).where(collection.table.c.id == id, *where)
        rows = conn.execute(query.with_for_update(of=collection.table)).all()
    else:
        rows = _holding_whole(collection).rows(conn, {"ident": id})
    if not rows:
        raise missing(collection.what, id)
    return _whole(conn, collection, cast("Rows", rows))[0]


_FIND_DEFAULT = sa.select(tables.security_groups.c.id).where(
    tables.security_groups.c.default_of == sa.bindparam("project")
)
_DEFAULT_GROUP = PreparedStatement(_FIND_DEFAULT)
_HOLD_DEFAULT_GROUP = PreparedStatement(_FIND_DEFAULT.with_for_update(read=True, key_share=True))


def default_group(conn: sa.Connection, project_id: str) -> str | None:
    """The id of a project's default group; None when it has none yet."""
    return _DEFAULT_GROUP.scalar(conn, {"project": project_id})


def hold_default_group(conn: sa.Connection, project_id: str) -> str | None:
    """The id of a project's default group, locked as by `hold`; None when it has none yet."""
    return _HOLD_DEFAULT_GROUP.scalar(conn, {"project": project_id})


_WITH_MAC = PreparedStatement(
    sa.select(tables.ports.c.id).where(
        tables.ports.c.network_id == sa.bindparam("network"),
        tables.ports.c.mac_address == sa.bindparam("mac"),
    )
)


def has_mac(conn: sa.Connection, network_id: str, mac: str) -> bool:
    """Whether a port of the network has this MAC."""
    return _WITH_MAC.first(conn, {"network": network_id, "mac": mac}) is not None


# -- addresses -----------------------------------------------------------------------------------


#: So many questions about single addresses are cheaper than reading all of a subnet's.
FEW = 64


_HERE = tables.fixed_ips.c.subnet_id == sa.bindparam("subnet")
_IPS_HERE = PreparedStatement(sa.select(tables.fixed_ips.c.ip_address).where(_HERE))
_COUNT_HERE = PreparedStatement(
    sa.select(sa.func.count()).select_from(tables.fixed_ips).where(_HERE)
)
_IS_HERE = PreparedStatement(
    sa.select(tables.fixed_ips.c.port_id).where(
        _HERE, tables.fixed_ips.c.ip_address == sa.bindparam("address")
    )
)


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
        self._subnet = subnet_id
        self._asked = 0
        self._all: Set[str] | None = None

    def __len__(self) -> int:
        return port_count_of_subnet(self._conn, self._subnet)

    def __contains__(self, address: object) -> bool:
        if address in self._without:
            return False
        if address in self._also:
            return True
        self._asked += 1
        if self._all is None and self._asked > FEW:
            rows = _IPS_HERE.rows(self._conn, {"subnet": self._subnet})
            self._all = frozenset(found for (found,) in rows)
        if self._all is not None:
            return address in self._all
        wanted = {"subnet": self._subnet, "address": str(address)}
        return _IS_HERE.first(self._conn, wanted) is not None


_ADD_IPS = BulkStatement.insert(tables.fixed_ips, "port_id", "position", "subnet_id", "ip_address")
_FORGET_IPS = PreparedStatement(
    tables.fixed_ips.delete().where(tables.fixed_ips.c.port_id == sa.bindparam("port"))
)


def add_fixed_ips(conn: sa.Connection, port_id: str, ips: Sequence[FixedIp]) -> None:
    """The addresses of a port that has none."""
    rows = [
        {
            "port_id": port_id,
            "position": position,
            "subnet_id": ip.subnet_id,
            "ip_address": ip.ip_address,
        }
        for position, ip in enumerate(ips)
    ]
    _ADD_IPS.run(conn, rows)


def set_fixed_ips(conn: sa.Connection, port_id: str, ips: Sequence[FixedIp]) -> None:
    _FORGET_IPS.change(conn, {"port": port_id})
    add_fixed_ips(conn, port_id, ips)


def port_count_of_subnet(conn: sa.Connection, subnet_id: str) -> int:
    return int(_COUNT_HERE.scalar(conn, {"subnet": subnet_id}))


_port, _ip = tables.ports.c, tables.fixed_ips.c
_KNOWN_QUERY = (
    sa.select(
        _port.id,
        _port.network_id,
        _ip.subnet_id,
        _port.mac_address,
        _ip.ip_address,
        _port.admin_state_up,
        _port.vif_type.not_in(["unbound", "binding_failed"]),
    )
    .join_from(tables.ports, tables.fixed_ips, _port.id == _ip.port_id)
    .where(among(_port.network_id, "networks"))
    .order_by(_ip.position)
)
_KNOWN = PreparedStatement(_KNOWN_QUERY)
_KNOWN_OF_SOME = PreparedStatement(_KNOWN_QUERY.where(among(_port.id, "ports")))


def known_addresses(
    conn: sa.Connection, network_ids: Sequence[str], port_ids: Sequence[str] | None = None
) -> list[Known]:
    """All addresses of all ports of these networks, in the order of each port's addresses.

    port_ids: only of these.
    """
    if port_ids is None:
        rows = _KNOWN.rows(conn, {"networks": network_ids})
    else:
        rows = _KNOWN_OF_SOME.rows(conn, {"networks": network_ids, "ports": port_ids})
    return [Known(*names, admin_state_up=bool(up), bound=bool(bound)) for *names, up, bound in rows]


# -- what callers see ------------------------------------------------------------------------------


def visible_networks(project_id: str | None) -> Where:
    """Networks that members of a project see: their own, shared and external ones."""
    nets = tables.networks.c
    return sa.or_(nets.project_id == project_id, nets.shared, nets.external)


def visible_subnets(project_id: str | None) -> Where:
    """Subnets that members of a project see: their own, and those of networks that they may use."""
    nets, own = tables.networks.c, tables.subnets.c
    usable = sa.select(nets.id).where(sa.or_(nets.shared, nets.project_id == project_id))
    return sa.or_(own.project_id == project_id, own.network_id.in_(usable))


def visible_ports(project_id: str | None) -> Where:
    """Ports that members of a project see: their own, and all on their own networks."""
    nets, own = tables.networks.c, tables.ports.c
    theirs = sa.select(nets.id).where(nets.project_id == project_id)
    return sa.or_(own.project_id == project_id, own.network_id.in_(theirs))


def with_fixed_ips(values: Sequence[str]) -> Where:
    """`ip_address=…`, `subnet_id=…`, `ip_address_substr=…`; all kinds that are named must hold."""
    ips = tables.fixed_ips
    kinds: dict[str, list[str]] = {}
    for value in values:
        name, _, text = value.partition("=")
        kinds.setdefault(name, []).append(text)
    clauses: list[Where] = []
    for name, texts in kinds.items():
        if name == "ip_address_substr":
            parts = (ips.c.ip_address.contains(text, autoescape=True) for text in texts)
            condition: Where = sa.or_(*parts)
        elif name in ("ip_address", "subnet_id"):
            condition = ips.c[name].in_(texts)
        else:
            raise Invalid(
                f"Invalid fixed_ips filter {name!r}: ip_address, subnet_id or ip_address_substr."
            )
        clauses.append(tables.ports.c.id.in_(sa.select(ips.c.port_id).where(condition)))
    return sa.and_(sa.true(), *clauses)
