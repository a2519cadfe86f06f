"""The image service as the app knows it."""

from __future__ import annotations

from ingot.services.image import tables
from ingot.services.image.api import make_service, provisioning_operations
from ingot.services.image.policies import RULES
from ingot.services.image.receiving import BEAT
from ingot.services.image.service import Images
from ingot.services.module import BuiltService, ServiceModule
from ingot.workflow import Loop

SERVICE = ServiceModule(
    name="image",
    type="image",
    product="glance",
    url="/image",
    title="Image (Ingot)",
    policies=RULES,
    tables=tables,
    requires=("identity",),
)


def built(images: Images) -> BuiltService:
    """Images of one process."""
    return BuiltService(
        api=lambda who: [make_service(images, who)],
        provisioning=provisioning_operations(images),
        loops=lambda: [Loop("uploads", BEAT, images.look_after, clock=images.clock)],
    )
