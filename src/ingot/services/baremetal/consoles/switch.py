"""Consoles on and off: what is wanted is in the database, the listening ports follow.

By TCP (type socat) a console is on once its port is open, by websocket (type websocket) at once: there is one
address for all, and a token for each who asks.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.kit.auth.policy import Caller
from ingot.kit.faults import Invalid
from ingot.kit.tasks import events
from ingot.services.baremetal import store
from ingot.services.baremetal.consoles import (
    holders as console_holders,
)
from ingot.services.baremetal.consoles import (
    store as console_store,
)
from ingot.services.baremetal.consoles import (
    tickets as console_tickets,
)
from ingot.services.baremetal.consoles.rights import PortOwner
from ingot.services.baremetal.consoles.sessions import console_kind
from ingot.services.baremetal.consoles.store import NO_PORT
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes.verbs import free
from ingot.services.baremetal.types import Node

WEBSOCKET = "websocket"


def switch(
    ctx: Context, conn: sa.Connection, node: Node, on: bool, asked: str, caller: Caller
) -> None:
    """Open or close a node's console. asked: the request's URL.

    Invalid when it cannot have one, Fault (unsupported) when no websocket for it is known here.
    """
    kind = console_kind(ctx, node)
    if not kind:
        raise Invalid(
            f"Driver {node.driver} does not support console (disabled or not implemented).",
            next_action="Choose another console_interface.",
        )
    ctx.access(conn, node, "console")
    if on == console_store.is_on(conn, node.uuid):
        return
    free(conn, node)
    store.update_node(conn, node.uuid, last_error=None, updated_at=ctx.now())
    if on:
        console_store.add(conn, node, PortOwner.of(caller), ctx.now())
        if kind == WEBSOCKET:
            console_tickets.address(ctx, conn, asked)
            console_store.set_open(conn, node.uuid, NO_PORT, "")
        events.record(conn, node.subject, "console", "Console opened")
    else:
        console_store.remove(conn, node.uuid)
        events.record(conn, node.subject, "console", "Console closed")


def info(
    ctx: Context, conn: sa.Connection, node_uuid: str, asked: str, caller: Caller
) -> dict[str, Any] | None:
    """{"type", "url"} of an open console, None when there is none. asked: the request's URL."""
    row = console_store.find(conn, node_uuid)
    if row is None or row.url is None:
        return None
    if row.port != NO_PORT:
        return {"type": "socat", "url": row.url}
    url = console_tickets.url(
        ctx, conn, asked, caller, kind="node", holder=row.created_at, node=node_uuid
    )
    return {"type": WEBSOCKET, "url": url}


def close_lost(conn: sa.Connection, node_uuid: str, since: str) -> None:
    """Close the TCP port of somebody who has no right to it any more. since: when it was opened; not a later one."""
    if console_store.remove_opened_at(conn, node_uuid, since):
        why = "Console closed: whoever opened it has no right to it any more"
        events.record(conn, f"node:{node_uuid}", "console", why)


def wanted(ctx: Context, conn: sa.Connection) -> dict[str, int | None]:
    """By node the TCP ports that this process is to listen on, as numbered last time."""
    ports = console_store.tcp_ports(conn)
    return {uuid: ports[uuid] for uuid in console_holders.here(ctx, conn, ports)}
