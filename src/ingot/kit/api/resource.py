"""A resource, declared: what it is, and what its service adds to the common manners.

A resource is a value, not a base class. `crud.operations` makes its operations: list, show, create, update, delete,
and those of its tags. What a declaration says wrongly is refused when it is built, not at the first request.

    SHELVES = Resource(
        "shelf", "shelves", tables.shelves, NEUTRON,
        fields=(
            Field("name", Name, create=MUST, update=True, filter="equal", sort=True),
            Field("capacity", Positive, create=MAY, default=10, since=3),
        ),
        quota="shelf",
        tags=True,
    )
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import sqlalchemy as sa

from ingot.kit.api.fields import Field, Give, Row
from ingot.kit.api.operations import Call
from ingot.kit.api.styles import Rules, Style
from ingot.kit.db.tx import Tx

Where = sa.ColumnElement[bool]
#: Values of a row by column names, with JSON columns as what they hold.
Values = dict[str, Any]


class WrongDeclaration(ValueError):
    """A resource that cannot be: its text names the resource and what is wrong."""


def _same(_tx: Tx, _call: Call, values: Values, _row: Row | None) -> Values:
    return values


def _nothing(_tx: Tx, _call: Call, _row: Row) -> None:
    return None


def _no_more(_tx: Tx, _call: Call, _rows: Sequence[Row]) -> None:
    return None


def _changed(_tx: Tx, _call: Call, _before: Row, _after: Row) -> None:
    return None


def _as_given(_tx: Tx, _call: Call, values: Values) -> Values:
    return values


class Backing(Protocol):
    """Where rows are read and written, for a resource that is more than the rows of one table.

    `where` always holds what the caller sees. get: lock is the verb for which the row must stay as it is until the
    transaction ends; "" for none. update, delete: of a row that `get` has given under a lock.
    """

    def select(
        self,
        tx: Tx,
        resource: Resource,
        where: Sequence[Where],
        order: Sequence[sa.ColumnElement[Any]] = (),
        limit: int | None = None,
    ) -> Sequence[Row]: ...

    def get(
        self, tx: Tx, resource: Resource, ident: str, where: Sequence[Where], lock: str = ""
    ) -> Row | None: ...

    def insert(self, tx: Tx, resource: Resource, call: Call, values: Values) -> Row: ...

    def update(
        self, tx: Tx, resource: Resource, call: Call, before: Row, values: Values
    ) -> Row | None: ...

    def delete(self, tx: Tx, resource: Resource, call: Call, row: Row) -> bool: ...


@dataclass(frozen=True)
class Hooks:
    """What a service adds, inside the transaction of the request. Each may raise a fault, which undoes everything.

    prepare: finds what a creation names, before the caller's right to it is asked (`Resource.target`). validate: checks
    and completes the values of a creation (row None) or a change. before_list: a change that must have happened before
    a list is read; None where there is none to do. created, updated, deleted: after
    the row was written. allowed: may refuse a caller by more than policies, before anything is read.
    """

    prepare: Callable[[Tx, Call, Values], Values] = _as_given
    validate: Callable[[Tx, Call, Values, Row | None], Values] = _same
    before_list: Callable[[Call], Callable[[Tx], object] | None] = lambda _call: None
    created: Callable[[Tx, Call, Row], None] = _nothing
    finished: Callable[[Tx, Call, Sequence[Row]], None] = _no_more
    updated: Callable[[Tx, Call, Row, Row], None] = _changed
    deleted: Callable[[Tx, Call, Row], None] = _nothing
    allowed: Callable[[Call], None] = lambda _call: None


@dataclass(frozen=True)
class Parent:
    """What a resource is in: the other resource, and the column that names it."""

    resource: Resource
    column: str


def _of_project(resource: Resource, call: Call) -> Where | None:
    """What is the caller's project's; all to whoever the rule `see_all` (or the role admin) lets see all."""
    owner = resource.owner
    if not owner or sees_all(call):
        return None
    own = getattr(call.caller, owner, None)
    return resource.table.c[owner] == own if own else sa.false()


def sees_all(call: Call) -> bool:
    """Whether the caller sees what belongs to others too."""
    if "see_all" in call.policy.rules:
        return call.allows("see_all")
    return "admin" in call.caller.roles or call.caller.system


@dataclass(frozen=True, kw_only=True, eq=False)
class Resource:
    """One kind of thing.

    name, plural: as in bodies. path: of the collection below its style's root (below its parent's, where it has one);
    "": the plural with dashes.
    table: its rows; id: the column that a path names, which is unique. owner: the column with the project (or user)
    whose it is; "": nobody's. parent: what it is in. param: how paths name it; "": {name}_id.
    fields: besides the id.
    rules: names of policy rules. target: what rules may look at, of a row, or of nothing (None) where there is none.
    scope: what a caller sees, as a condition; None: everything. It stands in every statement about these rows.
    rows: where they are, when they are more than rows of the table. filters: of lists, beside those of the fields.
    quota: kind that is counted for the owner. tags: whether it has tags, in the JSON column `tags`.
    unlocked: verbs whose transactions need not be serializable: only constraints and counters decide on them.
    order: columns by which lists are sorted that name no key; the id comes last. verbs: what is offered.
    since, until: minor microversions at which its operations are there. conflict: what is told of a value that another
    has already. several: whether a creation's body and reply are lists under the plural (Keystone's unified limits).
    """

    name: str
    plural: str
    table: sa.Table
    style: Style
    fields: tuple[Field, ...]
    path: str = ""
    id: str = "id"
    param: str = ""
    owner: str = "project_id"
    parent: Parent | None = None
    rules: Rules | None = None
    target: Callable[[Tx | None, Row | None], Mapping[str, object]] | None = None
    scope: Callable[[Resource, Call], Where | None] = _of_project
    hooks: Hooks = field(default_factory=Hooks)
    rows: Backing | None = None
    filters: Mapping[str, Callable[[Sequence[str]], Where]] = field(
        default_factory=dict[str, Callable[[Sequence[str]], Where]]
    )
    quota: str = ""
    tags: bool = False
    tags_given: bool = False
    unlocked: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    verbs: frozenset[str] = frozenset({"index", "show", "create", "update", "delete"})
    since: int = 0
    until: int | None = None
    conflict: str = ""
    several: bool = False

    def __post_init__(self) -> None:
        for wrong in _mistakes(self):
            raise WrongDeclaration(f"{self.name}: {wrong}")

    # -- names ---------------------------------------------------------------------------------

    @cached_property
    def rule(self) -> Rules:
        """The names of its policy rules."""
        return self.rules or self.style.rules(self.name, self.plural)

    @cached_property
    def ident(self) -> str:
        """The name of the path parameter that names one."""
        return self.param or f"{self.name}_id"

    @cached_property
    def collection(self) -> str:
        """The path of its list, below the style's root."""
        own = f"/{self.path or self.plural.replace('_', '-')}"
        return self.parent.resource.one + own if self.parent else own

    @cached_property
    def one(self) -> str:
        """The path of one of them, below the style's root."""
        return f"{self.collection}/{{{self.ident}}}"

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {field.name: field for field in self.fields}

    def shown(self, minor: int) -> tuple[Field, ...]:
        """The fields that replies may have at a microversion."""
        return tuple(f for f in self.fields if f.visible(minor) and not f.secret)

    def given(self, verb: str, minor: int) -> tuple[Field, ...]:
        """The fields that the body of a creation ("create") or change ("update") may name."""
        return tuple(
            f
            for f in self.fields
            if f.visible(minor) and (f.update if verb == "update" else f.create is not Give.NO)
        )

    # -- rights --------------------------------------------------------------------------------

    def seen(self, call: Call) -> tuple[Where, ...]:
        """What the caller sees of these rows, as conditions."""
        own = self.scope(self, call)
        found = () if own is None else (own,)
        if self.parent is None:
            return found
        above = self.parent.resource
        inside = above.seen(call)
        if not inside:
            return found
        parents = sa.select(above.table.c[above.id]).where(*inside)
        return (*found, self.table.c[self.parent.column].in_(parents))

    def about(self, row: Row | None, tx: Tx | None = None) -> Mapping[str, object]:
        """What policy rules may look at. tx: None where a reply is made, of rows that were read before."""
        if self.target is not None:
            return self.target(tx, row)
        return {self.owner: row[self.owner]} if self.owner and row is not None else {}

    def addressed(self, row: Row) -> str:
        """The path of this one, below the style's root."""
        own = f"/{self.path or self.plural.replace('_', '-')}/{row[self.id]}"
        if self.parent is None:
            return own
        above = self.parent.resource
        return above.addressed({**row, above.id: row[self.parent.column]}) + own


def _mistakes(resource: Resource) -> list[str]:
    """What is wrong with a declaration, in words."""
    table, columns = resource.table, resource.table.c
    found: list[str] = []
    names = [one.name for one in resource.fields]
    for name in {name for name in names if names.count(name) > 1}:
        found.append(f"the field {name} is declared twice")
    for one in resource.fields:
        if one.read is None and one.source not in columns:
            found.append(f"the field {one.name} has no column {table.name}.{one.source}")
        if one.read is not None and one.source not in columns and (one.filter or one.sort):
            found.append(f"the field {one.name} has no column to filter or sort by")
        if one.secret and (one.filter or one.sort):
            found.append(f"lists cannot be filtered or sorted by {one.name}, which is secret")
        if one.until is not None and one.until < one.since:
            found.append(f"the field {one.name} ends before it begins")
        if (
            one.read is not None
            and one.source not in columns
            and resource.rows is None
            and (one.create is not Give.NO or one.update)
            and not one.ignored
        ):
            found.append(f"nothing holds what bodies say of {one.name}")
    for what, column in (("id", resource.id), ("owner", resource.owner)):
        if column and column not in columns:
            found.append(f"its {what} {column} is no column of {table.name}")
    if resource.parent is not None and resource.parent.column not in columns:
        found.append(f"its parent's column {resource.parent.column} is none of {table.name}")
    if resource.quota and not resource.owner:
        found.append("a quota needs an owner")
    if resource.tags and not ("tags" in columns and columns["tags"].info.get("json")):
        found.append(f"{table.name}.tags is no JSON column")
    for name in resource.order:
        if name not in columns:
            found.append(f"lists cannot be ordered by {name}")
    for verb in resource.verbs | resource.unlocked:
        if verb not in ("index", "show", "create", "update", "delete"):
            found.append(f"{verb} is no verb")
    return found
