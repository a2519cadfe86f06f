"""Regions, services and endpoints on the wire.

What this cloud itself serves is listed but cannot be changed here: it follows from what runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from ingot.kit import ids
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Conflict, Forbidden, Invalid, Missing
from ingot.services.identity import endpoint_store, schemas, store, tables
from ingot.services.identity.api.common import MAX_BODY, filters, linked, listing
from ingot.services.identity.catalogue import own_endpoints, own_services

if TYPE_CHECKING:
    from ingot.services.identity.service import Identity

from ingot.services.identity.api.common import Row


@dataclass(frozen=True)
class _Kind:
    """One of the three collections."""

    name: str
    table: sa.Table
    fields: type[msgspec.Struct]
    body: type[msgspec.Struct]
    required: tuple[str, ...]
    by: tuple[str, ...]

    @property
    def plural(self) -> str:
        return self.name + "s"


_KINDS = (
    _Kind(
        "region",
        tables.regions,
        schemas.RegionFields,
        schemas.RegionBody,
        (),
        ("parent_region_id",),
    ),
    _Kind(
        "service",
        tables.services,
        schemas.ServiceFields,
        schemas.ServiceBody,
        ("type",),
        ("name", "type"),
    ),
    _Kind(
        "endpoint",
        tables.endpoints,
        schemas.EndpointFields,
        schemas.EndpointBody,
        ("service_id", "interface", "url"),
        ("interface", "region_id", "service_id"),
    ),
)


def operations(identity: Identity, prefix: str) -> list[Operation]:
    rows: list[Operation] = []
    for kind in _KINDS:
        api = _Collection(identity, kind, prefix)
        many, one, name = f"/v3/{kind.plural}", f"/v3/{kind.plural}/{{{kind.name}_id}}", kind.name
        puts = [("PUT", one, api.create, "create_region", 201, kind.body)]
        for verb, path, handler, rule, status, body in (
            *(puts if name == "region" else ()),
            ("GET", many, api.index, f"list_{kind.plural}", 200, None),
            ("POST", many, api.create, f"create_{name}", 201, kind.body),
            ("GET", one, api.show, f"get_{name}", 200, None),
            ("PATCH", one, api.update, f"update_{name}", 200, kind.body),
            ("DELETE", one, api.delete, f"delete_{name}", 204, None),
        ):
            rows.append(
                Operation(
                    verb,
                    path,
                    handler,
                    rule=f"identity:{rule}",
                    status=status,
                    body=body,
                    max_body=MAX_BODY,
                )
            )
    return rows


def endpoint_body(row: Row, base_url: str) -> Row:
    body = {**row["extra"], **{k: v for k, v in row.items() if k != "extra"}}
    body |= {"enabled": bool(row["enabled"]), "region": row["region_id"]}
    return linked(body, base_url, f"endpoints/{row['id']}")


def all_endpoints(identity: Identity, call: Call, prefix: str, conn: sa.Connection) -> list[Row]:
    """Our own endpoints, as the caller reaches them, and those of others."""
    origin = identity.settings.public_url or call.base_url.removesuffix(prefix)
    own = own_endpoints(identity.catalog, origin, identity.settings.region)
    return [*own, *store.find(conn, tables.endpoints)]


class _Collection:
    def __init__(self, identity: Identity, kind: _Kind, prefix: str) -> None:
        self._identity, self._kind, self._prefix = identity, kind, prefix

    def _own(self, call: Call) -> list[Row]:
        """What the app serves itself."""
        identity = self._identity
        if self._kind.name == "service":
            return own_services(identity.catalog)
        if self._kind.name == "endpoint":
            origin = identity.settings.public_url or call.base_url.removesuffix(self._prefix)
            return own_endpoints(identity.catalog, origin, identity.settings.region)
        return []

    def _body(self, row: Row, base_url: str) -> Row:
        body = {**row["extra"], **{k: v for k, v in row.items() if k != "extra"}}
        if "enabled" in body:
            body["enabled"] = bool(body["enabled"])
        if self._kind.name == "endpoint":
            body["region"] = body["region_id"]
        return linked(body, base_url, f"{self._kind.plural}/{row['id']}")

    async def _get(self, call: Call) -> Row:
        key = call.params[self._kind.name + "_id"]
        for row in self._own(call):
            if row["id"] == key:
                return row
        return await self._identity.db.read(
            lambda conn: store.need(conn, self._kind.table, key, self._kind.name)
        )

    async def _changeable(self, call: Call) -> Row:
        row = await self._get(call)
        if any(own["id"] == row["id"] for own in self._own(call)):
            raise Forbidden(
                f"This {self._kind.name} is served by this cloud itself and follows from its set-up.",
                next_action="To name one that is elsewhere, take its room out of the setting `rooms`, restart and "
                "create the service and its endpoints.",
            )
        return row

    async def index(self, call: Call) -> Reply:
        wanted = [(key, value) for key, value in filters(call, self._kind.by) if "__" not in key]
        own = [
            row for row in self._own(call) if all(row.get(name) == value for name, value in wanted)
        ]
        rows = await self._identity.db.read(lambda conn: store.find(conn, self._kind.table, wanted))
        return listing(call, self._kind.plural, [*own, *rows], self._body)

    async def show(self, call: Call) -> Reply:
        return Reply({self._kind.name: self._body(await self._get(call), call.base_url)})

    def _values(self, call: Call, required: tuple[str, ...]) -> tuple[Row, Row]:
        attributes = getattr(call.body, self._kind.name)
        values, extra = schemas.split(attributes, self._kind.fields, required)
        if self._kind.name == "region":
            extra.pop("id", None)
        region = values.pop("region", None)
        if self._kind.name == "endpoint" and region is not None:
            values.setdefault("region_id", region)
        if values.get("description", "") is None:
            values["description"] = ""
        return values, extra

    async def create(self, call: Call) -> Reply:
        values, extra = self._values(call, self._kind.required)
        # PUT names a region's id in its path.
        named = call.params.get("region_id")
        if named and values.get("id") not in (None, named):
            raise Invalid("The id in the body is not that of the path.")
        if len(named or "") > 255:
            raise Invalid("The id of a region has 255 characters at most.")
        row: Row = {**values, "extra": extra, "id": named or values.get("id") or ids.new_hex()}

        def make(conn: sa.Connection) -> Row:
            self._named_region(conn, call, row)
            self._check(conn, call, row)
            if self._kind.name == "region" and store.get(conn, tables.regions, row["id"]):
                raise Conflict(f"Region {row['id']} is there already.")
            store.insert(conn, self._kind.table, row, self._kind.name)
            return store.need(conn, self._kind.table, row["id"], self._kind.name)

        return Reply({self._kind.name: self._body(await self._identity.write(make), call.base_url)})

    async def update(self, call: Call) -> Reply:
        row = await self._changeable(call)
        values, extra = self._values(call, ())
        if values.pop("id", row["id"]) not in (None, row["id"]):
            raise Invalid("Cannot change an id.")

        def change(conn: sa.Connection) -> Row:
            self._named_region(conn, call, values)
            self._check(conn, call, values)
            now = store.need(conn, self._kind.table, row["id"], self._kind.name)
            merged = {k: v for k, v in {**now["extra"], **extra}.items() if v is not None}
            changed = {**values, "extra": merged}
            store.update(conn, self._kind.table, row["id"], changed, self._kind.name)
            return store.need(conn, self._kind.table, row["id"], self._kind.name)

        body = await self._identity.write(change)
        return Reply({self._kind.name: self._body(body, call.base_url)})

    def _named_region(self, conn: sa.Connection, call: Call, values: Row) -> None:
        """A region that is named as in version 2 (`region`, not `region_id`) is made where it is missing."""
        region = call.body.endpoint.get("region") if self._kind.name == "endpoint" else None
        old_style = str(region or "")
        made = bool(old_style) and values.get("region_id") == old_style
        if made and store.get(conn, tables.regions, old_style) is None:
            store.insert(conn, tables.regions, {"id": old_style}, "region")

    def _check(self, conn: sa.Connection, call: Call, values: Row) -> None:
        """What a new or changed row names must be there."""
        region = values.get("region_id") or values.get("parent_region_id")
        if region and store.get(conn, tables.regions, region) is None:
            raise Invalid(f"Could not find region: {region}.")
        service_id = values.get("service_id")
        known = {row["id"] for row in own_services(self._identity.catalog)}
        if (
            service_id
            and service_id not in known
            and store.get(conn, tables.services, service_id) is None
        ):
            raise Invalid(f"Could not find service: {service_id}.")

    async def delete(self, call: Call) -> None:
        row = await self._changeable(call)

        def remove(conn: sa.Connection) -> None:
            if self._kind.name == "region":
                if row["id"] == self._identity.settings.region:
                    raise Forbidden("This cloud itself is in this region.")
                if store.find(conn, tables.endpoints, [("region_id", row["id"])]):
                    raise Conflict(f"Region {row['id']} has endpoints.")
            named = [(f"{self._kind.name}_id", row["id"])]
            if self._kind.name != "endpoint" and store.find(
                conn, tables.registered_limits, named, limit=1
            ):
                raise Conflict(f"There are limits for the {self._kind.name} {row['id']}.")
            if self._kind.name == "service":
                for endpoint in store.find(conn, tables.endpoints, [("service_id", row["id"])]):
                    store.delete(conn, tables.endpoints, endpoint["id"])
                    endpoint_store.forget_endpoint(conn, endpoint["id"])
            if store.get(conn, self._kind.table, row["id"]) is None:
                raise Missing(f"Could not find {self._kind.name}: {row['id']}.")
            store.delete(conn, self._kind.table, row["id"])
            if self._kind.name == "endpoint":
                endpoint_store.forget_endpoint(conn, row["id"])

        await self._identity.write(remove)
