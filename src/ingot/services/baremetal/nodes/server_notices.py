"""What the servers of machines have not been told yet: that the machine went, or another power.

So that nobody walks the fleet for it, the nodes with news are in an index of their own, and whoever has told the
server says so (`told`).
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.baremetal.tables import NEWS, left_servers, nodes
from ingot.workflow import live_id


def news() -> sa.Subquery:
    """For other services' questions: server, node, instance, power, under an operation.

    instance: the node's now; None when it has none or is deleted.
    """
    busy = live_id(sa.literal("node:") + nodes.c.uuid)
    here = sa.select(
        nodes.c.server_uuid.label("server"),
        nodes.c.uuid.label("node"),
        nodes.c.instance_uuid.label("instance"),
        nodes.c.power_state.label("power"),
        busy.label("operation"),
    ).where(sa.text(NEWS))
    nothing = sa.null().label
    left = sa.select(
        left_servers.c.server_uuid,
        left_servers.c.node_uuid,
        nothing("instance"),
        nothing("power"),
        nothing("operation"),
    )
    return sa.union_all(here, left).subquery("news")


def told(conn: sa.Connection, server: str, node: str) -> None:
    """The server knows what the node is by now, in this transaction."""
    values = {"server": server, "node": node}
    _TOLD.change(conn, values)
    _FORGET.change(conn, values)


def tell_again(conn: sa.Connection, server: str, node: str) -> None:
    """The server is to be told the power anew."""
    _TELL.change(conn, {"server": server, "node": node})


def leave(conn: sa.Connection, node: str) -> None:
    """The node is deleted, or taken by another server: whose it was is still to be told."""
    _LEAVE.change(conn, {"node": node})


_THIS = sa.and_(nodes.c.uuid == sa.bindparam("node"), nodes.c.server_uuid == sa.bindparam("server"))
_TOLD = PreparedStatement(
    sa.update(nodes)
    .where(_THIS)
    .values(
        server_uuid=sa.case((nodes.c.instance_uuid == nodes.c.server_uuid, nodes.c.server_uuid)),
        server_power=nodes.c.power_state,
    )
)
_TELL = PreparedStatement(sa.update(nodes).where(_THIS).values(server_power=None))
_FORGET = PreparedStatement(
    sa.delete(left_servers).where(
        left_servers.c.server_uuid == sa.bindparam("server"),
        left_servers.c.node_uuid == sa.bindparam("node"),
    )
)
_LEAVE = PreparedStatement(
    sa.text(
        "INSERT INTO left_servers (server_uuid, node_uuid) SELECT server_uuid, uuid FROM nodes "
        "WHERE uuid = :node AND server_uuid IS NOT NULL ON CONFLICT (server_uuid, node_uuid) DO NOTHING"
    )
)
