"""The compute service as the app knows it."""

from __future__ import annotations

from ingot.services.compute import tables
from ingot.services.compute.api import make_service
from ingot.services.compute.loops import loops
from ingot.services.compute.policies import RULES
from ingot.services.compute.service import Compute
from ingot.services.compute.workflows import workflows
from ingot.services.module import BuiltService, ServiceModule

SERVICE = ServiceModule(
    name="compute",
    type="compute",
    product="nova",
    url="/compute/v2.1",
    title="Compute (Ingot)",
    policies=RULES,
    tables=tables,
    requires=("identity", "image", "network", "baremetal"),
)


def built(compute: Compute) -> BuiltService:
    """Servers of one process."""
    return BuiltService(
        api=lambda who: [make_service(compute, who)],
        workflows=workflows(compute),
        loops=lambda: loops(compute),
        held={"servers": compute.held_by},
    )
