"""Instances that boot no disk of theirs: their own kernel and ramdisk, or an ISO, at every start.

Nothing is written to the machine. What is booted stands in its intent, as long as the instance lives.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from ingot.kit.faults import Invalid
from ingot.services.baremetal import store
from ingot.services.baremetal.boot.imagerights import Right, lasting
from ingot.services.baremetal.boot.plan import Intent
from ingot.services.baremetal.nodes.derived import boot_mode
from ingot.services.baremetal.types import Node
from ingot.services.baremetal.workflows import booting, steps
from ingot.services.baremetal.workflows.node_task import NodeTask
from ingot.workflow import StepContext


def is_ramdisk(task: NodeTask, node: Node) -> bool:
    """Whether the node's deploy style keeps the instance off the disk."""
    return task.deps.registry.deploy(node.driver, node.interfaces.get("deploy")).boots_ramdisk


async def prepare_boot(task: NodeTask) -> None:
    """From now on the machine boots its instance, wherever that is."""
    node = await task.node()
    if not is_ramdisk(task, node):
        await steps.prepare_disk_boot(task)
        return

    async def find() -> _Parts:
        fresh = await task.node()
        found = await _parts(task, fresh)
        # A machine whose image cannot be opened would ask for its boot script for ever.
        for name, ident in found.files.items():
            await booting.located_file(task.deps, task.uuid, ident, found.rights[name])
        return found

    parts = await task.op.step(
        "find what the instance boots", lambda _ctx: find(), deadline=120, result_type=_Parts
    )
    if not parts.files:  # found before rights were kept: that record tells no more than the files
        parts = await find()
    await task.op.commit("order the instance's boot", lambda conn: _order(task, conn, parts))

    async def choose(_ctx: StepContext) -> None:
        fresh, access = await task.reach("management")
        mode = boot_mode(fresh)
        await booting.boot_of(task.deps, fresh).clean_up(access)
        await booting.prepare(task.deps, fresh, access, mode, persistent=True)

    more = 120 if booting.boot_of(task.deps, node).needs_iso else 0
    await task.controller_step("boot the instance from now on", choose, more=more)


class _Parts(msgspec.Struct, frozen=True):
    """files: kernel and ramdisk, or iso: URLs or images. rights: by whose right each is opened."""

    files: dict[str, str] = {}
    rights: dict[str, Right] = {}


async def _parts(task: NodeTask, node: Node) -> _Parts:
    """What the instance boots, from instance_info or the image's properties."""
    info: dict[str, Any] = await task.deps.db.read(
        lambda conn: store.instance_info(conn, task.deps.vault, node)
    )
    names = ("boot_iso", "kernel", "ramdisk", "image_source")
    rights = await task.rights_to(*(f"instance_info.{name}" for name in names))
    if info.get("boot_iso"):
        return _Parts({"iso": str(info["boot_iso"])}, {"iso": rights["boot_iso"]})
    pair = ("kernel", "ramdisk")
    if all(info.get(name) for name in pair):
        files = {name: str(info[name]) for name in pair}
        return _Parts(files, {name: rights[name] for name in pair})
    source = str(info.get("image_source") or "")
    if source and not source.startswith(("http://", "https://")):
        right = rights["image_source"]
        # What the properties name must be seen by who ordered the image, and by its owner, who wrote them.
        found, both = await task.deps.images.properties(source.removeprefix("glance://"), right)
        if found.get("boot_iso_id"):
            return _Parts({"iso": found["boot_iso_id"]}, {"iso": both})
        if all(found.get(f"{name}_id") for name in pair):
            files = {name: found[f"{name}_id"] for name in pair}
            return _Parts(files, dict.fromkeys(pair, both))
    raise Invalid(
        "instance_info names neither boot_iso nor kernel and ramdisk.",
        next_action="Set them, or image_source to an image with kernel_id and ramdisk_id.",
    )


def _order(task: NodeTask, conn: sa.Connection, parts: _Parts) -> None:
    info = store.get_node(conn, task.uuid).instance_info
    words = (info.get("ramdisk_kernel_arguments"), info.get("kernel_append_params"))
    extra = " ".join(str(word).replace("%default%", "").strip() for word in words if word)
    intent = Intent(
        boot="kernel",
        extra=extra,
        kernel=parts.files.get("kernel", ""),
        ramdisk=parts.files.get("ramdisk", ""),
        iso=parts.files.get("iso", ""),
        rights=lasting(parts.rights),
    )
    steps.set_intent(conn, task, intent)
    booting.ready_medium(conn, task.deps, store.get_node(conn, task.uuid))
