"""Who holds a machine's console: of the living controllers with the role `console`, the one that cares for it.

The others pass websockets on to it, at the address that it tells of itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from ingot.services.baremetal.consoles import store as console_store
from ingot.services.baremetal.context import Context
from ingot.services.baremetal.nodes import conductors, hash_ring
from ingot.workflow import ConductorRow

#: In a controller's info: where other controllers reach its API, as host:port; missing where it serves none.
ADDRESS = "address"
ROLE = "console"


def holders(
    ctx: Context, conn: sa.Connection, node_uuids: Iterable[str]
) -> dict[str, ConductorRow | None]:
    """By node; None where nobody with the role is alive: then whoever is asked is the one."""
    wanted = set(node_uuids)
    if not wanted:
        return {}
    able = {row.host: row for row in conductors.live_conductors(ctx, conn) if ROLE in row.roles}
    hosts = hash_ring.HashRing(list(able.values()))
    groups = console_store.conductor_groups(conn, wanted)
    return {uuid: able.get(hosts.of(uuid, group) or "") for uuid, group in groups.items()}


def hosts(ctx: Context, conn: sa.Connection) -> frozenset[str]:
    """The living controllers with the role."""
    return frozenset(row.host for row in conductors.live_conductors(ctx, conn) if ROLE in row.roles)


def here(ctx: Context, conn: sa.Connection, node_uuids: Iterable[str]) -> set[str]:
    """Those of some nodes whose consoles this process is to hold."""
    found = holders(ctx, conn, node_uuids)
    return {uuid for uuid, row in found.items() if row is None or row.host == ctx.host}


def any_passes_on(ctx: Context, conn: sa.Connection) -> bool:
    """Whether some living controller serves consoles to the others."""
    rows = conductors.live_conductors(ctx, conn)
    return any(ROLE in row.roles and row.info.get(ADDRESS) for row in rows)
