"""Remote consoles of servers: the serial one, by websocket. Metal has no screen that we could show.

From 2.6 on a resource of its own, before that one action for each protocol.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.kit.faults import Conflict, Fault, Invalid, Kind, Missing
from ingot.services.baremetal import console_kind, console_url
from ingot.services.compute.api.common import Body, Handlers, part, read

SERIAL = "serial"
#: Before 2.6: action -> its protocol, and the types that it knows.
ACTIONS: dict[str, tuple[str, frozenset[str]]] = {
    "os-getVNCConsole": ("vnc", frozenset({"novnc", "xvpvnc"})),
    "os-getSPICEConsole": ("spice", frozenset({"spice-html5"})),
    "os-getRDPConsole": ("rdp", frozenset({"rdp-html5"})),
    "os-getSerialConsole": (SERIAL, frozenset({SERIAL})),
}
_RESOURCE_SINCE, _MKS_SINCE = 6, 8
_RULE = "os-remote-consoles"


class OrderIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    protocol: str
    type: str


class TypeIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: str


class RemoteConsoles(Handlers):
    async def create(self, call: Call) -> Reply:
        """POST /servers/{id}/remote-consoles."""
        body: Body = call.body
        order = read(OrderIn, part(body, "remote_console"), "remote_console")
        known = dict(ACTIONS.values())
        if call.version.minor >= _MKS_SINCE:
            known["mks"] = frozenset({"webmks"})
        all_types = frozenset[str]().union(*known.values())
        for name, value, choices in (
            ("protocol", order.protocol, known.keys()),
            ("type", order.type, all_types),
        ):
            if value not in choices:
                told = ", ".join(sorted(choices))
                raise Invalid(
                    f"Invalid input for field/attribute {name}. Value: {value[:40]}. It is one of {told}."
                )
        if order.type not in known[order.protocol]:
            await self.server(call, _RULE)
            raise Invalid(f"Invalid console type {order.type}")
        url = await self._url(call, order.type)
        return Reply({"remote_console": {"protocol": SERIAL, "type": SERIAL, "url": url}})

    async def act(self, call: Call, action: str, given: Any) -> Reply:
        """POST …/action before 2.6."""
        if call.version.minor >= _RESOURCE_SINCE:
            raise Missing("The resource could not be found.")
        kind = read(TypeIn, given, action).type
        if kind not in ACTIONS[action][1]:
            told = ", ".join(sorted(ACTIONS[action][1]))
            raise Invalid(
                f"Invalid input for field/attribute type. Value: {kind[:40]}. It is one of {told}."
            )
        return Reply({"console": {"type": SERIAL, "url": await self._url(call, kind)}}, status=200)

    async def _url(self, call: Call, kind: str) -> str:
        server = await self.server(call, _RULE)
        if kind != SERIAL:
            _unavailable(kind, "Machines are shown by their serial consoles only.")
        if server.node_uuid is None:
            raise Conflict(f"Instance {server.uuid} is not ready: it has no machine yet.")
        baremetal, uuid = self.compute.baremetal, server.node_uuid

        def query(conn: sa.Connection) -> str:
            if not self.compute.has_machine(conn, server):
                raise Conflict(
                    f"Instance {server.uuid} is not ready: its machine was taken away.",
                    next_action="Delete the server and create it again.",
                )
            node = baremetal.find_node(conn, uuid)
            if node is None or not console_kind(baremetal.ctx, node):
                return ""
            return console_url(
                baremetal.ctx,
                conn,
                call.url,
                call.caller,
                kind="server",
                holder=server.uuid,
                node=uuid,
            )

        try:
            url = await self.compute.db.read(query)
        except Conflict:
            raise
        except Fault as fault:
            _unavailable(kind, fault.text, fault.next_action)
        if not url:
            _unavailable(kind, "The machine's driver has no console.")
        return url


def _unavailable(kind: str, why: str, next_action: str = "") -> NoReturn:
    raise Fault(
        f"Unavailable console type {kind}. {why}", kind=Kind.INVALID, next_action=next_action
    )
