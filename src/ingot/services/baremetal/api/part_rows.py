"""Rows of what hangs on nodes (ports, port groups, volumes), of chassis, shards and network events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ingot.kit.api.operations import Operation
from ingot.services.baremetal.api.chassis import Chassis, ChassisListQuery, ChassisQuery
from ingot.services.baremetal.api.events import Events, EventsBody
from ingot.services.baremetal.api.nodes import FieldsQuery, NodeListQuery, NodeQuery
from ingot.services.baremetal.api.parts import Parts
from ingot.services.baremetal.api.portgroups import (
    PortgroupListQuery,
    PortgroupQuery,
    Portgroups,
)
from ingot.services.baremetal.api.ports import PortListQuery, PortQuery, Ports
from ingot.services.baremetal.api.rows import late, system_wide
from ingot.services.baremetal.api.shards import Shards
from ingot.services.baremetal.api.volumes import Connectors, Targets, Volume, VolumeListQuery
from ingot.services.baremetal.nodes.patching import PatchOperation
from ingot.services.baremetal.ports import schemas as port_schemas

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal

NODE, GROUP, CHASSIS = "/v1/nodes/{id}", "/v1/portgroups/{id}", "/v1/chassis/{id}"
PORTGROUPS_SINCE, BELOW_SINCE, VOLUME_SINCE = 23, 24, 32
SHARDS_SINCE, EVENTS_SINCE = 82, 54


def part_operations(baremetal: Baremetal) -> Sequence[Operation]:
    """All rows."""
    ports, groups = Ports(baremetal), Portgroups(baremetal)
    return (
        *_one(ports, "/v1/ports", port_schemas.PortCreate),
        *_ports_lists(ports, "/v1/ports"),
        *_below(ports, f"{NODE}/ports"),
        *_ports_lists(ports, f"{NODE}/ports"),
        *_below(ports, f"{GROUP}/ports", since=BELOW_SINCE),
        *_ports_lists(ports, f"{GROUP}/ports", since=BELOW_SINCE),
        *_one(groups, "/v1/portgroups", port_schemas.PortgroupCreate, since=PORTGROUPS_SINCE),
        *_group_lists(groups, "/v1/portgroups", since=PORTGROUPS_SINCE),
        *_below(groups, f"{NODE}/portgroups", since=BELOW_SINCE),
        *_group_lists(groups, f"{NODE}/portgroups", since=BELOW_SINCE),
        *_volumes(baremetal),
        *_chassis(Chassis(baremetal), groups),
        *_others(baremetal),
    )


def _one(
    parts: Parts, path: str, body: type[msgspec.Struct], since: int = 0
) -> Iterator[Operation]:
    """Creation, and one thing."""
    rule, one = parts.rule, f"{path}/{{id}}"
    new: dict[str, Any] = {"body": body, "status": 201, "since": since}
    yield late("POST", path, parts.create, f"{rule}:create", **new)
    yield late("GET", one, parts.show, f"{rule}:get", query=FieldsQuery, since=since)
    yield late("PATCH", one, parts.patch, f"{rule}:update", body=list[PatchOperation], since=since)
    yield late("DELETE", one, parts.delete, f"{rule}:delete", status=204, since=since)


def _below(parts: Parts, path: str, since: int = 0) -> Iterator[Operation]:
    """Below something else there are only lists; the rest is no right address (400)."""
    rule, one = parts.rule, f"{path}/{{part}}"
    yield late("POST", path, parts.malformed, f"{rule}:create", since=since)
    for method, action in (("GET", "get"), ("PATCH", "update"), ("DELETE", "delete")):
        yield late(method, one, parts.malformed, f"{rule}:{action}", since=since)


def _lists(
    parts: Parts, path: str, brief: type[msgspec.Struct], whole: type[msgspec.Struct], since: int
) -> Iterator[Operation]:
    rule = f"{parts.rule}:list"
    yield late("GET", path, parts.list, rule, query=brief, since=since)
    yield late("GET", f"{path}/detail", parts.list_whole, rule, query=whole, since=since)


def _ports_lists(ports: Ports, path: str, since: int = 0) -> Iterator[Operation]:
    return _lists(ports, path, PortListQuery, PortQuery, since)


def _group_lists(groups: Portgroups, path: str, since: int) -> Iterator[Operation]:
    return _lists(groups, path, PortgroupListQuery, PortgroupQuery, since)


def _volumes(baremetal: Baremetal) -> Iterator[Operation]:
    root = Volume(baremetal)
    since: dict[str, Any] = {"since": VOLUME_SINCE}
    for above in ("/v1/volume", f"{NODE}/volume"):
        yield late("GET", above, root.show, "volume:get", **since)
    for kind, body, word in (
        (Connectors(baremetal), port_schemas.ConnectorCreate, "connectors"),
        (Targets(baremetal), port_schemas.TargetCreate, "targets"),
    ):
        path = f"/v1/volume/{word}"
        yield from _one(kind, path, body, **since)
        yield from _below(kind, f"{NODE}/volume/{word}", **since)
        for where in (path, f"{NODE}/volume/{word}"):
            yield late("GET", where, kind.list, "volume:list", query=VolumeListQuery, **since)


def _chassis(all: Chassis, parts: Parts) -> Iterator[Operation]:
    path, get = "/v1/chassis", "chassis:get"
    body = port_schemas.ChassisBody
    yield system_wide("GET", path, all, all.list, get, query=ChassisListQuery)
    yield system_wide("GET", f"{path}/detail", all, all.list_whole, get, query=ChassisQuery)
    yield system_wide("POST", path, all, all.create, "chassis:create", body=body, status=201)
    yield system_wide("GET", CHASSIS, all, all.show, get, query=FieldsQuery)
    patch: dict[str, Any] = {"body": list[PatchOperation]}
    yield system_wide("PATCH", CHASSIS, all, all.patch, "chassis:update", **patch)
    yield system_wide("DELETE", CHASSIS, all, all.delete, "chassis:delete", status=204)
    below = f"{CHASSIS}/nodes"
    yield late("GET", below, all.nodes, "node:list", query=NodeListQuery)
    yield late("GET", f"{below}/detail", all.nodes_whole, "node:list", query=NodeQuery)
    yield late("POST", below, parts.malformed, "node:create")
    for method, action in (("GET", "get"), ("PATCH", "update"), ("DELETE", "delete")):
        yield late(method, f"{below}/{{node}}", parts.malformed, f"node:{action}")


def _others(baremetal: Baremetal) -> Iterator[Operation]:
    shards, events = Shards(baremetal), Events(baremetal)
    yield system_wide("GET", "/v1/shards", shards, shards.list, "shards:get", since=SHARDS_SINCE)
    new: dict[str, Any] = {"body": EventsBody, "status": 204, "since": EVENTS_SINCE}
    yield system_wide("POST", "/v1/events", events, events.post, "events:post", **new)
