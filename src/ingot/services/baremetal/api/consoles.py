"""GET and PUT …/states/console: whether a node's serial console can be reached, and where."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Operation, Reply
from ingot.services.baremetal.api.common import Handlers, accepted
from ingot.services.baremetal.api.rows import late
from ingot.services.baremetal.consoles import switch as console_switch
from ingot.services.baremetal.nodes import schemas


class ConsoleBody(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool | str | int


class NodeConsoles(Handlers):
    async def show(self, call: Call) -> Reply:
        def query(conn: sa.Connection) -> Reply:
            found = self.find(conn, call, call.params["id"], "baremetal:node:get_console")
            console = console_switch.info(self.ctx, conn, found.uuid, call.url, call.caller)
            return Reply({"console_enabled": console is not None, "console_info": console})

        return await self.read(query)

    async def switch(self, call: Call) -> Reply:
        body: ConsoleBody = call.body
        on = schemas.flag("enabled", body.enabled)

        def change(conn: sa.Connection) -> Reply:
            node = self.node(conn, call, call.params["id"], "baremetal:node:set_console_state")
            console_switch.switch(self.ctx, conn, node, on, call.url, call.caller)
            return accepted(call, f"nodes/{call.params['id']}/states/console")

        return await self.write(change)


def operations(handlers: NodeConsoles) -> tuple[Operation, ...]:
    path = "/v1/nodes/{id}/states/console"
    return (
        late("GET", path, handlers.show, "node:get_console"),
        # An old spelling that upstream's own tests still use.
        late("GET", "/v1/nodes/states/console/{id}", handlers.show, "node:get_console"),
        late(
            "PUT",
            path,
            handlers.switch,
            "node:set_console_state",
            body=ConsoleBody,
            status=202,
        ),
    )
