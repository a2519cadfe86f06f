"""Boot mode and secure boot: one step each with the controller."""

from __future__ import annotations

from typing import Any

from ingot.drivers.machine.types import Access, BootMode
from ingot.kit.faults import Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.orders import (
    BootModeOrder,
    SecureBootOrder,
)
from ingot.services.baremetal.workflows.controller_call import management
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


async def boot_mode(task: NodeTask, order: BootModeOrder) -> None:
    """PUT states/boot_mode: nothing is changed when the machine says that it is so already."""
    wanted = BootMode(order.target)

    async def change(ctx: StepContext) -> None:
        hand, access = await management(task)
        if await _read_if_supported(ctx, hand.get_boot_mode, access) is not wanted:
            await hand.set_boot_mode(access, wanted)

    await task.controller_step(
        "set the boot mode",
        change,
        commit=lambda conn, _none: store.update_node(conn, task.uuid, boot_mode=wanted.value),
    )


async def secure_boot(task: NodeTask, order: SecureBootOrder) -> None:
    """PUT states/secure_boot."""

    async def change(ctx: StepContext) -> None:
        hand, access = await management(task)
        if await _read_if_supported(ctx, hand.get_secure_boot, access) is not order.on:
            await hand.set_secure_boot(access, order.on)

    await task.controller_step(
        "set secure boot",
        change,
        commit=lambda conn, _none: store.update_node(conn, task.uuid, secure_boot=order.on),
    )


async def _read_if_supported(ctx: StepContext, get: Any, access: Access) -> Any:
    """The present value; None where the controller cannot read it."""
    try:
        return await get(access)
    except Fault as fault:
        ctx.log(f"present value not readable: {fault.text}")
        return None
