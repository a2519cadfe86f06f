"""Hardware types and their properties: handlers of /v1/drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.registry import UnknownDriver, UnknownInterface
from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Invalid, Missing
from ingot.services.baremetal import links
from ingot.services.baremetal.api.common import Handlers, needs
from ingot.services.baremetal.api.nodes import FieldsQuery
from ingot.services.baremetal.nodes import conductors, schemas
from ingot.services.baremetal.tables import INTERFACES

if TYPE_CHECKING:
    pass

DYNAMIC_SINCE = 30
DRIVER_FIELDS_SINCE = 77
_DRIVER_INTERFACE_SINCE = {"storage": 33, "rescue": 38, "bios": 40, "firmware": 86}


class DriverQuery(msgspec.Struct, forbid_unknown_fields=True):
    type: str | None = None
    detail: str | None = None
    fields: list[str] | None = None


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
        return sorted({row.host for row in conductors.live_conductors(self.ctx, conn)})

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
            "links": links.links(call.base_url, f"drivers/{name}"),
        }
        if minor >= 14:
            body["properties"] = links.links(call.base_url, f"drivers/{name}/properties")
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
