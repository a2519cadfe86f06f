"""The errands of `baremetal.calls`, each one step with the controller."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.workflows.orders import (
    ActOrder,
    BootModeOrder,
    MediaOrder,
    SecureBootOrder,
    VendorOrder,
)
from ingot.baremetal.workflows.room import Case, release
from ingot.drivers.base import Management
from ingot.drivers.types import Access, BootMode, MediaDevice
from ingot.kit.faults import Failed, Fault
from ingot.workflow import StepContext


async def boot_mode(case: Case, order: BootModeOrder) -> None:
    """PUT states/boot_mode: nothing is changed when the machine says that it is so already."""
    wanted = BootMode(order.target)

    async def change(ctx: StepContext) -> None:
        hand, access = await _management(case)
        if await _told(ctx, hand.get_boot_mode, access) is not wanted:
            await hand.set_boot_mode(access, wanted)

    await case.controller_step(
        "set the boot mode",
        change,
        commit=lambda conn, _none: store.update_node(conn, case.uuid, boot_mode=wanted.value),
    )


async def secure_boot(case: Case, order: SecureBootOrder) -> None:
    """PUT states/secure_boot."""

    async def change(ctx: StepContext) -> None:
        hand, access = await _management(case)
        if await _told(ctx, hand.get_secure_boot, access) is not order.on:
            await hand.set_secure_boot(access, order.on)

    await case.controller_step(
        "set secure boot",
        change,
        commit=lambda conn, _none: store.update_node(conn, case.uuid, secure_boot=order.on),
    )


async def media(case: Case, order: MediaOrder) -> None:
    """POST and DELETE vmedia."""

    async def change(_ctx: StepContext) -> None:
        hand, access = await _management(case)
        if order.device is None:
            await hand.detach_media(access, [MediaDevice(name) for name in order.eject])
        else:
            await hand.attach_media(access, MediaDevice(order.device), order.image_url)

    name = "empty the virtual drives" if order.device is None else "fill the virtual drive"
    await case.controller_step(name, change, more=120)


async def vendor(case: Case, order: VendorOrder) -> None:
    """…/vendor_passthru, of methods that the client does not wait for."""

    async def call(_ctx: StepContext) -> None:
        node, access = await case.reach("vendor")
        hand = case.room.registry.vendor(node.driver, node.interfaces.get("vendor"))
        args: Any = await case.room.db.read(
            lambda conn: store.read_secret(conn, case.room.vault, case.uuid, store.VENDOR_ARGS)
        )
        await hand.call(access, order.method, order.http_method, args or {})

    await case.controller_step(f"vendor method {order.method}", call, more=120)


async def left(_case: Case, _order: ActOrder) -> None:
    """An act whose request did not live to end it: it is not repeated, since an NMI twice is not an NMI once."""
    raise Failed(
        "The request that did this ended before its controller's answer came; whether it was done is not known.",
        next_action="Look at the machine, and ask again.",
    )


def over(case: Case, conn: sa.Connection) -> None:
    """In the commit that ends the operation."""
    store.write_secret(conn, case.room.vault, case.uuid, store.VENDOR_ARGS, None)
    release(conn, case.uuid, last_error=None)


async def _management(case: Case) -> tuple[Management, Access]:
    node, access = await case.reach("management")
    return case.room.registry.management(node.driver, node.interfaces.get("management")), access


async def _told(ctx: StepContext, get: Any, access: Access) -> Any:
    """What it is now; None where the machine does not tell."""
    try:
        return await get(access)
    except Fault as fault:
        ctx.log(f"not told before: {fault.text}")
        return None
