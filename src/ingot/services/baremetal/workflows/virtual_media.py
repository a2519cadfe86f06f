"""Virtual media: images are put into and taken out of the drives that the controller emulates."""

from __future__ import annotations

from ingot.drivers.machine.types import MediaDevice
from ingot.services.baremetal.orders import (
    MediaOrder,
)
from ingot.services.baremetal.workflows.controller_call import management
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


async def virtual_media(task: NodeTask, order: MediaOrder) -> None:
    """POST and DELETE vmedia."""

    async def change(_ctx: StepContext) -> None:
        hand, access = await management(task)
        if order.device is None:
            await hand.detach_media(access, [MediaDevice(name) for name in order.eject])
        else:
            await hand.attach_media(access, MediaDevice(order.device), order.image_url)

    name = "empty the virtual drives" if order.device is None else "fill the virtual drive"
    await task.controller_step(name, change, more=120)
