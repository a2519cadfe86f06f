"""The errands of `baremetal.calls`, each one step with the controller."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.drivers.machine.base import Management
from ingot.drivers.machine.types import Access, BootMode, MediaDevice
from ingot.kit.faults import Failed, Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    ActOrder,
    BootModeOrder,
    MediaOrder,
    SecureBootOrder,
    VendorOrder,
)
from ingot.services.baremetal.workflows.node_task import NodeTask, release
from ingot.workflow import StepContext


async def boot_mode(task: NodeTask, order: BootModeOrder) -> None:
    """PUT states/boot_mode: nothing is changed when the machine says that it is so already."""
    wanted = BootMode(order.target)

    async def change(ctx: StepContext) -> None:
        hand, access = await _management(task)
        if await _told(ctx, hand.get_boot_mode, access) is not wanted:
            await hand.set_boot_mode(access, wanted)

    await task.controller_step(
        "set the boot mode",
        change,
        commit=lambda conn, _none: store.update_node(conn, task.uuid, boot_mode=wanted.value),
    )


async def secure_boot(task: NodeTask, order: SecureBootOrder) -> None:
    """PUT states/secure_boot."""

    async def change(ctx: StepContext) -> None:
        hand, access = await _management(task)
        if await _told(ctx, hand.get_secure_boot, access) is not order.on:
            await hand.set_secure_boot(access, order.on)

    await task.controller_step(
        "set secure boot",
        change,
        commit=lambda conn, _none: store.update_node(conn, task.uuid, secure_boot=order.on),
    )


async def media(task: NodeTask, order: MediaOrder) -> None:
    """POST and DELETE vmedia."""

    async def change(_ctx: StepContext) -> None:
        hand, access = await _management(task)
        if order.device is None:
            await hand.detach_media(access, [MediaDevice(name) for name in order.eject])
        else:
            await hand.attach_media(access, MediaDevice(order.device), order.image_url)

    name = "empty the virtual drives" if order.device is None else "fill the virtual drive"
    await task.controller_step(name, change, more=120)


async def vendor(task: NodeTask, order: VendorOrder) -> None:
    """…/vendor_passthru, of methods that the client does not wait for."""

    async def call(_ctx: StepContext) -> None:
        node, access = await task.reach("vendor")
        hand = task.deps.registry.vendor(node.driver, node.interfaces.get("vendor"))
        args: Any = await task.deps.db.read(
            lambda conn: store.read_secret(conn, task.deps.vault, task.uuid, store.VENDOR_ARGS)
        )
        await hand.call(access, order.method, order.http_method, args or {})

    await task.controller_step(f"vendor method {order.method}", call, more=120)


async def left(_case: NodeTask, _order: ActOrder) -> None:
    """An act whose request did not live to end it: it is not repeated, since an NMI twice is not an NMI once."""
    raise Failed(
        "The request that did this ended before its controller's answer came; whether it was done is not known.",
        next_action="Look at the machine, and ask again.",
    )


def over(task: NodeTask, conn: sa.Connection) -> None:
    """In the commit that ends the operation."""
    store.write_secret(conn, task.deps.vault, task.uuid, store.VENDOR_ARGS, None)
    release(conn, task.uuid, last_error=None)


async def _management(task: NodeTask) -> tuple[Management, Access]:
    node, access = await task.reach("management")
    return task.deps.registry.management(node.driver, node.interfaces.get("management")), access


async def _told(ctx: StepContext, get: Any, access: Access) -> Any:
    """What it is now; None where the machine does not tell."""
    try:
        return await get(access)
    except Fault as fault:
        ctx.log(f"not told before: {fault.text}")
        return None
