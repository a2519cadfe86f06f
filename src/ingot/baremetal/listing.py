"""Reading for the API: rows straight from the database to the wire.

A reply's fields are chosen once per request (microversion, `fields`, detail) as a `Shape`; its columns are
the only ones that are read. JSON columns pass through unparsed, since they are stored as they are shown.
There is no query per row: traits of a page come in one more query.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot import workflow
from ingot.baremetal import machine
from ingot.baremetal.context import Context
from ingot.baremetal.policies import Redaction
from ingot.baremetal.tables import INTERFACES, node_history, node_traits, nodes
from ingot.kit.db import timestamp
from ingot.kit.faults import Fault, Invalid, Kind, Missing
from ingot.kit.paging import Page
from ingot.kit.versions import Field, FieldTable, Version

_INTERFACE_SINCE = {"network": 20, "storage": 33, "rescue": 38, "bios": 40, "firmware": 86}

#: Fields of a node with the microversion that brought them.
NODE = FieldTable(
    [
        Field("uuid"),
        Field("name", 5),
        Field("created_at"),
        Field("updated_at"),
        Field("allocation_uuid", 52),
        Field("automated_clean", 47),
        Field("boot_mode", 75),
        Field("chassis_uuid"),
        Field("clean_step", 7),
        Field("conductor", 49),
        Field("conductor_group", 46),
        Field("console_enabled"),
        Field("deploy_step", 44),
        Field("description", 51),
        Field("disable_power_off", 95),
        Field("driver"),
        Field("driver_info"),
        Field("driver_internal_info", 3),
        Field("extra"),
        Field("fault", 42),
        Field("health", 109),
        Field("inspection_finished_at", 6),
        Field("inspection_started_at", 6),
        Field("instance_info"),
        Field("instance_name", 104),
        Field("instance_uuid"),
        Field("last_error"),
        Field("lessee", 65),
        Field("maintenance"),
        Field("maintenance_reason"),
        Field("network_data", 66),
        Field("owner", 50),
        Field("parent_node", 83),
        Field("power_state"),
        Field("properties"),
        Field("protected", 48),
        Field("protected_reason", 48),
        Field("provision_state"),
        Field("provision_updated_at"),
        Field("raid_config", 12),
        Field("reservation"),
        Field("resource_class", 21),
        Field("retired", 61),
        Field("retired_reason", 61),
        Field("secure_boot", 75),
        Field("service_step", 87),
        Field("shard", 82),
        Field("target_power_state"),
        Field("target_provision_state"),
        Field("target_raid_config", 12),
        Field("traits", 37),
        *(Field(f"{name}_interface", _INTERFACE_SINCE.get(name, 31)) for name in INTERFACES),
    ]
)
NODE_BRIEF = ("uuid", "name", "instance_uuid", "maintenance", "power_state", "provision_state")
#: Lists of links in a whole node: name -> first microversion.
NODE_SUBS = {"ports": 1, "states": 14, "portgroups": 24, "volume": 32}

STATES = FieldTable(
    [
        Field("console_enabled"),
        Field("last_error"),
        Field("power_state"),
        Field("provision_state"),
        Field("target_power_state"),
        Field("target_provision_state"),
        Field("provision_updated_at"),
        Field("raid_config", 12),
        Field("target_raid_config", 12),
        Field("boot_mode", 75),
        Field("secure_boot", 75),
    ]
)

HISTORY = FieldTable(
    [
        Field("uuid"),
        Field("created_at"),
        Field("severity"),
        Field("event_type"),
        Field("event"),
        Field("conductor"),
        Field("user"),
        Field("project", 113),
        Field("state", 115),
        Field("target_provision_state", 115),
        Field("duration_seconds", 115),
    ]
)

_JSON = frozenset(
    {"driver_info", "driver_internal_info", "extra", "instance_info", "properties"}
    | {"clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config"}
    | {"network_data"}
)
NODE_UNSORTABLE = _JSON | {"traits", "conductor"}
HELPERS = 4
_EMPTY = msgspec.Raw(b"{}")
_AVAILABLE_SINCE = 2
_INSPECT_WAIT_SINCE = 39


@dataclass(frozen=True, eq=False)
class Shape:
    """What of a table's rows is read and how it is shown. `query` has no WHERE yet."""

    names: tuple[str, ...]
    json: tuple[str, ...]
    query: sa.Select[Any]
    extra: tuple[str, ...]
    whole: bool
    minor: int
    flags: tuple[int, ...] = ()

    def plain(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row as the driver gave it, with booleans where SQLite has numbers."""
        values = list(row)
        for index in self.flags:
            if values[index] is not None:
                values[index] = bool(values[index])
        return tuple(values)


def fields_wanted(
    fields: Sequence[str] | None,
    detail: bool | None,
    table: FieldTable,
    brief: tuple[str, ...],
    version: Version,
) -> tuple[str, ...] | None:
    """Names to show, None for all. 400 for unknown ones, 406 for those of newer microversions."""
    if fields is not None and detail:
        raise Invalid("Can not specify ?detail=True and fields in the same request.")
    if fields is None:
        return None if detail else tuple(n for n in brief if n in table.names(version))
    fields = [name.strip().lower() for name in fields]
    acceptable(fields, table, version)
    unknown = [name for name in fields if name not in table.by_name and name != "links"]
    if unknown:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return tuple(dict.fromkeys(name for name in fields if name != "links"))


def acceptable(names: Iterable[str], table: FieldTable, version: Version) -> None:
    """406 for fields that this microversion does not know yet."""
    for name in names:
        field = table.by_name.get(name)
        if field is not None and not field.visible(version.minor):
            raise Fault(f"Request not acceptable: {name} needs 1.{field.since}.", kind=Kind.VERSION)


@cache
def node_shape(wanted: tuple[str, ...] | None, version: Version) -> Shape:
    """wanted: as `fields_wanted` gives it."""
    names = NODE.names(version) if wanted is None else wanted
    real = tuple(name for name in names if name in nodes.c)
    # Always read, never shown by themselves: for links, marker, redaction and the conductor.
    helpers = [nodes.c.uuid, nodes.c.owner, nodes.c.lessee, nodes.c.conductor_group]
    query = sa.select(*(column.label(f"_{column.name}") for column in helpers)).add_columns(
        *(nodes.c[name] for name in real)
    )
    if "traits" in names:
        # A trait has no comma, so this is one text for each node and no second query.
        query = query.add_columns(
            sa.select(sa.func.aggregate_strings(node_traits.c.trait, ","))
            .where(node_traits.c.node_uuid == nodes.c.uuid)
            .correlate(nodes)
            .scalar_subquery()
            .label("_traits")
        )
    return Shape(
        names=real,
        json=tuple(name for name in real if name in _JSON),
        query=query,
        extra=tuple(name for name in names if name not in nodes.c),
        whole=wanted is None,
        minor=version.minor,
        flags=tuple(
            HELPERS + at
            for at, name in enumerate(real)
            if isinstance(nodes.c[name].type, sa.Boolean)
        ),
    )


# -- conductors ----------------------------------------------------------------------------------


class Conductors:
    """Which process cares for which node: by conductor group, spread by uuid."""

    def __init__(self, rows: Sequence[workflow.ConductorRow]) -> None:
        self._groups: dict[str, list[str]] = {}
        for row in rows:
            self._groups.setdefault(row.group, []).append(row.host)

    def of(self, uuid: str, group: str) -> str | None:
        hosts = self._groups.get(group)
        if not hosts:
            return None
        return hosts[zlib.crc32(uuid.encode()) % len(hosts)] if len(hosts) > 1 else hosts[0]


def live_conductors(ctx: Context, conn: sa.Connection) -> list[workflow.ConductorRow]:
    """Conductors whose beat is recent."""
    limit = timestamp(ctx.clock.now() - timedelta(seconds=ctx.settings.conductor_timeout))
    return [row for row in workflow.list_conductors(conn) if row.beat_at >= limit]


def _who_cares(ctx: Context, conn: sa.Connection) -> Conductors:
    """As of at most a second ago: conductors come and go seldom, nodes are shown often."""
    now = ctx.clock.monotonic()
    known = ctx.memory.get("conductors")
    if known is None or not known[0] <= now < known[0] + 1:
        known = ctx.memory["conductors"] = (now, Conductors(live_conductors(ctx, conn)))
    return known[1]


# -- nodes ---------------------------------------------------------------------------------------


def read_nodes(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    where: Sequence[sa.ColumnElement[bool]],
    page: Page | None,
    redaction: Redaction,
    base: str,
    conductor: str | None = None,
) -> list[dict[str, Any]]:
    """Nodes in wire form. conductor: only those that this host cares for."""
    query = shape.query.where(*where)
    if page is not None:
        query = paged(conn, query, nodes, page, "Node", nodes.c.uuid)
    rows: Sequence[Any] = conn.execute(query).all()
    return _shown(ctx, conn, shape, rows, redaction, base, conductor)


def read_node(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    column: str,
    value: str,
    redaction: Redaction,
    base: str,
) -> tuple[str, str | None, str | None, Callable[[], dict[str, Any]]] | None:
    """One node by uuid or name: uuid, owner, lessee and a function that gives its wire form.

    The statement's text is kept, since building and keying it costs more than running it.
    """
    text = _one_text(shape, column, conn.dialect)
    # The driver's own cursor: describing 70 columns anew would double the cost of the query.
    cursor = conn.connection.cursor()
    try:
        cursor.execute(text, (value,))
        row = cursor.fetchone()
    finally:
        cursor.close()
    if row is None:
        return None
    plain = shape.plain(tuple(row))
    return (
        plain[0],
        plain[1],
        plain[2],
        lambda: _shown(ctx, conn, shape, [plain], redaction, base, None)[0],
    )


@cache
def _one_text(shape: Shape, column: str, dialect: sa.Dialect) -> str:
    query = shape.query.where(nodes.c[column] == sa.bindparam("value", ""))
    return str(query.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


def _shown(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    rows: Sequence[Any],
    redaction: Redaction,
    base: str,
    conductor: str | None,
) -> list[dict[str, Any]]:
    show_conductor = "conductor" in shape.extra
    hosts = None
    if conductor is not None or show_conductor:
        hosts = _who_cares(ctx, conn)
        if conductor is not None:
            rows = [row for row in rows if hosts.of(row[0], row[3]) == conductor]
    pieces = _link_pieces(shape, base)
    names, json_names = shape.names, shape.json
    show_traits = "traits" in shape.extra
    old = shape.minor < _INSPECT_WAIT_SINCE and "provision_state" in names
    everything = redaction.everything
    raw = msgspec.Raw
    made: list[dict[str, Any]] = []
    for row in rows:
        uuid = row[0]
        one: dict[str, Any] = dict(zip(names, row[HELPERS:], strict=False))
        for name in json_names:
            text = one[name]
            one[name] = _EMPTY if text == "{}" or text is None else raw(text.encode())
        if show_traits:
            one["traits"] = sorted(row[-1].split(",")) if row[-1] else []
        if show_conductor and hosts is not None:
            one["conductor"] = hosts.of(uuid, row[3])
        if old:
            one["provision_state"] = old_state(one["provision_state"], shape.minor)
        if not everything:
            for name, instead in redaction.of(row[1], row[2]).items():
                if name in one:
                    one[name] = instead
        one["links"] = raw(uuid.encode().join(pieces))
        made.append(one)
    return made


def old_state(state: str | None, minor: int) -> str | None:
    """A provision state as older microversions know it."""
    if minor < _AVAILABLE_SINCE and state == machine.AVAILABLE:
        return None
    if minor < _INSPECT_WAIT_SINCE and state == machine.INSPECTWAIT:
        return machine.INSPECTING
    return state


def links(base: str, path: str) -> list[dict[str, str]]:
    """self and bookmark of a thing."""
    return [
        {"href": f"{base}/v1/{path}", "rel": "self"},
        {"href": f"{base}/{path}", "rel": "bookmark"},
    ]


def _link_pieces(shape: Shape, base: str) -> list[bytes]:
    """Links of a node as JSON text, cut where its uuid goes.

    The lists of links that follow `links` in a whole node are in the same text: one piece of text for
    each node, instead of ten objects.
    """
    clean = msgspec.json.encode(base)[1:-1].decode()
    subs = [n for n, since in NODE_SUBS.items() if since <= shape.minor] if shape.whole else []

    def pair(tail: str) -> str:
        return (
            f'[{{"href":"{clean}/v1/nodes/\0{tail}","rel":"self"}},'
            f'{{"href":"{clean}/nodes/\0{tail}","rel":"bookmark"}}]'
        )

    whole = pair("") + "".join(f',"{name}":{pair("/" + name)}' for name in subs)
    return whole.encode().split(b"\0")


def node_where(filters: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    """WHERE clauses of the list's filters; None values are not asked for."""
    where: list[sa.ColumnElement[bool]] = []
    for name in _EQUAL:
        if (value := filters.get(name)) is not None:
            where.append(nodes.c[name] == value)
    for name, column in (("associated", nodes.c.instance_uuid), ("sharded", nodes.c.shard)):
        if (value := filters.get(name)) is not None:
            where.append(column.is_not(None) if value else column.is_(None))
    if filters.get("shard") is not None:
        where.append(nodes.c.shard.in_(filters["shard"]))
    if text := filters.get("description_contains"):
        where.append(nodes.c.description.contains(text, autoescape=True))
    if project := filters.get("project"):
        where.append(sa.or_(nodes.c.owner == project, nodes.c.lessee == project))
    if not filters.get("include_children"):
        # NULL where no parent is named: only nodes that are nobody's children.
        where.append(nodes.c.parent_node == filters.get("parent_node"))
    return where


_EQUAL = (
    "instance_uuid",
    "maintenance",
    "chassis_uuid",
    "provision_state",
    "driver",
    "resource_class",
    "fault",
    "conductor_group",
    "owner",
    "lessee",
    "retired",
    "instance_name",
)


# -- history -------------------------------------------------------------------------------------


def read_history(
    conn: sa.Connection,
    node_uuid: str,
    page: Page,
    base: str,
    names: Collection[str] | None,
    version: Version,
    only: str | None = None,
) -> list[dict[str, Any]]:
    """Entries of a node's history. names: None for all. Short entries cut long events."""
    query = sa.select(node_history).where(node_history.c.node_uuid == node_uuid)
    if only is not None:
        query = query.where(node_history.c.uuid == only)
    else:
        query = paged(conn, query, node_history, page, "Node history record", node_history.c.uuid)
    shown = [n for n in HISTORY.names(version) if names is None or n in names]
    made: list[dict[str, Any]] = []
    for row in conn.execute(query).mappings():
        one = {name: row.get(name) for name in shown}
        if names is not None and len(row["event"]) > 255:
            one["event"] = row["event"][:251] + "..."
        path = f"nodes/{node_uuid}/history/{row['uuid']}"
        one["links"] = [{"href": f"{base}/v1/{path}", "rel": "self"}]
        made.append(one)
    return made


# -- paging --------------------------------------------------------------------------------------


def paged(
    conn: sa.Connection,
    query: sa.Select[Any],
    table: sa.Table,
    page: Page,
    thing: str,
    marker: sa.ColumnElement[Any],
) -> sa.Select[Any]:
    """Order and cut a query; the page begins after the marker's row. NULL sorts as the smallest."""
    key = _sort_expression(table, page.sort_key)
    order = [key, table.c.id] if key is not table.c.id else [table.c.id]
    if page.marker is not None:
        at = conn.execute(sa.select(*order).where(marker == page.marker)).first()
        if at is None:
            raise Missing(f"{thing} {page.marker} could not be found.")
        query = query.where(_after(order, tuple(at), page.descending))
    return query.order_by(*(c.desc() if page.descending else c.asc() for c in order)).limit(
        page.limit
    )


def _sort_expression(table: sa.Table, name: str) -> sa.ColumnElement[Any]:
    column = table.c[name]
    if isinstance(column.type, sa.Boolean):
        # As a number: SQL has no order of truth values that one could page by.
        return sa.func.coalesce(sa.cast(column, sa.Integer), 0)
    return sa.func.coalesce(column, "") if column.nullable else column


def _after(
    order: Sequence[sa.ColumnElement[Any]], at: tuple[Any, ...], descending: bool
) -> sa.ColumnElement[bool]:
    last = order[-1] < at[-1] if descending else order[-1] > at[-1]
    if len(order) == 1:
        return last
    first = order[0] < at[0] if descending else order[0] > at[0]
    return sa.or_(first, sa.and_(order[0] == at[0], last))


def sortable(table: sa.Table, but: Collection[str] = ()) -> frozenset[str]:
    """Columns that a list may be sorted by."""
    return frozenset(column.name for column in table.columns) - set(but)
