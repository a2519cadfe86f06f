"""Shards and how many nodes each has: GET /v1/shards."""

from __future__ import annotations

from ingot.kit.api.operations import Call, Reply
from ingot.services.baremetal.api.common import Handlers
from ingot.services.baremetal.nodes import store as node_store


class Shards(Handlers):
    """GET /v1/shards: which shards there are and how many nodes each has."""

    async def list(self, call: Call) -> Reply:
        """The largest first. Nodes without a shard count as one named "None", as upstream tells them."""
        rows = await self.scan(node_store.shards)
        return Reply({"shards": [{"name": str(name), "count": count} for name, count in rows]})
