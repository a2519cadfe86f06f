"""What hangs on nodes (ports, port groups, volume connectors and targets), and chassis, for the API.

A resource is its table, the microversions of its fields and the few names that make its messages and
links; reading them is one query for any of them, however long the list. JSON columns pass through
unparsed. Fields are shown at their own microversion in lists too (upstream's lists of port groups show
newer ones as well).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Field, FieldTable, Version
from ingot.kit.faults import Missing
from ingot.services.baremetal import links, paging_store
from ingot.services.baremetal.nodes import node_fields
from ingot.services.baremetal.tables import (
    chassis,
    nodes,
    portgroups,
    ports,
    volume_connectors,
    volume_targets,
)

_JSON = frozenset(
    [
        "candidate_nodes",
        "extra",
        "internal_info",
        "local_link_connection",
        "properties",
        "steps",
        "traits",
    ]
)
_EMPTY = msgspec.Raw(b"{}")
_VTEP = b"vtep-"
_VTEP_SINCE, _VTEP_UNTIL = 90, 104


@dataclass(frozen=True, eq=False)
class PartKind:
    """One kind of thing.

    noun: for messages ("Port X could not be found."). collection: the key of a list in replies.
    path: below /v1. brief: fields of a list that asks for none.
    quiet: fields that older microversions leave out in silence instead of refusing them (406).
    contents: the field with links to what is in it, if any; nested: as upstream, a list in a list.
    """

    noun: str
    collection: str
    path: str
    table: sa.Table
    fields: FieldTable
    brief: tuple[str, ...]
    quiet: frozenset[str] = frozenset()
    contents: str = ""
    nested: bool = False

    @property
    def sortable(self) -> frozenset[str]:
        return paging_store.sortable(self.table, _JSON | {"sealed"})

    def missing(self, ident: str) -> Missing:
        return Missing(f"{self.noun} {ident} could not be found.")

    def wanted(
        self, fields: Sequence[str] | None, detail: bool | None, version: Version
    ) -> tuple[str, ...] | None:
        """As `listing.fields_wanted`."""
        if fields is not None:
            hidden = {n for n in self.quiet if not self.fields.by_name[n].visible(version.minor)}
            fields = [name for name in fields if name not in hidden]
        return node_fields.fields_wanted(fields, detail, self.fields, self.brief, version)

    def of_nodes(self, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """Rows whose node satisfies a condition."""
        return self.table.c.node_uuid.in_(sa.select(nodes.c.uuid).where(condition))


PORT = PartKind(
    "Port",
    "ports",
    "ports",
    ports,
    FieldTable(
        [
            Field("uuid"),
            Field("address"),
            Field("node_uuid"),
            Field("created_at"),
            Field("updated_at"),
            Field("extra"),
            Field("internal_info", 18),
            Field("local_link_connection", 19),
            Field("pxe_enabled", 19),
            Field("portgroup_uuid", 24),
            Field("physical_network", 34),
            Field("is_smartnic", 53),
            Field("name", 88),
            Field("description", 97),
            Field("vendor", 100),
            Field("category", 101),
            Field("available_for_dynamic_portgroup", 111),
        ]
    ),
    ("uuid", "address"),
    quiet=frozenset({"internal_info"}),
)

PORTGROUP = PartKind(
    "Portgroup",
    "portgroups",
    "portgroups",
    portgroups,
    FieldTable(
        [
            Field("uuid"),
            Field("address"),
            Field("name"),
            Field("node_uuid"),
            Field("created_at"),
            Field("updated_at"),
            Field("extra"),
            Field("internal_info"),
            Field("mode", 26),
            Field("properties", 26),
            Field("standalone_ports_supported"),
            Field("physical_network", 102),
            Field("category", 103),
            Field("dynamic_portgroup", 111),
            Field("ports"),
        ]
    ),
    ("uuid", "address", "name"),
    quiet=frozenset({"physical_network", "category"}),
    contents="ports",
)

CHASSIS = PartKind(
    "Chassis",
    "chassis",
    "chassis",
    chassis,
    FieldTable(
        Field(name)
        for name in ("uuid", "description", "created_at", "updated_at", "extra", "nodes")
    ),
    ("uuid", "description"),
    contents="nodes",
    nested=True,
)

CONNECTOR = PartKind(
    "Volume connector",
    "connectors",
    "volume/connectors",
    volume_connectors,
    FieldTable(
        Field(name)
        for name in (
            *("uuid", "node_uuid", "type", "connector_id", "created_at", "updated_at", "extra"),
        )
    ),
    ("uuid", "node_uuid", "type", "connector_id"),
)

TARGET = PartKind(
    "Volume target",
    "targets",
    "volume/targets",
    volume_targets,
    FieldTable(
        Field(name)
        for name in (
            *("uuid", "node_uuid", "volume_type", "boot_index", "volume_id"),
            *("created_at", "updated_at", "extra", "properties"),
        )
    ),
    ("uuid", "node_uuid", "volume_type", "boot_index", "volume_id"),
)


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Shape:
    """Which columns are read, and which of them hold JSON."""

    names: tuple[str, ...]
    json: tuple[str, ...]
    query: sa.Select[Any]
    contents: bool


@cache
def _shape(resource: PartKind, wanted: tuple[str, ...] | None, version: Version) -> _Shape:
    names = resource.fields.names(version) if wanted is None else wanted
    table = resource.table
    real = tuple(name for name in names if name in table.c)
    return _Shape(
        names=real,
        json=tuple(name for name in real if name in _JSON),
        query=sa.select(table.c.uuid.label("_uuid"), *(table.c[name] for name in real)),
        contents=resource.contents in names,
    )


def read(
    conn: sa.Connection,
    resource: PartKind,
    wanted: tuple[str, ...] | None,
    version: Version,
    where: Sequence[sa.ColumnElement[bool]],
    page: Page | None,
    base: str,
    visible: Sequence[sa.ColumnElement[bool]] = (),
) -> list[dict[str, Any]]:
    """Rows in wire form. wanted: as `Resource.wanted` gives it. visible: what the caller may see of a list."""
    shape = _shape(resource, wanted, version)
    query = shape.query.where(*where, *visible)
    if page is not None:
        table = resource.table
        query = paging_store.paged(conn, query, table, page, resource.noun, table.c.uuid, visible)
    hide_vtep = not _VTEP_SINCE <= version.minor <= _VTEP_UNTIL
    made: list[dict[str, Any]] = []
    for row in conn.execute(query):
        one: dict[str, Any] = dict(zip(shape.names, row[1:], strict=True))
        for name in shape.json:
            data = (one[name] or "{}").encode()
            hidden = hide_vtep and name == "local_link_connection" and _VTEP in data
            one[name] = _EMPTY if hidden else msgspec.Raw(data)
        if one.get("available_for_dynamic_portgroup", False) is None:
            one["available_for_dynamic_portgroup"] = False
        path = f"{resource.path}/{row[0]}"
        if shape.contents:
            inside = links.links(base, f"{path}/{resource.contents}")
            one[resource.contents] = [inside] if resource.nested else inside
        one["links"] = links.links(base, path)
        made.append(one)
    return made


def last_uuid(shown: Sequence[Mapping[str, Any]]) -> str:
    """The marker of the page after this one, whether uuids were asked for or not."""
    return shown[-1]["links"][0]["href"].rpartition("/")[2]
