"""Reads what hangs on nodes, and chassis, for the API: one query for any of them, however long the list.

JSON columns pass through unparsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Version
from ingot.services.baremetal import links, paging_store
from ingot.services.baremetal.ports.resources import JSON, PartKind
from ingot.services.baremetal.tables import nodes

_EMPTY = msgspec.Raw(b"{}")
_VTEP = b"vtep-"
_VTEP_SINCE, _VTEP_UNTIL = 90, 104


def of_nodes(kind: PartKind, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Rows whose node satisfies a condition."""
    return kind.table.c.node_uuid.in_(sa.select(nodes.c.uuid).where(condition))


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
        json=tuple(name for name in real if name in JSON),
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
