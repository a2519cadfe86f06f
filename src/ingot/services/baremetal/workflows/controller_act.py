"""Acts at a controller that a request waits for (`nodes.acts`), once that request has died."""

from __future__ import annotations

from ingot.kit.faults import Failed
from ingot.services.baremetal.orders import (
    ActOrder,
)
from ingot.services.baremetal.workflows.node_task import NodeTask


async def abandoned(_task: NodeTask, _order: ActOrder) -> None:
    """An act whose request did not live to end it: it is not repeated, since an NMI twice is not an NMI once."""
    raise Failed(
        "The request that did this ended before its controller's answer came; whether it was done is not known.",
        next_action="Look at the machine, and ask again.",
    )
