"""Instances that boot no disk of theirs: their own kernel and ramdisk, or an ISO, at every start.

Nothing is written to the machine. What is booted stands in its intent, as long as the instance lives.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ingot.baremetal import store
from ingot.baremetal.bootplan import Intent
from ingot.baremetal.types import Node
from ingot.baremetal.workflows import booting, steps
from ingot.baremetal.workflows.room import Case
from ingot.kit.faults import Invalid
from ingot.workflow import StepContext


def is_ramdisk(case: Case, node: Node) -> bool:
    """Whether the node's deploy style keeps the instance off the disk."""
    return case.room.registry.deploy(node.driver, node.interfaces.get("deploy")).boots_ramdisk


async def prepare_boot(case: Case) -> None:
    """From now on the machine boots its instance, wherever that is."""
    node = await case.node()
    if not is_ramdisk(case, node):
        await steps.prepare_disk_boot(case)
        return

    async def resolve(_ctx: StepContext) -> dict[str, str]:
        fresh = await case.node()
        return await _parts(case, fresh)

    parts = await case.op.step("find what the instance boots", resolve, deadline=120)
    await case.op.commit("order the instance's boot", lambda conn: _order(case, conn, parts))

    async def choose(_ctx: StepContext) -> None:
        fresh, access = await case.reach("management")
        mode = steps.boot_mode(fresh)
        await booting.boot_of(case.room, fresh).clean_up(access)
        await booting.prepare(case.room, fresh, access, mode, persistent=True)

    more = 120 if booting.boot_of(case.room, node).needs_iso else 0
    await case.controller_step("boot the instance from now on", choose, more=more)


async def _parts(case: Case, node: Node) -> dict[str, str]:
    """kernel and ramdisk, or iso: URLs or image ids, from instance_info or the image's properties."""
    info: dict[str, Any] = await case.room.db.read(
        lambda conn: store.instance_info(conn, case.room.vault, node)
    )
    if info.get("boot_iso"):
        return {"iso": str(info["boot_iso"])}
    if info.get("kernel") and info.get("ramdisk"):
        return {"kernel": str(info["kernel"]), "ramdisk": str(info["ramdisk"])}
    source = str(info.get("image_source") or "")
    if source and not source.startswith(("http://", "https://")):
        found = await case.room.images.properties(source.removeprefix("glance://"))
        if found.get("boot_iso_id"):
            return {"iso": found["boot_iso_id"]}
        if found.get("kernel_id") and found.get("ramdisk_id"):
            return {"kernel": found["kernel_id"], "ramdisk": found["ramdisk_id"]}
    raise Invalid(
        "instance_info names neither boot_iso nor kernel and ramdisk.",
        next_action="Set them, or image_source to an image with kernel_id and ramdisk_id.",
    )


def _order(case: Case, conn: sa.Connection, parts: dict[str, str]) -> None:
    info = store.get_node(conn, case.uuid).instance_info
    words = (info.get("ramdisk_kernel_arguments"), info.get("kernel_append_params"))
    extra = " ".join(str(word).replace("%default%", "").strip() for word in words if word)
    intent = Intent(
        boot="kernel",
        extra=extra,
        kernel=parts.get("kernel", ""),
        ramdisk=parts.get("ramdisk", ""),
        iso=parts.get("iso", ""),
    )
    steps.set_intent(conn, case, intent)
    booting.ready_medium(conn, case.room, store.get_node(conn, case.uuid))
