"""Fields, filters and types that several resources of this API share."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ingot.kit.api.fields import MAY, Field, Moment, Text

#: What clients send back as they were shown it, and what says nothing here.
Nothing = Annotated[list[Any], Meta(max_length=0)]
NoText = Annotated[str, Meta(max_length=0)]
Mtu = Annotated[int, Meta(ge=68, le=65535)]
#: The one availability zone, as clients are told.
ZONE = "nova"


class Pool(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a subnet from which addresses are given; first and last of it."""

    start: Text
    end: Text


class Route(msgspec.Struct, forbid_unknown_fields=True):
    """A route that machines on a subnet are told."""

    destination: Text
    nexthop: Text


class FixedIp(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An address of a port; of a creation what is wished of one."""

    subnet_id: Annotated[str, Meta(min_length=1, max_length=64)] | msgspec.UnsetType = msgspec.UNSET
    ip_address: Text | msgspec.UnsetType = msgspec.UNSET


class Pair(msgspec.Struct, forbid_unknown_fields=True):
    """A further address that a port may use."""

    ip_address: Text
    mac_address: Text | msgspec.UnsetType = msgspec.UNSET


def constant(name: str, type_: Any, value: Any) -> Field:
    """A field that has the same value in all replies, and that no body names."""
    return Field(name, type_, read=lambda _row: value)


def shown_and_ignored(name: str, type_: Any, value: Any) -> Field:
    """A field with one value that bodies may repeat, and that changes nothing."""
    return Field(
        name, type_, read=lambda _row: value, create=MAY, update=True, nullable=True, ignored=True
    )


COMMON = (
    Field("description", Text, create=MAY, update=True, default="", filter="equal"),
    Field("revision_number", int, filter="equal"),
    Field("created_at", Moment, sort=True),
    Field("updated_at", Moment),
)
