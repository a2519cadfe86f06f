"""Vendor methods: what only one vendor's machines can do, passed through to the driver."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import sqlalchemy as sa

from ingot.drivers.machine.base import Vendor
from ingot.drivers.machine.registry import UnknownDriver
from ingot.drivers.machine.types import Access, VendorMethod
from ingot.kit.api.operations import Call, Operation, Reply
from ingot.kit.faults import Invalid, Kind, Missing
from ingot.services.baremetal.api.common import Handlers, accepted, by, optional_body
from ingot.services.baremetal.api.rows import late, system_wide
from ingot.services.baremetal.nodes import acts, vendor_call
from ingot.services.baremetal.types import Node

_RULE = "baremetal:node:vendor_passthru"
_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Passthru(Handlers):
    """Handlers of …/vendor_passthru of nodes and of drivers (which have no methods of their own)."""

    async def methods(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], _RULE)
            found = self._vendor(node).methods()
            return Reply({method.name: _described(method) for method in found})

        return await self.read(query)

    async def call(self, call: Call) -> Reply:
        name = _method_name(call)
        data: Any = await optional_body(call, object)
        verb = call.operation.method

        def begin(
            conn: sa.Connection,
        ) -> tuple[Node, VendorMethod, Access, acts.Held | None] | None:
            node = self.node(conn, call, call.params["id"], _RULE)
            method = self._method(node, name, verb, data)
            if method.require_exclusive_lock and method.is_async:
                vendor_call.vendor_call(self.ctx, conn, node, name, verb, data or {}, by(call))
                return None
            access = self.ctx.access(conn, node, "vendor")
            if not method.require_exclusive_lock:
                return node, method, access, None
            held = acts.hold(self.ctx, conn, node, "vendor method", by(call))
            return node, method, access, held

        found = await self.write(begin)
        if found is None:
            return _accepted(call)
        node, method, access, held = found
        async with contextlib.nullcontext() if held is None else acts.under(self.ctx, held):
            said = await self._vendor(node).call(access, name, verb, data or {})
        if method.is_async:
            return _accepted(call)
        if method.attach:
            content = said if isinstance(said, bytes) else str(said).encode()
            return Reply(content, content_type="application/octet-stream")
        return Reply(b"null" if said is None else said)

    async def driver_methods(self, call: Call) -> Reply:
        self._known(call)
        return Reply({})

    async def driver_call(self, call: Call) -> Reply:
        self._known(call)
        name = _method_name(call)
        raise Invalid(f"No handler for method {name}" if name else "Method not specified")

    async def logical_disks(self, call: Call) -> Reply:
        driver = self._known(call)
        if self.ctx.registry.default_name(driver, "raid") == "no-raid":
            raise Missing(f"Driver {driver} does not support raid (disabled or not implemented).")
        return Reply(dict(self.ctx.registry.raid(driver).logical_disk_properties()))

    # -- inside ------------------------------------------------------------------------------

    def _vendor(self, node: Node) -> Vendor:
        return self.ctx.registry.vendor(node.driver, node.interfaces.get("vendor"))

    def _method(self, node: Node, name: str, verb: str, args: Any) -> VendorMethod:
        """The method, when it may be called so; Invalid otherwise."""
        if not name:
            raise Invalid("Method not specified")
        if args is not None and not isinstance(args, dict):
            raise Invalid("The arguments of a vendor method are a JSON object.")
        given = cast("dict[str, Any]", args or {})
        chosen = self.ctx.registry.spec(node.driver, "vendor", node.interfaces.get("vendor"))
        if chosen.name == "no-vendor":
            raise Invalid(
                f"Driver {node.driver} does not support vendor (disabled or not implemented)."
            )
        method = next((one for one in self._vendor(node).methods() if one.name == name), None)
        if method is None:
            raise Invalid(f"No handler for method {name}")
        if verb not in method.http_methods:
            raise Invalid(f"The method {name} does not support HTTP {verb}")
        for lacking in [one for one in method.required if given.get(one) in (None, "")]:
            raise Invalid(f"Parameter '{lacking}' not passed to method '{name}'.")
        return method

    def _known(self, call: Call) -> str:
        try:
            return self.ctx.registry.hardware(call.params["name"]).name
        except UnknownDriver:
            raise Missing(
                f"Could not find the following driver(s) or hardware type(s): {call.params['name']}."
            ) from None


def operations(handlers: Passthru) -> tuple[Operation, ...]:
    node, driver = "/v1/nodes/{id}/vendor_passthru", "/v1/drivers/{name}/vendor_passthru"
    rule = "driver:vendor_passthru"
    raid = "/v1/drivers/{name}/raid/logical_disk_properties"
    return (
        late("GET", f"{node}/methods", handlers.methods, "node:vendor_passthru"),
        *(
            late(verb, path, handlers.call, "node:vendor_passthru", stream=True)
            for verb in _VERBS
            for path in (node, f"{node}/{{method}}")
        ),
        system_wide("GET", f"{driver}/methods", handlers, handlers.driver_methods, rule),
        *(
            system_wide(verb, path, handlers, handlers.driver_call, rule, stream=True)
            for verb in _VERBS
            for path in (driver, f"{driver}/{{method}}")
        ),
        system_wide(
            "GET",
            raid,
            handlers,
            handlers.logical_disks,
            "driver:get_raid_logical_disk_properties",
            since=12,
            hidden=Kind.VERSION,
        ),
    )


def _method_name(call: Call) -> str:
    """From the path or, as older clients write it, from the query."""
    return call.params.get("method") or dict(call.args).get("method") or ""


def _accepted(call: Call) -> Reply:
    reply = accepted(call)
    reply.status = 202
    return reply


def _described(method: VendorMethod) -> dict[str, Any]:
    return {
        "async": method.is_async,
        "attach": method.attach,
        "description": method.description,
        "http_methods": list(method.http_methods),
        "require_exclusive_lock": method.require_exclusive_lock,
    }
