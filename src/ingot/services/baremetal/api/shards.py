"""Shards and how many nodes each has: GET /v1/shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingot.kit.api.operations import Call, Reply
from ingot.services.baremetal.api.common import Handlers
from ingot.services.baremetal.tables import nodes

if TYPE_CHECKING:
    pass


class Shards(Handlers):
    """GET /v1/shards: which shards there are and how many nodes each has."""

    async def list(self, call: Call) -> Reply:
        """The largest first. Nodes without a shard count as one named "None", as upstream tells them."""
        counted = sa.func.count(nodes.c.id)
        query = sa.select(nodes.c.shard, counted).group_by(nodes.c.shard)
        ordered = query.order_by(counted.desc(), nodes.c.shard)
        rows = await self.scan(lambda conn: conn.execute(ordered).all())
        return Reply({"shards": [{"name": str(name), "count": count} for name, count in rows]})
