"""What hangs on nodes (ports, port groups, volume connectors and targets), and chassis, for the API.

A resource is its table, the microversions of its fields and the few names that make its messages and
links; reading them is one query for any of them, however long the list. JSON columns pass through
unparsed. Fields are shown at their own microversion in lists too (upstream's lists of port groups show
newer ones as well).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ingot.kit.api.versions import Field, FieldTable, Version
from ingot.kit.faults import Missing
from ingot.services.baremetal import paging_store
from ingot.services.baremetal.nodes import node_fields
from ingot.services.baremetal.tables import (
    chassis,
    portgroups,
    ports,
    volume_connectors,
    volume_targets,
)

JSON = frozenset(
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
        return paging_store.sortable(self.table, JSON | {"sealed"})

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
