"""Queries about what hangs on nodes (ports, port groups, volumes) and about chassis, one row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.db.database import IntegrityError, PreparedStatement, from_json, to_json
from ingot.kit.faults import Conflict
from ingot.services.baremetal.ports.resources import PORT, PORTGROUP, PartKind
from ingot.services.baremetal.store import ports_of
from ingot.services.baremetal.tables import chassis, nodes, portgroups, ports, volume_targets
from ingot.services.baremetal.types import Port, Portgroup

JSON = frozenset({"extra", "internal_info", "local_link_connection", "properties"})


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its JSON columns parsed."""
    return {name: from_json(v) if name in JSON else v for name, v in row.items()}


def get(conn: sa.Connection, resource: PartKind, uuid: str, *, hold: bool = True) -> dict[str, Any]:
    """One row, JSON columns parsed; Missing when there is none.

    hold: until the transaction ends, so that whoever puts something into it meanwhile (`portgroup`,
    `chassis_exists`) waits and then sees whether it is gone.
    """
    table = resource.table
    query = sa.select(table).where(table.c.uuid == uuid)
    row = conn.execute(query.with_for_update() if hold else query).mappings().first()
    if row is None:
        raise resource.missing(uuid)
    return plain(dict(row))


def insert(conn: sa.Connection, resource: PartKind, new: Mapping[str, Any], now: str) -> str:
    """A new row; its uuid. Conflict when another one has its uuid, name, address …"""
    uuid = new.get("uuid") or ids.new_uuid()
    unique(conn, resource, new)
    row = {**_stored(new), "uuid": uuid, "created_at": now}
    try:
        conn.execute(resource.table.insert().values(**row))
    except IntegrityError as error:
        raise _raced(resource, error) from error
    return uuid


def update(
    conn: sa.Connection, resource: PartKind, uuid: str, delta: Mapping[str, Any], now: str
) -> None:
    """Set columns of a row; conflicts as in `insert`."""
    unique(conn, resource, delta, but=uuid)
    table = resource.table
    query = sa.update(table).where(table.c.uuid == uuid)
    try:
        conn.execute(query.values(**_stored(delta), updated_at=now))
    except IntegrityError as error:
        raise _raced(resource, error) from error


def delete(conn: sa.Connection, resource: PartKind, uuid: str) -> None:
    conn.execute(sa.delete(resource.table).where(resource.table.c.uuid == uuid))


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_json(v) if name in JSON else v for name, v in values.items()}


# -- what only one may have ----------------------------------------------------------------------

_TOLD = {"uuid": "UUID", "name": "name", "address": "MAC address"}


def unique(
    conn: sa.Connection, resource: PartKind, new: Mapping[str, Any], but: str | None = None
) -> None:
    """uuids, names and addresses belong to one row of a kind only; Conflict names the taken one."""
    table, noun = resource.table, resource.noun.lower()
    for column, record_event in _TOLD.items():
        value = new.get(column)
        if value is None or column not in table.c:
            continue
        if taken(conn, table, {column: value}, but):
            raise Conflict(
                f"A {noun} with {record_event} {value} already exists.",
                next_action=f"Correct the value, or delete the {noun} that has it: openstack "
                f"baremetal {_command(resource)} list.",
            )


def _command(resource: PartKind) -> str:
    """The words of the stock client for a kind of thing."""
    return resource.noun.lower().replace("portgroup", "port group")


#: What it hangs on has gone meanwhile (PostgreSQL's foreign_key_violation): the request is run again, and then sees it.
_NO_PARENT = "23503"


def _raced(resource: PartKind, error: IntegrityError) -> Exception:
    """Two requests at the same moment wanted the same."""
    if getattr(error.orig, "sqlstate", None) == _NO_PARENT:
        return error
    return Conflict(
        f"A {resource.noun.lower()} with these properties already exists.",
        internal=str(error.orig),
    )


# -- port groups ---------------------------------------------------------------------------------


def portgroup(conn: sa.Connection, uuid: str) -> Portgroup | None:
    """The port group, which stays until the transaction ends."""
    query = sa.select(portgroups).where(portgroups.c.uuid == uuid)
    row = conn.execute(query.with_for_update(read=True)).mappings().first()
    return None if row is None else _portgroup(dict(row))


def portgroup_uuid(conn: sa.Connection, ident: str) -> str | None:
    """By uuid or name."""
    column = portgroups.c.uuid if ids.is_uuid(ident) else portgroups.c.name
    meant = column.in_(ids.spellings(ident))
    return conn.execute(sa.select(portgroups.c.uuid).where(meant)).scalar()


_GROUPS_OF = PreparedStatement(
    sa.select(portgroups)
    .where(portgroups.c.node_uuid == sa.bindparam("ident"))
    .order_by(portgroups.c.id)
)


def portgroups_of(conn: sa.Connection, node_uuid: str) -> tuple[Portgroup, ...]:
    return tuple(_portgroup(row) for row in _GROUPS_OF.mappings(conn, {"ident": node_uuid}))


def members(conn: sa.Connection, portgroup_uuid: str) -> tuple[Port, ...]:
    """The ports in a port group."""
    owner = sa.select(portgroups.c.node_uuid).where(portgroups.c.uuid == portgroup_uuid)
    node_uuid = conn.execute(owner).scalar()
    if node_uuid is None:
        return ()
    return tuple(p for p in ports_of(conn, node_uuid) if p.portgroup_uuid == portgroup_uuid)


def _portgroup(row: Mapping[str, Any]) -> Portgroup:
    return Portgroup(
        uuid=row["uuid"],
        node_uuid=row["node_uuid"],
        address=row["address"],
        name=row["name"],
        standalone_ports_supported=bool(row["standalone_ports_supported"]),
        physical_network=row["physical_network"],
        internal_info=from_json(row["internal_info"]),
    )


def carriers(conn: sa.Connection, node_uuid: str) -> tuple[Port, ...]:
    """All that can carry a VIF: the ports, then the port groups in the form of ports.

    A group's address is its own or its first member's; its links are its members'.
    """
    found = ports_of(conn, node_uuid)
    groups: list[Port] = []
    for group in portgroups_of(conn, node_uuid):
        inside = [port for port in found if port.portgroup_uuid == group.uuid]
        address = group.address or (inside[0].address if inside else None)
        if address is None:
            continue
        groups.append(
            Port(
                uuid=group.uuid,
                node_uuid=node_uuid,
                address=address,
                pxe_enabled=True,
                physical_network=group.physical_network
                or (inside[0].physical_network if inside else None),
                portgroup_uuid=None,
                local_link_connection={},
                internal_info=group.internal_info,
                extra={},
                name=group.name,
                kind="portgroup",
                links=tuple(p.local_link_connection for p in inside if p.local_link_connection),
                standalone_ports_supported=group.standalone_ports_supported,
            )
        )
    return (*found, *groups)


def set_internal(conn: sa.Connection, port: Port, facts: Mapping[str, Any]) -> None:
    """Add facts to the internal_info of a port or port group; a fact None is removed."""
    table = (PORTGROUP if port.kind == "portgroup" else PORT).table
    query = sa.select(table.c.internal_info).where(table.c.uuid == port.uuid).with_for_update()
    info = {**from_json(conn.execute(query).scalar_one()), **facts}
    kept = to_json({name: value for name, value in info.items() if value is not None})
    conn.execute(sa.update(table).where(table.c.uuid == port.uuid).values(internal_info=kept))


# -- chassis -------------------------------------------------------------------------------------


def chassis_exists(conn: sa.Connection, uuid: str) -> bool:
    """Whether there is such a chassis; it stays until the transaction ends."""
    query = sa.select(chassis.c.id).where(chassis.c.uuid == uuid)
    return conn.execute(query.with_for_update(read=True)).first() is not None


def chassis_is_empty(conn: sa.Connection, uuid: str) -> bool:
    return conn.execute(sa.select(nodes.c.id).where(nodes.c.chassis_uuid == uuid)).first() is None


def chassis_has_nodes_of(conn: sa.Connection, uuid: str, project: str) -> bool:
    """Whether a node that the project owns or leases is in the chassis."""
    theirs = sa.or_(nodes.c.owner == project, nodes.c.lessee == project)
    where = [nodes.c.chassis_uuid == uuid, theirs]
    return conn.execute(sa.select(nodes.c.id).where(*where).limit(1)).first() is not None


def taken(
    conn: sa.Connection, table: sa.Table, same: Mapping[str, Any], but: str | None = None
) -> bool:
    """Whether another row (than `but`) has all these values."""
    where = [table.c[name] == value for name, value in same.items()]
    if but is not None:
        where.append(table.c.uuid != but)
    return conn.execute(sa.select(table.c.id).where(*where)).first() is not None


# -- the rest ------------------------------------------------------------------------------------


def has_boot_volume(conn: sa.Connection, node_uuid: str) -> bool:
    """Whether a node has a volume target that it would boot from."""
    query = sa.select(volume_targets.c.uuid).where(
        volume_targets.c.node_uuid == node_uuid, volume_targets.c.boot_index == 0
    )
    return conn.execute(query).first() is not None


def set_network_of_group(conn: sa.Connection, uuid: str, network: str) -> None:
    """A port group is on the physical network of its first member."""
    change = sa.update(portgroups).where(portgroups.c.uuid == uuid)
    conn.execute(change.values(physical_network=network))


def set_network_of_members(conn: sa.Connection, group: str, network: str | None, now: str) -> None:
    """The ports in a port group are on this physical network."""
    change = sa.update(ports).where(ports.c.portgroup_uuid == group)
    conn.execute(change.values(physical_network=network, updated_at=now))


def rows_of(conn: sa.Connection, node_uuid: str) -> list[dict[str, Any]]:
    """All columns of a node's ports, JSON parsed, the oldest first."""
    query = sa.select(ports).where(ports.c.node_uuid == node_uuid).order_by(ports.c.id)
    return [plain(dict(row)) for row in conn.execute(query).mappings()]


def set_columns(conn: sa.Connection, uuid: str, values: Mapping[str, Any], now: str) -> None:
    """Set columns of a port, JSON columns as plain values."""
    change = sa.update(ports).where(ports.c.uuid == uuid)
    conn.execute(change.values(**_stored(values), updated_at=now))


def remove(conn: sa.Connection, uuid: str) -> None:
    """Remove a port."""
    conn.execute(sa.delete(ports).where(ports.c.uuid == uuid))


def find_by(
    conn: sa.Connection, resource: PartKind, column: str, value: str
) -> sa.RowMapping | None:
    """The row, of whatever project, with this value, as it is stored."""
    table = resource.table
    return conn.execute(sa.select(table).where(table.c[column] == value)).mappings().first()


def owner_by(
    conn: sa.Connection, resource: PartKind, column: str, value: str
) -> tuple[str, str | None, str | None] | None:
    """uuid of the row with this value, and owner and lessee of its node."""
    table = resource.table
    query = sa.select(table.c.uuid, nodes.c.owner, nodes.c.lessee).join(
        nodes, nodes.c.uuid == table.c.node_uuid
    )
    row = conn.execute(query.where(table.c[column] == value)).first()
    return None if row is None else (row.uuid, row.owner, row.lessee)
