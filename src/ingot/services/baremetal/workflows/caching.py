"""Read what a machine's own settings are now, for the API to show.

Nothing depends on it: a controller that does not answer or cannot tell leaves the last known values.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.drivers.machine.types import Access, BiosSetting, FirmwareComponent
from ingot.kit.faults import Fault
from ingot.services.baremetal import store
from ingot.services.baremetal.nodes import hardware
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


class ReadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine told; None where it did not."""

    boot_mode: str | None = None
    secure_boot: bool | None = None
    bios: tuple[BiosSetting, ...] | None = None
    firmware: tuple[FirmwareComponent, ...] | None = None


#: What can be asked for.
MODES, BIOS, FIRMWARE = "modes", "bios", "firmware"
EVERYTHING = (MODES, BIOS, FIRMWARE)


async def read_settings(task: NodeTask, *parts: str, key: str | None = None) -> None:
    """One step of the workflow; it never fails the operation. parts: all when none is named."""
    node = await task.node()
    asked = [part for part in parts or EVERYTHING if _offered(task, node, part)]
    if not asked:
        return

    async def look(ctx: StepContext) -> ReadSettings:
        return await _ask(task, ctx, asked)

    try:
        await task.controller_step(
            "read the machine's settings",
            look,
            key=key,
            commit=lambda conn, told: _write(task, conn, told),
            result_type=ReadSettings,
        )
    except Fault:
        task.op.check_aborted()


def _offered(task: NodeTask, node: Node, part: str) -> bool:
    """Whether the node's interface is a working one."""
    if part == MODES:
        chosen = task.deps.registry.spec(
            node.driver, "management", node.interfaces.get("management")
        )
        return chosen.name != "noop"
    chosen = task.deps.registry.spec(node.driver, part, node.interfaces.get(part))
    return not chosen.name.startswith("no-")


async def _ask(task: NodeTask, ctx: StepContext, parts: list[str]) -> ReadSettings:
    found: dict[str, Any] = {}
    node, info = await task.known()
    for part in parts:
        try:
            access = task.access(node, info, "management", *(p for p in (part,) if p != MODES))
            found.update(await _part(task, node, access, part))
        except Fault as fault:
            ctx.log(f"{part}: not told ({fault.text})")
    return ReadSettings(**found)


async def _part(task: NodeTask, node: Node, access: Access, part: str) -> dict[str, Any]:
    registry = task.deps.registry
    if part == BIOS:
        bios = registry.bios(node.driver, node.interfaces.get(BIOS))
        return {"bios": await bios.settings(access)}
    if part == FIRMWARE:
        firmware = registry.firmware(node.driver, node.interfaces.get(FIRMWARE))
        return {"firmware": await firmware.components(access)}
    management = registry.management(node.driver, node.interfaces.get("management"))
    mode = await management.get_boot_mode(access)
    return {
        "boot_mode": None if mode is None else mode.value,
        "secure_boot": await management.get_secure_boot(access),
    }


def _write(task: NodeTask, conn: sa.Connection, told: ReadSettings) -> None:
    now = task.deps.now()
    modes = {"boot_mode": told.boot_mode, "secure_boot": told.secure_boot}
    known = {name: value for name, value in modes.items() if value is not None}
    if known:
        store.update_node(conn, task.uuid, **known)
    if told.bios is not None:
        hardware.save_bios(conn, task.uuid, told.bios, now)
    if told.firmware is not None:
        hardware.save_firmware(conn, task.uuid, told.firmware, now)
