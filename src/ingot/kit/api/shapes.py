"""Types of bodies and replies, and how a row becomes a reply; made from a resource's declaration, once a microversion."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any, Union

import msgspec
from msgspec import UNSET, UnsetType

from ingot.kit.api.fields import Field, Give, Id, Row, Tag
from ingot.kit.api.operations import Call, Shape
from ingot.kit.api.resource import Resource, Values
from ingot.kit.db.database import when
from ingot.kit.faults import Invalid

#: What msgspec says of a field that must be there and is not, in the outermost object.
_LACKING = re.compile(r"Object missing required field `(.+)`\Z")
Document = dict[str, Any]
Reader = Callable[[Row], Any]


# -- bodies ----------------------------------------------------------------------------------------


@cache
def body(resource: Resource, verb: str, minor: int) -> type[msgspec.Struct]:
    """What the body of a creation ("create") or change ("update") may say of one thing."""
    members: list[Any] = []
    for field in resource.given(verb, minor):
        must = verb == "create" and field.create is Give.MUST
        members.append(_member(field.name, _type(field), optional=not must))
    if resource.style.tenant_id and resource.owner:
        members += [_member(name, Id, optional=True) for name in ("project_id", "tenant_id")]
    if resource.tags_given and verb == "create":
        members.append(_member("tags", list[Tag], optional=True))
    # Those that must be there come first, as in any signature.
    members.sort(key=lambda member: len(member) > 2)
    return _struct(f"{_camel(resource)}{verb.capitalize()}", members, resource.style.strict)


def read(resource: Resource, verb: str, call: Call, given: object) -> Values:
    """The values that a body gives, by column names."""
    shape = body(resource, verb, call.version.minor)
    try:
        item = msgspec.convert(given, shape, strict=not resource.style.lenient)
    except msgspec.ValidationError as wrong:
        lacking = _LACKING.match(str(wrong))
        if lacking and resource.style.lacking:
            raise Invalid(resource.style.lacking.format(name=lacking[1])) from None
        raise Invalid(f"Invalid input: {_placed(str(wrong), resource.name)}.") from None
    values: Values = {}
    fields = {_attribute(field.name): field for field in resource.fields}
    for name in shape.__struct_fields__:
        value = getattr(item, name)
        if value is not UNSET and not (name in fields and fields[name].ignored):
            column = fields[name].source if name in fields else name
            values[column] = _meant(fields.get(name), msgspec.to_builtins(value))
    return values


def _meant(field: Field | None, value: Any) -> Any:
    """A value of a body; of a null what it stands for."""
    if value is not None or field is None or field.null is UNSET:
        return value
    return copy.deepcopy(field.null)


def _placed(wrong: str, name: str) -> str:
    return wrong.replace("$", f"$.{name}") if "$" in wrong else f"{wrong} in {name}"


# -- replies ---------------------------------------------------------------------------------------


@cache
def reply(resource: Resource, minor: int) -> type[msgspec.Struct]:
    """What a reply shows of one thing."""
    members: list[Any] = [_member("id", str)]
    for field in resource.shown(minor):
        if field.name != "id":
            members.append(_member(field.name, _type(field), optional=bool(field.see)))
    if resource.style.tenant_id and resource.owner:
        members += [_member(name, str) for name in ("project_id", "tenant_id")]
    if resource.tags:
        members.append(_member("tags", list[str]))
    if resource.style.links == "self":
        members.append(_member("links", dict[str, str | None]))
    members.sort(key=lambda member: len(member) > 2)
    return _struct(_camel(resource), members, strict=False)


def one(resource: Resource, verb: str) -> Callable[[int], Shape]:
    """Types of an operation on one thing: verb is "create", "update" or "" (no body)."""

    def shape(minor: int) -> Shape:
        shown: Any = reply(resource, minor)
        given: Any = body(resource, verb, minor) if verb else None
        wrapped = _wrap(resource.name, shown, "Reply")
        return Shape(
            _wrap(resource.name, given, f"{verb.capitalize()}Body") if given else None, wrapped
        )

    return shape


def created(resource: Resource) -> Callable[[int], Shape]:
    """Types of a creation."""
    if not resource.several:
        return one(resource, "create")

    def shape(minor: int) -> Shape:
        given: Any = body(resource, "create", minor)
        shown: Any = reply(resource, minor)
        wrapped = _wrap(resource.plural, list[given], "CreateBody")
        return Shape(wrapped, _wrap(resource.plural, list[shown], "Reply"))

    return shape


def many(resource: Resource) -> Callable[[int], Shape]:
    """Types of a list."""

    def shape(minor: int) -> Shape:
        shown: Any = reply(resource, minor)
        return Shape(None, _wrap(resource.plural, list[shown], "List"))

    return shape


@cache
def _wrap(name: str, inner: Any, word: str) -> type[msgspec.Struct]:
    return _struct(_word(name) + word, [_member(name, inner)], strict=False)


class Renderer:
    """Makes what a reply shows of rows, at one microversion."""

    def __init__(self, resource: Resource, minor: int) -> None:
        self.resource = resource
        self._readers: list[tuple[str, str, Reader]] = [
            (field.name, field.see, _reader(resource, field))
            for field in resource.shown(minor)
            if field.name != "id"
        ]

    def plain(self, row: Row) -> Document:
        """What everybody who sees it is shown, as a part of something else."""
        resource = self.resource
        made = {name: reader(row) for name, see, reader in self._readers if not see}
        if resource.style.tenant_id and resource.owner:
            made["project_id"] = made["tenant_id"] = row[resource.owner]
        return {"id": row[resource.id], **made}

    def one(self, call: Call, row: Row, fields: Iterable[str] = ()) -> Document:
        """One thing. fields: only these, if there are any."""
        resource = self.resource
        made: Document = {"id": row[resource.id]}
        for name, see, reader in self._readers:
            if not see or call.allows(see, resource.about(row)):
                made[name] = reader(row)
        if resource.style.tenant_id and resource.owner:
            made["project_id"] = made["tenant_id"] = row[resource.owner]
        if resource.tags:
            made["tags"] = row["tags"] or []
        if resource.style.links == "self":
            url = f"{call.base_url}{resource.style.root}{resource.addressed(row)}"
            made["links"] = {"self": url}
        wanted = tuple(fields)
        return {name: made[name] for name in wanted if name in made} if wanted else made


@cache
def renderer(resource: Resource, minor: int) -> Renderer:
    """The renderer of a resource at a microversion."""
    return Renderer(resource, minor)


def _reader(resource: Resource, field: Field) -> Reader:
    if field.read is not None:
        return field.read
    source = field.source
    if resource.table.c[source].info.get("moment"):
        written = resource.style.moment

        def moment(row: Row) -> str | None:
            value = row[source]
            at = value if isinstance(value, datetime) else when(value)
            return None if at is None else written(at)

        return moment
    return lambda row: row[source]


# -- types -----------------------------------------------------------------------------------------


def _either(one: Any, other: Any) -> Any:
    """A value of one of two types, of which each may be None's."""
    return Union[one, other]  # noqa: UP007  ("|" knows no None on both sides)


def _type(field: Field) -> Any:
    return _either(field.type, None) if field.nullable else field.type


def _attribute(name: str) -> str:
    """The name of a struct's attribute for one on the wire, such as `provider_network_type`."""
    return re.sub(r"\W", "_", name)


def _member(name: str, shape: Any, *, optional: bool = False) -> tuple[Any, ...]:
    if not optional:
        return (_attribute(name), shape, msgspec.field(name=name))[
            : 2 if name.isidentifier() else 3
        ]
    return (_attribute(name), _either(shape, UnsetType), msgspec.field(default=UNSET, name=name))


def _struct(name: str, members: list[Any], strict: bool) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, members, kw_only=True, forbid_unknown_fields=strict)


def _word(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _camel(resource: Resource) -> str:
    above = _camel(resource.parent.resource) if resource.parent else ""
    return above + _word(resource.name)
