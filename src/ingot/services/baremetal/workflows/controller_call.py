"""What the short operations at a controller share: its interface, and their end."""

from __future__ import annotations

import sqlalchemy as sa

from ingot.drivers.machine.base import Management
from ingot.drivers.machine.types import Access
from ingot.services.baremetal import store
from ingot.services.baremetal.workflows.node_task import NodeTask, release


def ended(task: NodeTask, conn: sa.Connection) -> None:
    """End an operation of one step: delete the sealed arguments, release the node; in the commit that ends it."""
    store.write_secret(conn, task.deps.vault, task.uuid, store.VENDOR_ARGS, None)
    release(conn, task.uuid, last_error=None)


async def management(task: NodeTask) -> tuple[Management, Access]:
    node, access = await task.reach("management")
    return task.deps.registry.management(node.driver, node.interfaces.get("management")), access
