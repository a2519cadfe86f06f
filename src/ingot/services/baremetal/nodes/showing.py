"""Nodes for the API: rows straight from the database to the wire.

A reply's fields are chosen once per request (microversion, `fields`, detail) as a `Shape`; its columns are
the only ones that are read, in the order in which they are shown, so that a row becomes a struct and the
struct becomes JSON without a loop over its fields. JSON columns pass through unparsed, since they are
stored as they are shown. There is no query per row, and the text of a statement is made once for each
shape and set of filters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.api.paging import Page
from ingot.kit.api.versions import Version
from ingot.kit.db.database import PreparedStatement
from ingot.services.baremetal import paging_store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import conductors, internal_info, node_fields, states
from ingot.services.baremetal.nodes.node_fields import NODE, NODE_JSON, NODE_SUBS
from ingot.services.baremetal.policies import Redaction
from ingot.services.baremetal.tables import FEW, node_agents, node_traits, nodes

_INTERNAL = "driver_internal_info"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


_AGENT = (
    node_agents.c.url,
    node_agents.c.version,
    node_agents.c.last_heartbeat,
    nodes.c[_INTERNAL],
    *(nodes.c[name] for name in internal_info.COLUMNS),
)
#: What is read of every node before the values of its fields: uuid, owner, lessee, conductor group, traits (`_HEAD`), and
#: what is shown in its driver_internal_info (`_AGENT`). After them comes a text of JSON.
_HEAD = 5
_VALUES = _HEAD + len(_AGENT)


@dataclass(frozen=True, eq=False)
class Shape:
    """What of nodes is read and how it is shown.

    query: the columns of `_HEAD` and `_AGENT`, then plain values in the order of `build`, then the text of JSON, which holds what is
    JSON or a truth value: `,"extra":{},"retired":false`; no WHERE yet.
    build: the struct of a node on the wire; its last field, `links`, is JSON and takes that text along.
    """

    query: sa.Select[Any]
    build: Callable[..., Any]
    traits: bool
    conductor: bool
    agent: bool
    whole: bool
    minor: int


@functools.lru_cache(maxsize=500)
def node_shape(wanted: tuple[str, ...] | None, version: Version) -> Shape:
    """wanted: as `listing.fields_wanted` gives it."""
    names = NODE.names(version) if wanted is None else wanted
    real = [nodes.c[name] for name in names if name in nodes.c]
    agent = _INTERNAL in names
    real = [column for column in real if column.name != _INTERNAL]
    flat = [c for c in real if c.name not in NODE_JSON and not isinstance(c.type, sa.Boolean)]
    head = [nodes.c[name] for name in ("uuid", "owner", "lessee", "conductor_group")]
    query = sa.select(*(column.label(f"_{column.name}") for column in head)).add_columns(
        _traits().label("_traits") if "traits" in names else sa.null().label("_traits"),
        *(column if agent else sa.null().label(f"_{column.name}") for column in _AGENT),
        *(_value(column, version.minor) for column in flat),
        _json_text([c for c in real if c not in flat]).label("_json"),
    )
    if agent:
        query = query.select_from(
            nodes.outerjoin(node_agents, node_agents.c.node_uuid == nodes.c.uuid)
        )
    build = msgspec.defstruct(
        "Node", [(f"{c.name}", object) for c in flat] + [("links", object)], gc=False
    )
    return Shape(
        query=query,
        build=build,
        traits="traits" in names,
        conductor="conductor" in names,
        agent=agent,
        whole=wanted is None,
        minor=version.minor,
    )


def _value(column: sa.Column[Any], minor: int) -> sa.ColumnElement[Any]:
    """A column as this microversion shows it."""
    changed = [state for state in states.STATES if node_fields.old_state(state, minor) != state]
    if column.name != "provision_state" or not changed:
        return column
    older = [
        (column == state, sa.literal(node_fields.old_state(state, minor))) for state in changed
    ]
    return sa.case(*older, else_=column).label(column.name)


def _traits() -> sa.ScalarSelect[Any]:
    """A trait has no comma, so this is one text for each node and no second query."""
    return (
        sa.select(sa.func.aggregate_strings(node_traits.c.trait, ","))
        .where(node_traits.c.node_uuid == nodes.c.uuid)
        .correlate(nodes)
        .scalar_subquery()
    )


def _json_text(columns: Sequence[sa.Column[Any]]) -> sa.ColumnElement[str]:
    """Columns as members of a JSON object, each after a comma."""
    text: sa.ColumnElement[str] = sa.literal_column("''", sa.Text)
    for column in columns:
        value = (
            sa.case(
                (column.is_(None), _text("null")), (column, _text("true")), else_=_text("false")
            )
            if isinstance(column.type, sa.Boolean)
            else sa.func.coalesce(column, _text("{}"))
        )
        text = text.op("||")(_text(f',"{column.name}":')).op("||")(value)
    return text


def _text(constant: str) -> sa.ColumnElement[str]:
    """A constant of ours inside a statement."""
    return sa.literal_column(f"'{constant}'", sa.Text)


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filters:
    """What a list is limited to. parts: names of conditions. values: their parameters.

    visible: what the caller may see at all; a page begins after nothing else.
    """

    parts: tuple[str, ...]
    values: Mapping[str, Any]
    visible: tuple[sa.ColumnElement[bool], ...] = ()


def read_nodes(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    filters: Filters,
    page: Page,
    redaction: Redaction,
    base: str,
    conductor: str | None = None,
) -> tuple[msgspec.Raw, int, str | None]:
    """Nodes in wire form, their number and the last one's uuid. conductor: only those that it cares for."""
    values: dict[str, Any] = {**filters.values, "limit": page.limit}
    if page.marker is not None:
        at = paging_store.marked(conn, nodes, page, "Node", nodes.c.uuid, filters.visible)
        values |= {f"at{place}": value for place, value in enumerate(at)}
    statement = _page_of(
        shape, filters.parts, page.sort_key, page.descending, page.marker is not None
    )
    rows = statement.bulk(conn, values)
    if conductor is not None:
        hosts = conductors.conductor_ring(ctx, conn)
        rows = [row for row in rows if hosts.of(row[0], row[3]) == conductor]
    shown = _shown(ctx, conn, shape, rows, redaction, base)
    return msgspec.Raw(_encode(shown)), len(rows), rows[-1][0] if rows else None


@functools.lru_cache(maxsize=500)
def _page_of(
    shape: Shape, parts: tuple[str, ...], sort_key: str, descending: bool, marked: bool
) -> PreparedStatement:
    query = shape.query.where(*(_condition(part) for part in parts))
    places = ("at0",) if sort_key == "id" else ("at0", "at1")
    at: list[Any] | None = [sa.bindparam(place) for place in places] if marked else None
    query = paging_store.cut(query, nodes, sort_key, descending, at)
    return PreparedStatement(query.limit(sa.bindparam("limit", type_=sa.Integer)))


def read_node(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    column: str,
    value: str,
    redaction: Redaction,
    base: str,
) -> tuple[str, str | None, str | None, Callable[[], Any]] | None:
    """One node by uuid or name: uuid, owner, lessee and a function that gives its wire form."""
    row = _one_by(shape, column).first(conn, {"value": value})
    if row is None:
        return None
    return row[0], row[1], row[2], lambda: _shown(ctx, conn, shape, [row], redaction, base)[0]


@functools.lru_cache(maxsize=500)
def _one_by(shape: Shape, column: str) -> PreparedStatement:
    return PreparedStatement(shape.query.where(nodes.c[column] == sa.bindparam("value")))


def _shown(
    ctx: Context,
    conn: sa.Connection,
    shape: Shape,
    rows: Sequence[tuple[Any, ...]],
    redaction: Redaction,
    base: str,
) -> list[Any]:
    hosts = conductors.conductor_ring(ctx, conn) if shape.conductor else None
    pieces = _link_pieces(shape, base)
    build, traits, everything = shape.build, shape.traits, redaction.everything
    made: list[Any] = []
    for row in rows:
        uuid: str = row[0]
        tail = uuid.join(pieces) + row[-1]
        if traits:
            tail += _traits_text(row[4]) if row[4] else ',"traits":[]'
        if shape.agent:
            tail += _internal_text(*row[_HEAD:_VALUES])
        if hosts is not None:
            host = hosts.of(uuid, row[3])
            tail += ',"conductor":null' if host is None else f',"conductor":{_quoted(host)}'
        one = build(*row[_VALUES:-1], msgspec.Raw(tail.encode()))
        if not everything and (instead := redaction.of(row[1], row[2])):
            one = _redacted(one, instead)
        made.append(one)
    return made


def _internal_text(
    url: str | None, version: str | None, called: str | None, own: str, *columns: Any
) -> str:
    """driver_internal_info with what is known of the agent and of the machine's boots, as upstream keeps it there."""
    if url or version or called or any(columns):
        agent = {"agent_url": url, "agent_version": version, "agent_last_heartbeat": called}
        shown: dict[str, Any] = {} if own == "{}" else _decode(own)
        shown.update((name, value) for name, value in agent.items() if value)
        shown.update(internal_info.facts(*columns))
        if identity := shown.get("bmc_identity"):
            # As it is stored: JSON already.
            shown["bmc_identity"] = msgspec.Raw(identity) if isinstance(identity, str) else identity
        own = _encode(shown).decode()
    return f',"{_INTERNAL}":{own}'


def _traits_text(traits: str) -> str:
    return f',"traits":{_encode(sorted(traits.split(","))).decode()}'


@functools.lru_cache(maxsize=100)
def _quoted(text: str) -> str:
    return _encode(text).decode()


def _redacted(one: Any, instead: Mapping[str, object]) -> dict[str, Any]:
    """A node without what the caller may not see."""
    shown: dict[str, Any] = _decode(_encode(one))
    shown.update({name: value for name, value in instead.items() if name in shown})
    return shown


@functools.lru_cache(maxsize=500)
def _link_pieces(shape: Shape, base: str) -> list[str]:
    """Links of a node as JSON text, cut where its uuid goes.

    The lists of links that follow `links` in a whole node are in the same text: one piece of text for
    each node, instead of ten objects.
    """
    clean = _encode(base)[1:-1].decode()
    subs = [n for n, since in NODE_SUBS.items() if since <= shape.minor] if shape.whole else []

    def pair(tail: str) -> str:
        return (
            f'[{{"href":"{clean}/v1/nodes/\0{tail}","rel":"self"}},'
            f'{{"href":"{clean}/nodes/\0{tail}","rel":"bookmark"}}]'
        )

    whole = pair("") + "".join(f',"{name}":{pair("/" + name)}' for name in subs)
    return whole.split("\0")


# -- filters -------------------------------------------------------------------------------------

_EQUAL = (
    "instance_uuid",
    "chassis_uuid",
    "provision_state",
    "driver",
    "resource_class",
    "fault",
    "conductor_group",
    "owner",
    "lessee",
    "instance_name",
)
_SHARDS = "shards "


def node_filters(given: Mapping[str, Any], own: str | None = None) -> Filters:
    """Conditions of the list's filters; None values are not asked for.

    own: the project whose nodes the caller sees; None for all.
    """
    values = {name: given[name] for name in _EQUAL if given.get(name) is not None}
    parts = list(values)
    for name in ("associated", "sharded", *FEW):
        if (value := given.get(name)) is not None:
            parts.append(name if value else f"not {name}")
    if (shards := given.get("shard")) is not None:
        parts.append(f"{_SHARDS}{len(shards)}")
        values |= {f"shard{place}": shard for place, shard in enumerate(shards)}
    if text := given.get("description_contains"):
        parts.append("description_contains")
        values["described"] = f"%{_escaped(text)}%"
    if project := given.get("project"):
        parts.append("project")
        values["project"] = project
    if not given.get("include_children"):
        parent = given.get("parent_node")
        # Where no parent is named: only nodes that are nobody's children.
        parts.append("nobody's" if parent is None else "parent_node")
        values |= {} if parent is None else {"parent_node": parent}
    mine = sa.or_(nodes.c.owner == own, nodes.c.lessee == own)
    return Filters(tuple(parts), values, () if own is None else (mine,))


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _condition(part: str) -> sa.ColumnElement[bool]:
    """The clause of a part of `Filters`."""
    c = nodes.c
    if part.startswith(_SHARDS):
        return c.shard.in_(
            [sa.bindparam(f"shard{place}") for place in range(int(part.removeprefix(_SHARDS)))]
        )
    if part.removeprefix("not ") in FEW:
        # Spelt as in the indexes of them.
        is_ = "IS FALSE" if part.startswith("not ") else "IS TRUE"
        return sa.literal_column(f"nodes.{part.removeprefix('not ')} {is_}")
    named: dict[str, Callable[[], sa.ColumnElement[bool]]] = {
        "associated": lambda: c.instance_uuid.is_not(None),
        "not associated": lambda: c.instance_uuid.is_(None),
        "sharded": lambda: c.shard.is_not(None),
        "not sharded": lambda: c.shard.is_(None),
        "description_contains": lambda: c.description.like(sa.bindparam("described"), escape="/"),
        "project": lambda: sa.or_(
            c.owner == sa.bindparam("project"), c.lessee == sa.bindparam("project")
        ),
        "nobody's": lambda: c.parent_node.is_(None),
    }
    return named[part]() if part in named else c[part] == sa.bindparam(part)
