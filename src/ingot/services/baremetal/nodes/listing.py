"""What lists and resources of the API show: fields with their microversions, conductors, history, pages.

Nodes themselves are read and shown by `showing.py`.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ingot import workflow
from ingot.kit import ids
from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Field, FieldTable, Version
from ingot.kit.db.database import timestamp
from ingot.kit.faults import Fault, Invalid, Kind, Missing, Unavailable
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import states
from ingot.services.baremetal.tables import INTERFACES, node_history

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

NODE_JSON = frozenset(
    {"driver_info", "driver_internal_info", "extra", "instance_info", "properties"}
    | {"clean_step", "deploy_step", "service_step", "raid_config", "target_raid_config"}
    | {"network_data"}
)
NODE_UNSORTABLE = NODE_JSON | {"traits", "conductor"}
_AVAILABLE_SINCE = 2
INSPECT_WAIT_SINCE = 39


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


# -- conductors ----------------------------------------------------------------------------------


class Conductors:
    """Which process cares for which node: by conductor group, spread by uuid.

    When one comes or goes, only machines that it gets or had change hands.
    """

    def __init__(self, rows: Sequence[workflow.ConductorRow]) -> None:
        groups: dict[str, list[str]] = {}
        for row in rows:
            groups.setdefault(row.group, []).append(row.host)
        self._groups = {
            group: _shares(tuple(sorted(set(hosts)))) for group, hosts in groups.items()
        }

    def has(self, group: str) -> bool:
        return group in self._groups

    def of(self, uuid: str, group: str) -> str | None:
        shares = self._groups.get(group)
        if not shares:
            return None
        return shares[zlib.crc32(uuid.encode()) % len(shares)]


#: Into so many shares the machines of a group are divided.
_SHARES = 1024


@functools.lru_cache(maxsize=64)
def _shares(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Who has each share: the host that a hash of both puts first (rendezvous hashing)."""
    if len(hosts) == 1:
        return hosts

    def weight(host: str, share: int) -> bytes:
        return hashlib.blake2b(f"{share} {host}".encode(), digest_size=8).digest()

    return tuple(max(hosts, key=lambda host: weight(host, share)) for share in range(_SHARES))


def live_conductors(ctx: Context, conn: sa.Connection) -> list[workflow.ConductorRow]:
    """Conductors whose beat is recent."""
    limit = timestamp(ctx.clock.now() - timedelta(seconds=ctx.settings.conductor_timeout))
    return [row for row in workflow.list_conductors(conn) if not row.gone and row.beat_at >= limit]


def need_conductor(ctx: Context, conn: sa.Connection, group: str) -> None:
    """Somebody must be there to do it: Unavailable when all conductors of the group are gone.

    Where none has ever been, the work waits for the first one.
    """
    if who_cares(ctx, conn).has(group):
        return
    rows = workflow.list_conductors(conn)
    if not rows or any(row.group == group and not row.gone for row in rows):
        return
    raise Unavailable(
        f"No conductor of the conductor group '{group}' is alive.",
        next_action="Start one, or move the node to another group; see `baremetal conductor list`.",
        retry_after=5,
    )


def who_cares(ctx: Context, conn: sa.Connection) -> Conductors:
    """As of at most a second ago: conductors come and go seldom, nodes are shown often."""
    now = ctx.clock.monotonic()
    known = ctx.memory.get("conductors")
    if known is None or not known[0] <= now < known[0] + 1:
        known = ctx.memory["conductors"] = (now, Conductors(live_conductors(ctx, conn)))
    return known[1]


def old_state(state: str | None, minor: int) -> str | None:
    """A provision state as older microversions know it."""
    if minor < _AVAILABLE_SINCE and state == states.AVAILABLE:
        return None
    if minor < INSPECT_WAIT_SINCE and state == states.INSPECTWAIT:
        return states.INSPECTING
    return state


def links(base: str, path: str) -> list[dict[str, str]]:
    """self and bookmark of a thing."""
    return [
        {"href": f"{base}/v1/{path}", "rel": "self"},
        {"href": f"{base}/{path}", "rel": "bookmark"},
    ]


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
    own = node_history.c.node_uuid == node_uuid
    query = sa.select(node_history).where(own)
    if only is not None:
        query = query.where(node_history.c.uuid == only)
    else:
        thing = "Node history record"
        query = paged(conn, query, node_history, page, thing, node_history.c.uuid, [own])
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
    visible: Sequence[sa.ColumnElement[bool]] = (),
) -> sa.Select[Any]:
    """Order and cut a query; the page begins after the marker's row. NULL sorts as the smallest.

    visible: what the caller may see; a marker outside of it is like none.
    """
    at = None if page.marker is None else marked(conn, table, page, thing, marker, visible)
    return cut(query, table, page.sort_key, page.descending, at).limit(page.limit)


def marked(
    conn: sa.Connection,
    table: sa.Table,
    page: Page,
    thing: str,
    marker: sa.ColumnElement[Any],
    visible: Sequence[sa.ColumnElement[bool]] = (),
) -> tuple[Any, ...]:
    """Where the marker's row stands in the order; Missing when the caller sees none."""
    order = _order(table, page.sort_key)
    meant = marker.in_(ids.spellings(page.marker or ""))
    at = conn.execute(sa.select(*order).where(meant, *visible)).first()
    if at is None:
        raise Missing(f"{thing} {page.marker} could not be found.")
    return tuple(at)


def cut(
    query: sa.Select[Any],
    table: sa.Table,
    sort_key: str,
    descending: bool,
    at: Sequence[Any] | None,
) -> sa.Select[Any]:
    """Order a query and let it begin after a place that `marked` gave."""
    order = _order(table, sort_key)
    if at is not None:
        query = query.where(_after(order, at, descending))
    return query.order_by(*(c.desc() if descending else c.asc() for c in order))


def _order(table: sa.Table, sort_key: str) -> list[sa.ColumnElement[Any]]:
    key = _sort_expression(table, sort_key)
    return [key, table.c.id] if key is not table.c.id else [table.c.id]


def _sort_expression(table: sa.Table, name: str) -> sa.ColumnElement[Any]:
    column = table.c[name]
    if isinstance(column.type, sa.Boolean):
        # As a number: SQL has no order of truth values that one could page by.
        return sa.func.coalesce(sa.cast(column, sa.Integer), 0)
    # The constant is in the text, as in the indexes of `tables.SORTED`: a parameter would hide it from PostgreSQL.
    return sa.func.coalesce(column, sa.literal_column("''", sa.Text)) if column.nullable else column


def _after(
    order: Sequence[sa.ColumnElement[Any]], at: Sequence[Any], descending: bool
) -> sa.ColumnElement[bool]:
    if len(order) == 1:
        return order[0] < at[0] if descending else order[0] > at[0]
    # Compared as a whole, an index finds the place; by OR it would be walked up to there. SQLite finds it by the
    # first column only where that is an expression.
    here, place = sa.tuple_(*order), sa.tuple_(*at, types=[column.type for column in order])
    if descending:
        return sa.and_(order[0] <= at[0], here < place)
    return sa.and_(order[0] >= at[0], here > place)


def sortable(table: sa.Table, but: Collection[str] = ()) -> frozenset[str]:
    """Columns that a list may be sorted by."""
    return frozenset(column.name for column in table.columns) - set(but)
