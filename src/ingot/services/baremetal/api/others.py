"""Discovery documents, drivers, conductors and shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot import workflow
from ingot.drivers.machine.registry import UnknownDriver, UnknownInterface
from ingot.kit.api.operations import Call, Reply
from ingot.kit.api.paging import next_link
from ingot.kit.api.versions import Version
from ingot.kit.faults import Invalid, Missing
from ingot.services.baremetal.api.common import Handlers, PageQuery, needs
from ingot.services.baremetal.api.nodes import DETAIL_SINCE, FieldsQuery
from ingot.services.baremetal.nodes import listing, schemas
from ingot.services.baremetal.tables import INTERFACES, nodes

if TYPE_CHECKING:
    from ingot.services.baremetal.service import Baremetal

MINIMUM, MAXIMUM = Version(1, 1), Version(1, 115)
DYNAMIC_SINCE = 30
DRIVER_FIELDS_SINCE = 77
_DRIVER_INTERFACE_SINCE = {"storage": 33, "rescue": 38, "bios": 40, "firmware": 86}
_CONDUCTOR_FIELDS = ("hostname", "conductor_group", "alive", "drivers", "created_at", "updated_at")


class DriverQuery(msgspec.Struct, forbid_unknown_fields=True):
    type: str | None = None
    detail: str | None = None
    fields: list[str] | None = None


class ConductorQuery(PageQuery, kw_only=True):
    fields: list[str] | None = None
    detail: str | None = None


class Roots(Handlers):
    """GET / and GET /v1: what there is, at which versions. Open to everybody.

    collections: what GET /v1 links to, with the minor version that brought it.
    """

    def __init__(self, baremetal: Baremetal, collections: Mapping[str, int] | None = None) -> None:
        super().__init__(baremetal)
        self._collections = collections or {}

    async def root(self, call: Call) -> Reply:
        version = _version_document(call)
        return Reply(
            {
                "name": "OpenStack Ironic API",
                "description": "Ingot's Bare Metal service, version 1 of the Bare Metal API.",
                "default_version": version,
                "versions": [version],
            }
        )

    async def v1(self, call: Call) -> Reply:
        body: dict[str, Any] = {
            "id": "v1",
            "links": [
                {"href": f"{call.base_url}/v1/", "rel": "self"},
                {
                    "href": "https://docs.openstack.org//ironic/latest/contributor//webapi.html",
                    "rel": "describedby",
                    "type": "text/html",
                },
            ],
            "media_types": {
                "base": "application/json",
                "type": "application/vnd.openstack.ironic.v1+json",
            },
            "version": _version_document(call),
        }
        for name, since in self._collections.items():
            if call.version.minor >= since:
                body[name] = listing.links(call.base_url, f"{name}/")
        return Reply(body)


def _version_document(call: Call) -> dict[str, Any]:
    return {
        "id": "v1",
        "links": [{"href": f"{call.base_url}/v1/", "rel": "self"}],
        "status": "CURRENT",
        "min_version": str(MINIMUM),
        "version": str(MAXIMUM),
    }


class Drivers(Handlers):
    """Handlers of /v1/drivers: the enabled hardware types."""

    async def list(self, call: Call) -> Reply:
        query: DriverQuery = call.query
        if query.type is not None:
            needs(call, DYNAMIC_SINCE, "the filter type")
        if query.detail is not None:
            needs(call, DYNAMIC_SINCE, "detail")
        if query.type not in (None, "classic", "dynamic"):
            raise Invalid('"type" filter must be one of "classic" or "dynamic", if specified.')
        detail = query.detail is not None and schemas.flag("detail", query.detail)
        if detail and query.fields:
            raise Invalid("Can not specify ?detail=True and fields in the same request.")
        names = () if query.type == "classic" else self.ctx.registry.hardware_types()
        hosts = await self.read(self._hosts)
        shown = [
            _only(call, self._driver(call, name, hosts, detail or bool(query.fields)), query.fields)
            for name in names
        ]
        return Reply({"drivers": shown})

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        name = self._known(call)
        hosts = await self.read(self._hosts)
        return Reply(_only(call, self._driver(call, name, hosts, True), query.fields))

    async def properties(self, call: Call) -> Reply:
        return Reply(self.ctx.registry.properties(self._known(call)))

    def _known(self, call: Call) -> str:
        try:
            return self.ctx.registry.hardware(call.params["name"]).name
        except UnknownDriver:
            raise Missing(
                "Could not find the following driver(s) or hardware type(s): "
                f"{call.params['name']}."
            ) from None

    def _hosts(self, conn: sa.Connection) -> list[str]:
        return sorted({row.host for row in listing.live_conductors(self.ctx, conn)})

    def _default(self, driver: str, interface: str) -> str | None:
        try:
            return self.ctx.registry.default_name(driver, interface)
        except UnknownInterface:
            return None

    def _driver(self, call: Call, name: str, hosts: list[str], detail: bool) -> dict[str, Any]:
        minor = call.version.minor
        body: dict[str, Any] = {
            "name": name,
            "hosts": hosts,
            "links": listing.links(call.base_url, f"drivers/{name}"),
        }
        if minor >= 14:
            body["properties"] = listing.links(call.base_url, f"drivers/{name}/properties")
        if minor < DYNAMIC_SINCE:
            return body
        body["type"] = "dynamic"
        for interface in INTERFACES if detail else ():
            if minor >= _DRIVER_INTERFACE_SINCE.get(interface, DYNAMIC_SINCE):
                enabled = self.ctx.registry.enabled(name, interface)
                body[f"default_{interface}_interface"] = self._default(name, interface)
                body[f"enabled_{interface}_interfaces"] = list(enabled)
        return body


def _only(call: Call, driver: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    if fields is None:
        return driver
    needs(call, DRIVER_FIELDS_SINCE, "fields")
    if unknown := [name for name in fields if name not in driver]:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return {name: value for name, value in driver.items() if name in fields or name == "links"}


class Conductors(Handlers):
    """Handlers of /v1/conductors: the processes that work on machines."""

    async def list(self, call: Call) -> Reply:
        query: ConductorQuery = call.query
        detail = query.detail is not None and schemas.flag("detail", query.detail)
        if query.detail is not None:
            needs(call, DETAIL_SINCE, "detail")
        if detail and query.fields:
            raise Invalid("Can not specify ?detail=True and fields in the same request.")
        fields = _conductor_fields(query.fields, detail)
        page = self.page(
            query,
            frozenset({"id", "hostname", "conductor_group", "created_at", "updated_at"}),
            "hostname",
        )
        rows = await self.read(self._all)
        key = "hostname" if page.sort_key == "id" else page.sort_key
        shown = sorted(
            (self._conductor(call, row, alive) for row, alive in rows),
            key=lambda one: (one[key], one["hostname"]),
            reverse=page.descending,
        )
        if page.marker is not None:
            hosts = [one["hostname"] for one in shown]
            if page.marker not in hosts:
                raise Missing(f"Conductor {page.marker} could not be found.")
            shown = shown[hosts.index(page.marker) + 1 :]
        cut = shown[: page.limit]
        body: dict[str, Any] = {"conductors": [_picked(one, fields) for one in cut]}
        if len(cut) == page.limit:
            body["next"] = next_link(call, cut[-1]["hostname"], page.limit)
        return Reply(body)

    async def show(self, call: Call) -> Reply:
        query: FieldsQuery = call.query
        fields = _conductor_fields(query.fields, True)
        for row, alive in await self.read(self._all):
            if row.host == call.params["host"]:
                return Reply(_picked(self._conductor(call, row, alive), fields))
        raise Missing(f"Conductor {call.params['host']} could not be found.")

    def _all(self, conn: sa.Connection) -> list[tuple[workflow.ConductorRow, bool]]:
        alive = {row.incarnation for row in listing.live_conductors(self.ctx, conn)}
        newest: dict[str, workflow.ConductorRow] = {}
        for row in workflow.list_conductors(conn):
            if row.host not in newest or newest[row.host].started_at < row.started_at:
                newest[row.host] = row
        return [(row, row.incarnation in alive) for row in newest.values()]

    def _conductor(self, call: Call, row: workflow.ConductorRow, alive: bool) -> dict[str, Any]:
        return {
            "hostname": row.host,
            "conductor_group": row.group,
            "alive": alive,
            "drivers": list(row.info.get("drivers") or self.ctx.registry.hardware_types()),
            "created_at": row.started_at,
            "updated_at": row.beat_at,
            "links": listing.links(call.base_url, f"conductors/{row.host}"),
        }


def _conductor_fields(fields: list[str] | None, detail: bool) -> tuple[str, ...]:
    if fields is None:
        return _CONDUCTOR_FIELDS if detail else _CONDUCTOR_FIELDS[:3]
    if unknown := [name for name in fields if name not in (*_CONDUCTOR_FIELDS, "links")]:
        raise Invalid(f'Field(s) "{", ".join(unknown)}" are not valid')
    return tuple(fields)


def _picked(one: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name in fields or name == "links"}


class Shards(Handlers):
    """GET /v1/shards: which shards there are and how many nodes each has."""

    async def list(self, call: Call) -> Reply:
        """The largest first. Nodes without a shard count as one named "None", as upstream tells them."""
        counted = sa.func.count(nodes.c.id)
        query = sa.select(nodes.c.shard, counted).group_by(nodes.c.shard)
        ordered = query.order_by(counted.desc(), nodes.c.shard)
        rows = await self.scan(lambda conn: conn.execute(ordered).all())
        return Reply({"shards": [{"name": str(name), "count": count} for name, count in rows]})
