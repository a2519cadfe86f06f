"""Changes of machines that their servers do not know yet: the machine went, or its power changed.

The nodes concerned are in a partial index of their own, so that nothing scans all nodes; who has written the change
into the server calls `mark_reported`.
"""

from __future__ import annotations

import sqlalchemy as sa

from ingot.kit.db.database import PreparedStatement
from ingot.services.baremetal.tables import UNREPORTED, left_servers, nodes
from ingot.workflow import live_id


def unreported_changes() -> sa.Subquery:
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
    ).where(sa.text(UNREPORTED))
    nothing = sa.null().label
    left = sa.select(
        left_servers.c.server_uuid,
        left_servers.c.node_uuid,
        nothing("instance"),
        nothing("power"),
        nothing("operation"),
    )
    return sa.union_all(here, left).subquery("changes")


def mark_reported(conn: sa.Connection, server: str, node: str) -> None:
    """The server knows what the node is by now, in this transaction."""
    values = {"server": server, "node": node}
    _MARK_REPORTED.change(conn, values)
    _FORGET.change(conn, values)


def report_again(conn: sa.Connection, server: str, node: str) -> None:
    """The power of the node is reported to the server once more."""
    _REPORT_AGAIN.change(conn, {"server": server, "node": node})


def leave(conn: sa.Connection, node: str) -> None:
    """The node is deleted, or taken by another server: the server that had it still has to learn that."""
    _LEAVE.change(conn, {"node": node})


_THIS = sa.and_(nodes.c.uuid == sa.bindparam("node"), nodes.c.server_uuid == sa.bindparam("server"))
_MARK_REPORTED = PreparedStatement(
    sa.update(nodes)
    .where(_THIS)
    .values(
        server_uuid=sa.case((nodes.c.instance_uuid == nodes.c.server_uuid, nodes.c.server_uuid)),
        server_power=nodes.c.power_state,
    )
)
_REPORT_AGAIN = PreparedStatement(sa.update(nodes).where(_THIS).values(server_power=None))
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
