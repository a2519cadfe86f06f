"""OpenAPI documents from the tables of operations: what a service answers to at one microversion.

The documents tell paths, parameters, bodies, success codes and every fault that the service can answer with,
in its own envelope. The shape of a successful reply is told where the row names a type; elsewhere any JSON.
500 is in no document: it is always a bug.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from ingot.kit.api.operations import STATUS, Operation, Service, Shape
from ingot.kit.api.versions import Version
from ingot.kit.faults import Fault, Kind

_REFS = "#/components/schemas/{name}"
_BODILESS = (204, 304)
_NO_VERSION = Version(0, 0)


def document(service: Service, version: Version | None = None) -> dict[str, Any]:
    """The document of a service, at its newest microversion unless `version` is given."""
    known = service.versions
    if version is None:
        version = known.maximum if known is not None else _NO_VERSION
    rows = [row for row in service.operations if row.visible(version)]
    schemas, components = _schemas(rows, version)
    faults = _faults(service)
    refused = {status: {"$ref": f"#/components/responses/{status}"} for status in faults}
    paths: dict[str, Any] = {}
    for row in rows:
        path = (service.prefix + row.path) or "/"
        paths.setdefault(path, {})[row.method.lower()] = _operation(
            service, row, row.types(version), schemas, refused
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Ingot: {service.name}", "version": str(version)},
        "paths": paths,
        "components": {"schemas": components, "responses": faults},
    }


def _schemas(rows: Iterable[Operation], version: Version) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Schemas of all types that rows name, and the parts that they refer to."""
    shapes: set[Any] = set()
    for row in rows:
        types = row.types(version)
        shapes |= {shape for shape in (types.body, row.query, types.reply) if shape}
    ordered = sorted(shapes, key=repr)
    made, components = msgspec.json.schema_components(ordered, ref_template=_REFS)
    return dict(zip(ordered, made, strict=True)), components


def _operation(
    service: Service,
    row: Operation,
    types: Shape,
    schemas: Mapping[Any, Any],
    faults: Mapping[str, Any],
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": f"{row.method} {service.prefix}{row.path}",
        "parameters": [*_in_path(row), *_in_query(row)],
        "responses": {**_success(row, types, schemas), **faults},
    }
    if row.title:
        told["summary"] = row.title
    if types.body is not None:
        content = {"application/json": {"schema": schemas[types.body]}}
        told["requestBody"] = {"required": True, "content": content}
    elif row.stream:
        told["requestBody"] = {"content": {"application/octet-stream": {"schema": {}}}}
    return told


def _in_path(row: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)[^}]*\}", row.path)
    ]


def _in_query(row: Operation) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    ((_, components), name) = msgspec.json.schema_components([row.query]), row.query.__name__
    return [
        {"name": field, "in": "query", "schema": schema}
        for field, schema in components[name]["properties"].items()
    ]


def _success(row: Operation, types: Shape, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(status): {"description": "done"}
        if status in _BODILESS
        else {
            "description": "done",
            "content": {"*/*": {"schema": schemas[types.reply] if types.reply else {}}},
        }
        for status in (row.status, *row.also)
    }


def _faults(service: Service) -> dict[str, Any]:
    """Every fault's status with the shape of the service's envelope for it."""
    found: dict[str, Any] = {}
    for kind in STATUS:
        fault = Fault("what is wrong", kind=kind)
        status = service.status_of(fault)
        if status == STATUS[Kind.INTERNAL] or str(status) in found:
            continue
        text, content_type = service.envelope(fault, status)
        schema = _shape(msgspec.json.decode(text))
        found[str(status)] = {
            "description": kind.value,
            "content": {content_type: {"schema": schema}},
        }
    return dict(sorted(found.items()))


def _shape(value: object) -> dict[str, Any]:
    """The schema of documents like this one."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        shapes = {name: _shape(member) for name, member in members.items()}
        return {"type": "object", "properties": shapes, "required": list(shapes)}
    if isinstance(value, list):
        items = cast("list[object]", value)
        return {"type": "array", "items": _shape(items[0]) if items else {}}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int | float):
        return {"type": "number"}
    return {} if value is None else {"type": "string"}
